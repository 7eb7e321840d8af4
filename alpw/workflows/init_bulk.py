"""The workflow of one start structure of init_bulk: relax, build, sample, harvest, label, collect.

Structures do not wait for each other. How many calculations there are is known beforehand, what they start
from is not: the Firetask that builds the structures appends their dynamics, the one that harvests frames
appends their labels, both as detours, for which the collection at the end waits.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Any

from fireworks import Firework, Workflow

from alpw.codes.protocol import Task
from alpw.config import Dft, InitBulk, InitResource
from alpw.workflows.firework import AIMD, DIRECT, EXPLORE, LIGHT, RELAX, SCF, build
from alpw.workflows.plan import chunks
from alpw.workflows.request import request_for

FOLDER = "calculations"
"""below the folder of the campaign; holds one folder per start structure"""

KINDS = {Task.RELAX: RELAX, Task.AIMD: AIMD, Task.LABEL: SCF}
"""What a code is asked to do -> the block that it runs by, unless it is a run of ``bigmodel``."""


def is_bigmodel(task: Task, dft: Dft) -> bool:
    """Whether a calculation is a run of an entry of ``bigmodel_input``."""
    return task is Task.AIMD and dft.motion is not None


def firework(
    task: str,
    title: str,
    campaign: str,
    index: int,
    name: str,
    fizzled_parents: bool = False,
    **parameters: Any,
) -> Firework:
    """One Firework of a start structure; see :func:`alpw.workflows.firework.build`.

    Args:
        task: the Firetask.
        title: a verb, which the structure's name follows.
        campaign: name of the campaign.
        index: number of the start structure.
        name: what the structure is called.
        fizzled_parents: run even when parents failed.
        parameters: the Firetask's own, and those that all Fireworks may have.
    """
    identity = {"campaign": campaign, "structure": index}
    return build(task, f"{campaign}: {title} {name}", identity, fizzled_parents, **parameters)


def structure_workflow(
    init: InitBulk,
    resource: InitResource,
    index: int,
    name: str,
    attempt: int,
    relaxation: Any | None,
    n_atoms: int,
) -> Workflow:
    """Everything that can be known before anything has run.

    Args:
        init: the user's parameters.
        resource: the user's resources.
        index: number of the start structure.
        name: what it is called.
        attempt: how often it was tried before.
        relaxation: id of its relaxation in ``calculations``; None without one.
        n_atoms: of the start structure.
    """
    entry = init.entry(index)
    chain = []
    if relaxation is not None:
        parameters = _by(resource, RELAX, [n_atoms])
        chain.append(
            _own(init, index, name, "RunCalculations", "relax", calculations=[str(relaxation)], **parameters)
        )
    chain.append(_own(init, index, name, "BuildStructures", "build", fizzled_parents=True))
    if init.samples(entry) or entry.scf:
        # Features of many frames are no bookkeeping.
        category = resource.category(DIRECT) if entry.direct else LIGHT
        harvest = _own(init, index, name, "HarvestFrames", "harvest", fizzled_parents=True, category=category)
        chain.append(harvest)
    chain.append(_own(init, index, name, "CollectStructure", "collect", fizzled_parents=True))
    links = {first: [second] for first, second in pairwise(chain)}
    metadata = {
        "campaign": init.campaign,
        "structure": index,
        "name": name,
        "attempt": attempt,
        "kind": "init_bulk",
    }
    return Workflow(chain, links, name=f"{init.campaign}: {name}", metadata=metadata)


def _own(init: InitBulk, index: int, name: str, task: str, title: str, **parameters: Any) -> Firework:
    return firework(task, title, init.campaign, index, name, **parameters)


def _by(resource: InitResource, kind: str, sizes: Iterable[int]) -> dict[str, Any]:
    """The category of a kind of work, and what a job with structures of so many atoms asks for."""
    return {
        "category": resource.category(kind),
        "queueadapter": request_for(resource.block(kind), sizes),
    }


def dynamics_workflow(
    init: InitBulk,
    resource: InitResource,
    index: int,
    name: str,
    runs: Mapping[Any, int],
    bigmodel: bool,
) -> Workflow:
    """AIMD, or MD with a force field, in chunks.

    Args:
        init: the user's parameters.
        resource: says how many go into one Firework.
        index: number of the start structure.
        name: what it is called.
        runs: number of atoms of each calculation by its id, at least one.
        bigmodel: whether a force field runs.
    """
    title, kind = ("sample", EXPLORE) if bigmodel else ("aimd", AIMD)
    fireworks = [
        _own(init, index, name, "RunCalculations", f"{title} {which}", calculations=part, **parameters)
        for which, part, parameters in _numbered(resource, kind, runs)
    ]
    return Workflow(fireworks, {}, name=f"{init.campaign}: {title} {name}")


def labels_workflow(
    init: InitBulk,
    resource: InitResource,
    index: int,
    name: str,
    labels: Mapping[Any, int],
    then_collect: bool,
) -> Workflow:
    """Single-point labels in chunks.

    Args:
        init: the user's parameters.
        resource: says how many go into one Firework.
        index: number of the start structure.
        name: what it is called.
        labels: number of atoms of each configuration by its id, at least one.
        then_collect: whether a collection of their own follows.
    """
    fireworks = [
        _own(init, index, name, "LabelChunk", f"label {which}", configurations=part, **parameters)
        for which, part, parameters in _numbered(resource, SCF, labels)
    ]
    links: dict[Firework, list[Firework]] = {}
    if then_collect:
        collect = _own(init, index, name, "CollectStructure", "collect", fizzled_parents=True)
        links = {label: [collect] for label in fireworks}
        fireworks = [*fireworks, collect]
    return Workflow(fireworks, links, name=f"{init.campaign}: label {name}")


def _numbered(
    resource: InitResource, kind: str, sizes: Mapping[Any, int]
) -> list[tuple[str, list[str], dict[str, Any]]]:
    """Chunks of ids, each with the words that tell it from the others and how its Firework runs."""
    parts = chunks(list(sizes), resource.block(kind).chunk)
    return [
        (
            f"{number} of {len(parts)},",
            [str(identity) for identity in part],
            _by(resource, kind, [sizes[identity] for identity in part]),
        )
        for number, part in enumerate(parts, 1)
    ]


def structure_name(formula: str, index: int) -> str:
    """What a start structure is called, from its reduced formula."""
    return f"{formula}_config_{index}"


def data_folder(index: int) -> str:
    """The folder of a start structure in ``collection/``, as the predecessor calls it."""
    return f"init_config_{index}"
