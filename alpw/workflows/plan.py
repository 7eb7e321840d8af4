"""The trajectories of one iteration, expanded from ``explore.md_jobs``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import Any

from alpw.codes.lammps import Ensemble, Template
from alpw.config.explore import MdJob
from alpw.config.param import Param
from alpw.structures.seeds import derive_seed


def plan_trajectories(
    param: Param,
    iteration: int,
    starts: Sequence[int],
    stage: int,
    *,
    templates: Sequence[Template] = (),
    uncertain: Mapping[int, Sequence[Any]] | None = None,
) -> list[dict[str, Any]]:
    """Expand an iteration's exploration blocks into single trajectories.

    The names are the predecessor's: block, structure, temperature and pressure or template, as
    ``md.000.sys.001.t.000.p.000`` and ``md.000.sys.001.lmps.000``; the structure's number is its index among
    all start structures, so a name means the same structure in every block. ``.u.000`` after the structure
    is the first of its uncertain frames.

    Args:
        param: the campaign's parameters.
        iteration: index of the iteration.
        starts: for each start structure, the index of its entry in ``explore.sys_configs``.
        stage: index of the entry of ``md_jobs``.
        templates: the user's LAMMPS inputs, in the order of ``explore.lmps_in``.
        uncertain: for each start structure, ids of its labelled frames, the most uncertain first.

    Returns:
        One plan per trajectory: its ``key``, the ``group`` that shares a selection cap, the ``cap``, the
        ``thresholds``, the index of the start ``structure``, ``start`` if it begins with a labelled frame
        instead, and the settings of the run (K, bar, ps).
    """
    return [
        {
            "key": key,
            "group": group,
            "cap": job.cap(position, param.strategy.max_select),
            "thresholds": param.thresholds(entry, job),
            "structure": structure,
            **start,
            **state,
            "stride": job.trj_freq,
            "neigh_modify": job.neigh_modify,
            "masses": job.mass,
            "seed": derive_seed(param.seed, "velocities", iteration, key),
        }
        for block, job in enumerate(param.explore.md_jobs[stage])
        for position, entry in enumerate(job.sys_idx)
        for structure in (index for index, owner in enumerate(starts) if owner == entry)
        for group in (f"md.{block:03d}.sys.{structure:03d}",)
        for origin, start in _starts(job, (uncertain or {}).get(structure, ()))
        for name, state in _states(job, position, templates)
        for key in (group + origin + name,)
    ]


def _starts(job: MdJob, uncertain: Sequence[Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """What trajectories begin with: the structure, or as many of its uncertain frames as there are."""
    chosen = uncertain[: job.from_uncertain]
    for number, configuration in enumerate(chosen):
        yield f".u.{number:03d}", {"start": {"configuration": configuration}}
    if not chosen:
        yield "", {}


def _states(job: MdJob, position: int, templates: Sequence[Template]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Thermodynamic states of a block: temperatures times pressures, or a template's own."""
    if job.lmps_in_idx is not None:
        index = job.lmps_in_idx[position if len(job.lmps_in_idx) > 1 else 0]
        yield (
            f".lmps.{index:03d}",
            {
                "ensemble": Ensemble.TEMPLATE.value,
                "template": index,
                "n_steps": templates[index].n_steps,
                "temperature": templates[index].temperature,
                "pressure": None,
            },
        )
        return
    ends = job.temps_end * len(job.temps) if len(job.temps_end) == 1 else job.temps_end
    pressures: list[float | None] = list(job.press) if job.ensemble.startswith("npt") else [None]
    for (t, temperature), (p, pressure) in product(enumerate(job.temps), enumerate(pressures)):
        yield (
            f".t.{t:03d}" + ("" if pressure is None else f".p.{p:03d}"),
            {
                "ensemble": job.ensemble,
                "n_steps": job.nsteps,
                "timestep": job.md_dt,
                "temperature": temperature,
                "temperature_end": ends[t] if ends else None,
                "pressure": pressure,
                "taut": job.taut,
                "taup": job.taup,
            },
        )


def chunks(items: Sequence[Any], size: int) -> list[list[Any]]:
    """Split a sequence in pieces of at most ``size``; -1 keeps it whole."""
    size = len(items) if size == -1 else size
    return [list(items[start : start + size]) for start in range(0, len(items), size)] if items else []
