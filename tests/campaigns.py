"""What must hold of every campaign that came to its end."""

from collections import Counter

from alpw.database import configurations
from alpw.database.configurations import State
from alpw.database.summary import summarise


def check_finished(launchpad, name="tiny"):
    """A campaign that ended holds what it claims."""
    db = launchpad.db
    summary = summarise(db, name)
    assert summary.state in ("converged", "exhausted")
    assert [iteration.index for iteration in summary.iterations] == list(range(len(summary.iterations)))
    for iteration in summary.iterations:
        assert iteration.frames == iteration.accurate + iteration.candidate + iteration.failed > 0
        assert iteration.labelled + iteration.quarantined == iteration.selected
    assert summary.labels.get("candidate", 0) == summary.labels.get("labelling", 0) == 0
    return summary


def labelled_once(launchpad):
    """Each configuration that has a label got it once, and none was lost on the way."""
    documents = list(launchpad.db[configurations.COLLECTION].find())
    assert Counter(document["state"] for document in documents) == {State.LABELLED.value: len(documents)}
    assert len({(document["campaign"], document["key"]) for document in documents}) == len(documents)
    assert len({document["structure_hash"] for document in documents}) == len(documents)
    return documents
