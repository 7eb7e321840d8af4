"""What an init_param.json asks for, in numbers, before anything is stored or run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from math import ceil

from alpw.codes.protocol import Task
from alpw.codes.registry import code_of
from alpw.config import Dft, InitBulk, InitResource, StartConfig
from alpw.structures.recipe import build, count, leaves, trial
from alpw.workflows.firework import AIMD, DIRECT, EXPLORE, LIGHT, RELAX, SCF
from alpw.workflows.launch_init import name_of, read_starts

Cost = Callable[[Dft, str], float | None]
"""core-hours of a task per atom, of AIMD per atom and frame; None if unknown"""


@dataclass(frozen=True)
class StructurePlan:
    """What is made of one start structure.

    Attributes:
        name: of the start structure.
        file: where it is read.
        n_atoms: of each structure at the leaves of its tree.
        relax: whether it is relaxed.
        stages: generated structures by stage.
        leaves: structures that nothing more is made of.
        dynamics: ``aimd`` or ``bigmodel``; None without.
        runs: of dynamics.
        frames: of all runs together, thinned; None where their autocorrelation decides.
        labels: largest number of single-point labels; None where ``frames`` decides.
        fireworks: by category; those of labels are left out where their number is not known.
        core_hours: what past calculations let expect, by task; without an entry where none was made.
    """

    name: str
    file: str
    n_atoms: int
    relax: bool
    stages: dict[str, int]
    leaves: int
    dynamics: str | None
    runs: int
    frames: int | None
    labels: int | None
    fireworks: dict[str, int]
    core_hours: dict[str, float]


def plan_init(init: InitBulk, resource: InitResource, cost: Cost) -> list[StructurePlan]:
    """The plan of each start structure.

    Args:
        init: the user's parameters.
        resource: says how many calculations go into one Firework.
        cost: of past calculations.

    Raises:
        InputError: a structure that cannot be built, from its geometry before relaxation.
    """
    plans = []
    for start, atoms in zip(init.starts, read_starts(init), strict=True):
        entry = init.entry(start.number)
        tree = build(atoms, trial(entry.recipe), seed=0, root="init")
        n_leaves = leaves(entry.recipe)
        runs = n_leaves * len(init.runs_of(entry))
        frames = _frames(init, entry, n_leaves)
        labels = _labels(init, entry, start.number, n_leaves, frames)
        plan = StructurePlan(
            name=name_of(atoms, start.number),
            file=str(start.file),
            n_atoms=len(tree[-1].atoms),
            relax=init.relaxes(entry),
            stages={stage: n for stage, n in count(entry.recipe).items() if stage != "root"},
            leaves=n_leaves,
            dynamics=("bigmodel" if entry.bigmodel else "aimd") if runs else None,
            runs=runs,
            frames=frames,
            labels=labels,
            fireworks=_fireworks(init, resource, entry, runs, labels),
            core_hours={},
        )
        plans.append(replace(plan, core_hours=_core_hours(init, entry, plan, len(atoms), cost)))
    return plans


def _frames(init: InitBulk, entry: StartConfig, n_leaves: int) -> int | None:
    dynamics = init.dynamics_of(entry)
    if dynamics is None:
        return 0
    if init.interval == "auto":
        return None
    asked = [code_of(dft.dft_style).frames_asked(dft) for _, dft in init.runs_of(entry)]
    return n_leaves * sum(max(0, ceil((n - dynamics.discard) / init.interval)) for n in asked)


def _labels(init: InitBulk, entry: StartConfig, index: int, n_leaves: int, frames: int | None) -> int | None:
    if not entry.scf:
        return 0
    pool = frames if init.samples(entry) else n_leaves
    bounds = [pool, init.label_quota(index), entry.direct_max_num if entry.direct else None]
    known = [bound for bound in bounds if bound is not None]
    return min(known) if known else None


def _fireworks(
    init: InitBulk, resource: InitResource, entry: StartConfig, runs: int, labels: int | None
) -> dict[str, int]:
    sampler = EXPLORE if entry.bigmodel else AIMD
    counts = Counter({LIGHT: 2})
    counts[resource.category(RELAX)] += init.relaxes(entry)
    counts[resource.category(sampler)] += _chunks(runs, resource.block(sampler).chunk)
    counts[resource.category(SCF)] += _chunks(labels or 0, resource.block(SCF).chunk)
    if runs or entry.scf:
        counts[resource.category(DIRECT) if entry.direct else LIGHT] += 1
    return dict(+counts)


def _chunks(n: int, size: int) -> int:
    return min(n, 1) if size == -1 else ceil(n / size)


def _core_hours(
    init: InitBulk, entry: StartConfig, plan: StructurePlan, n_start: int, cost: Cost
) -> dict[str, float]:
    asked: dict[Task, list[tuple[Dft, float]]] = {
        Task.RELAX: [(init.relax_of(entry), n_start)] if plan.relax else [],
        Task.AIMD: [
            (dft, plan.leaves * plan.n_atoms * code_of(dft.dft_style).frames_asked(dft))
            for _, dft in init.runs_of(entry)
        ],
        Task.LABEL: [(init.label_of(entry), (plan.labels or 0) * plan.n_atoms)] if plan.labels else [],
    }
    expected = {}
    for task, calculations in asked.items():
        costs = [(cost(dft, task.value), size) for dft, size in calculations]
        known = [each * size for each, size in costs if each is not None]
        if known:
            expected[task.value] = sum(known)
    return expected
