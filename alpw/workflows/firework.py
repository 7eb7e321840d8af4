"""One Firework of one of our Firetasks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fireworks import Firework

from alpw.config.resource import BLOCKS

TRAIN, EXPLORE, DFT, RELAX, AIMD, SCF, KPU, DIRECT = BLOCKS
#: Bookkeeping, which never waits in a queue.
LIGHT = "light"
#: Categories of Fireworks, one worker pool each: the blocks of resource.json that there may be, and the rest.
CATEGORIES = (*BLOCKS, LIGHT)

#: Firetask -> (module, category, priority). Later stages go first, so that one iteration ends before the
#: next of another campaign begins, and bookkeeping never waits.
TASKS = {
    "TrainModels": ("train", TRAIN, 1),
    "ExploreTrajectories": ("explore", EXPLORE, 2),
    "LabelChunk": ("label", DFT, 3),
    "RunCalculations": ("calculate", DFT, 3),
    "GenerateStructures": ("generate", LIGHT, 4),
    "SelectCandidates": ("select", LIGHT, 4),
    "CollectLabels": ("collect", LIGHT, 4),
    "CallHook": ("hook", LIGHT, 4),
    "FinishCampaign": ("finish", LIGHT, 4),
    "BuildStructures": ("build", LIGHT, 4),
    "HarvestFrames": ("harvest", LIGHT, 4),
    "CollectStructure": ("collection", LIGHT, 4),
}


def descending(task: str, count: int) -> list[float]:
    """Priorities for so many Fireworks of a Firetask, the first one highest, all within its level."""
    level = TASKS[task][2]
    return [level + (count - 1 - place) / count for place in range(count)]


def build(
    task: str,
    name: str,
    identity: dict[str, Any],
    fizzled_parents: bool = False,
    category: str | None = None,
    priority: float | None = None,
    queueadapter: Mapping[str, Any] | None = None,
    **parameters: Any,
) -> Firework:
    """One Firework of one of our Firetasks.

    Args:
        task: a key of :data:`TASKS`.
        name: what it does, for ``lpad get_fws``.
        identity: what it belongs to: ``campaign``, and ``iteration`` or ``structure``.
        fizzled_parents: run even when parents failed, because failure is data.
        category: another one than that of the Firetask.
        priority: another one than that of the Firetask, within its level: at least as large, and smaller than
            the next whole number.
        queueadapter: what its job asks SLURM for in place of what its category does.
        parameters: the Firetask's own parameters.
    """
    module, usual, level = TASKS[task]
    spec = {
        "_tasks": [{"_fw_name": f"{{{{alpw.firetasks.{module}.{task}}}}}", **parameters}],
        "_category": category or usual,
        "_priority": level if priority is None else priority,
        "_add_launchpad_and_fw_id": True,
        **identity,
        "task": task,
    }
    if fizzled_parents:
        spec["_allow_fizzled_parents"] = True
    if queueadapter:
        spec["_queueadapter"] = dict(queueadapter)
    # A new Firework has a negative id, which the LaunchPad replaces.
    return Firework.from_dict({"spec": spec, "name": name, "fw_id": Firework([]).fw_id})
