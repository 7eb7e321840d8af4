"""The trajectories of one iteration, expanded from ``explore.md_jobs``."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

from alpw.config.param import Param
from alpw.structures.seeds import derive_seed


def stage_of(param: Param, iteration: int) -> int:
    """Index of the entry of ``md_jobs`` that an iteration runs; the last one is repeated."""
    return min(iteration, len(param.explore.md_jobs) - 1)


def plan_trajectories(param: Param, iteration: int, starts: Sequence[int]) -> list[dict[str, Any]]:
    """Expand an iteration's exploration blocks into single trajectories.

    The names are the predecessor's: block, structure, temperature and pressure, as
    ``md.000.sys.001.t.000.p.000``; the structure's number is its index among all start structures, so a
    name means the same structure in every block.

    Args:
        param: the campaign's parameters.
        iteration: index of the iteration.
        starts: for each start structure, the index of its entry in ``explore.sys_configs``.

    Returns:
        One plan per trajectory: its ``key``, the ``group`` that shares a selection cap, the ``cap``, the
        index of the start ``structure``, and the settings of the run (K, bar, ps).
    """
    plans = []
    for block, job in enumerate(param.explore.md_jobs[stage_of(param, iteration)]):
        pressures: list[float | None] = list(job.press) if job.ensemble.startswith("npt") else [None]
        for position, entry in enumerate(job.sys_idx):
            for structure in (index for index, owner in enumerate(starts) if owner == entry):
                group = f"md.{block:03d}.sys.{structure:03d}"
                states = product(enumerate(job.temps), enumerate(pressures))
                for (t, temperature), (p, pressure) in states:
                    key = f"{group}.t.{t:03d}" + ("" if pressure is None else f".p.{p:03d}")
                    plans.append(
                        {
                            "key": key,
                            "group": group,
                            "cap": job.cap(position, param.strategy.max_select),
                            "structure": structure,
                            "ensemble": job.ensemble,
                            "n_steps": job.nsteps,
                            "timestep": job.md_dt,
                            "stride": job.trj_freq,
                            "temperature": temperature,
                            "pressure": pressure,
                            "taut": job.taut,
                            "taup": job.taup,
                            "neigh_modify": job.neigh_modify,
                            "seed": derive_seed(param.seed, "velocities", iteration, key),
                        }
                    )
    return plans


def chunks(items: Sequence[Any], size: int) -> list[list[Any]]:
    """Split a sequence in pieces of at most ``size``; -1 keeps it whole."""
    size = len(items) if size == -1 else size
    return [list(items[start : start + size]) for start in range(0, len(items), size)] if items else []
