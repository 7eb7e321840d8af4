"""What to explore: one trajectory, and the LAMMPS commands that integrate it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.io import jsonio
from numpy.typing import NDArray

from alpw.errors import InputError
from alpw.uncertainty.definition import DEFINITIONS, KPU, Definition

FORCE_FIX = "model"
"""Id of the ``fix external`` through which the model's forces reach LAMMPS."""

_SKIN = 1.0
"""Å an atom may travel, twice over, before LAMMPS sorts atoms back into its box."""

_MAX_SEED = 900_000_000
_MIN_VOLUME = 1e-6
"""Å^3; a cell below this has no three independent vectors."""


class Ensemble(str, Enum):
    """Thermodynamic ensemble; the value is what ``md_jobs`` and the database say."""

    NVE = "nve"
    NVT = "nvt"
    NPT_ISO = "npt-iso"
    NPT_ANISO = "npt-aniso"
    NPT_TRI = "npt-tri"

    @property
    def barostat(self) -> str | None:
        """Keyword of LAMMPS's ``fix npt``: ``iso``, ``aniso`` or ``tri``; None at constant volume."""
        return self.value.partition("-")[2] or None


@dataclass(frozen=True)
class Limits:
    """Where a trajectory stops being physical. The step that crosses one ends it and is not kept.

    Attributes:
        temperature: K, kinetic temperature; None means the larger of 5 T and T + 5000.
        distance_ratio: closest pair allowed, as a fraction of the sum of the two covalent radii
            (ase.data). Thermal motion below a few thousand kelvin stays above 0.75 in solids and molecules.
        force: eV/Å, largest force on one atom.
        expansion: largest volume, as a multiple of the first; a barostat lets a gas grow without end.
    """

    temperature: float | None = None
    distance_ratio: float = 0.6
    force: float = 100.0
    expansion: float = 3.0

    def max_temperature(self, temperature: float) -> float:
        """K, the limit that applies to a run at ``temperature``."""
        return self.temperature or max(5.0 * temperature, temperature + 5000.0)


@dataclass(frozen=True)
class ExplorationTask:
    """One molecular dynamics trajectory driven by a model, or by the first of a committee.

    Attributes:
        atoms: start structure with a three-dimensional cell; a direction without periodicity is a fixed
            wall-less box, and an atom that leaves it is lost.
        models: model files; the first drives, all give the deviation.
        samples: file of `alpw.uncertainty.kpu.Samples`, draws of the weights of a single model; the spread
            that they make is then its uncertainty.
        deviation: definition of a committee's force deviation, ``dpgen`` or ``legacy``.
        stop_above: eV/Å; a saved frame whose largest uncertainty of a force is this or more is beyond trust.
        stop_after: so many such frames in a row end the trajectory; None lets it go on.
        ensemble: NVE, NVT or NPT; ``npt-aniso`` scales the three box lengths, ``npt-tri`` all six degrees.
        temperature: K; under NVE the temperature of the starting velocities.
        pressure: bar; needed by NPT and by nothing else.
        timestep: ps.
        n_steps: time steps.
        stride: steps between saved frames; step 0 is saved, so a full run has ``n_steps // stride + 1``.
        taut: ps, damping time of the thermostat.
        taup: ps, damping time of the barostat.
        seed: of the starting velocities.
        neigh_modify: steps before LAMMPS may sort atoms back into the box after it last did. The forces do
            not depend on it: the model has its own neighbour list.
        limits: where the trajectory ends early.
        restart_stride: steps between restart files, from which a killed run goes on; 0 for none.
        threads: of torch.
    """

    atoms: Atoms
    models: tuple[Path, ...]
    ensemble: Ensemble
    temperature: float
    n_steps: int
    pressure: float | None = None
    samples: Path | None = None
    deviation: Definition = "dpgen"
    stop_above: float | None = None
    stop_after: int | None = None
    timestep: float = 0.001
    stride: int = 10
    taut: float = 0.1
    taup: float = 0.5
    seed: int = 1
    neigh_modify: int = 10
    limits: Limits = field(default_factory=Limits)
    restart_stride: int = 10_000
    threads: int = 1

    def __post_init__(self) -> None:
        """Normalise what came from JSON, and refuse what LAMMPS would refuse later.

        Raises:
            InputError: naming the field, what was found and what is allowed.
        """
        try:
            object.__setattr__(self, "ensemble", Ensemble(self.ensemble))
        except ValueError:
            allowed = ", ".join(ensemble.value for ensemble in Ensemble)
            raise InputError(
                f"unknown ensemble {self.ensemble!r}; one of {allowed}", key="ensemble"
            ) from None
        object.__setattr__(self, "models", tuple(Path(model) for model in self.models))
        if self.samples is not None:
            object.__setattr__(self, "samples", Path(self.samples))
        self._check_uncertainty()
        for name in ("temperature", "timestep", "taut", "taup", "stride", "threads"):
            if not getattr(self, name) > 0:
                raise InputError(f"{getattr(self, name)!r}; a positive number is needed", key=name)
        for name in ("n_steps", "seed", "neigh_modify", "restart_stride"):
            if getattr(self, name) < 0:
                raise InputError(f"{getattr(self, name)!r}; must not be negative", key=name)
        if self.ensemble.barostat and self.pressure is None:
            raise InputError(f"{self.ensemble.value} needs a pressure in bar", key="pressure")
        if self.ensemble.barostat and not self.atoms.pbc.all():
            raise InputError(
                f"{self.ensemble.value} needs a periodic cell, found pbc {self.atoms.pbc.tolist()}",
                key="atoms",
            )
        if len(self.atoms) < 2:
            raise InputError(f"{len(self.atoms)} atoms; dynamics needs two or more", key="atoms")
        if not abs(self.atoms.cell.volume) > _MIN_VOLUME:
            raise InputError("the cell has no volume; give three independent cell vectors", key="atoms")

    def _check_uncertainty(self) -> None:
        if self.samples is not None and len(self.models) != 1:
            found = len(self.models)
            raise InputError(f"found with {found} models; draws of the weights belong to one", key="samples")
        if self.deviation not in DEFINITIONS:
            raise InputError(f"found {self.deviation!r}; one of {', '.join(DEFINITIONS)}", key="deviation")
        if self.stop_after is None:
            if self.stop_above is not None:
                raise InputError("has no effect without stop_after", key="stop_above")
            return
        if self.stop_after < 1:
            raise InputError(f"{self.stop_after!r}; a positive number is needed", key="stop_after")
        if self.stop_above is None or not self.stop_above > 0:
            raise InputError(f"{self.stop_above!r}; stop_after needs a positive number", key="stop_above")
        if self.measure is None:
            raise InputError("a single model without samples has no uncertainty to stop at", key="stop_after")

    @property
    def measure(self) -> str | None:
        """How the uncertainty of a frame is defined: a committee's definition, ``kpu``, or not at all."""
        if self.samples is not None:
            return KPU
        return self.deviation if len(self.models) > 1 else None

    @property
    def n_frames(self) -> int:
        """Frames of the whole trajectory."""
        return self.n_steps // self.stride + 1

    def write(self, path: Path) -> None:
        """Save as JSON."""
        values = {item.name: getattr(self, item.name) for item in fields(self)}
        values["atoms"] = bare(self.atoms)
        values["models"] = [str(model) for model in self.models]
        values["samples"] = None if self.samples is None else str(self.samples)
        values["ensemble"] = self.ensemble.value
        values["limits"] = asdict(self.limits)
        path.write_text(jsonio.encode(values))

    @classmethod
    def read(cls, path: Path) -> ExplorationTask:
        """The task saved at ``path``.

        Raises:
            InputError: the file does not hold a task.
        """
        try:
            values: dict[str, Any] = jsonio.decode(path.read_text())
            return cls(**{**values, "limits": Limits(**values["limits"])})
        except (TypeError, ValueError, KeyError) as error:
            raise InputError(f"not an exploration task: {error}", file=path) from error


def bare(atoms: Atoms) -> Atoms:
    """Species, masses, positions, cell and periodicity of ``atoms``, and nothing else."""
    return Atoms(
        numbers=atoms.numbers,
        positions=atoms.positions,
        cell=atoms.cell,
        pbc=atoms.pbc,
        masses=atoms.get_masses(),
    )


def system_commands(box: NDArray[np.float64], pbc: NDArray[np.bool_], n_types: int) -> Iterator[str]:
    """Units and an empty triclinic box.

    Args:
        box: ``(3, 3)`` lower triangular, rows are box vectors, Å.
        pbc: ``(3,)``; a direction without periodicity is a fixed boundary.
        n_types: number of distinct masses.
    """
    yield "units metal"
    yield "atom_style atomic"
    yield "atom_modify sort 0 0.0"
    yield "box tilt large"
    yield "boundary " + " ".join("p" if periodic else "f" for periodic in pbc)
    (lx, _, _), (xy, ly, _), (xz, yz, lz) = box.tolist()
    yield f"region cell prism 0 {lx!r} 0 {ly!r} 0 {lz!r} {xy!r} {xz!r} {yz!r} units box"
    yield f"create_box {n_types} cell"


def force_commands() -> Iterator[str]:
    """Forces, energy and virial from Python; no pair style, hence no ghost atoms and no cutoff to respect."""
    yield "pair_style none"
    yield f"fix {FORCE_FIX} all external pf/callback 1 1"
    yield f"fix_modify {FORCE_FIX} energy yes virial yes"


def velocity_command(task: ExplorationTask) -> str:
    """Maxwell-Boltzmann velocities at exactly the task's temperature, total momentum zero.

    LAMMPS takes seeds from 1 to 900 million; larger ones are folded into that range.
    """
    seed = task.seed % _MAX_SEED + 1
    return f"velocity all create {task.temperature!r} {seed} mom yes rot no dist gaussian"


def dynamics_commands(task: ExplorationTask) -> Iterator[str]:
    """Integrator, time step and output."""
    yield f"neighbor {_SKIN} bin"
    yield f"neigh_modify every 1 delay {task.neigh_modify} check yes"
    thermostat = f"temp {task.temperature!r} {task.temperature!r} {task.taut!r}"
    barostat = f"{task.ensemble.barostat} {task.pressure!r} {task.pressure!r} {task.taup!r}"
    match task.ensemble:
        case Ensemble.NVE:
            yield "fix integrate all nve"
        case Ensemble.NVT:
            yield f"fix integrate all nvt {thermostat}"
        case _:
            yield f"fix integrate all npt {thermostat} {barostat}"
    yield f"timestep {task.timestep!r}"
    yield "thermo_style custom step temp pe ke etotal press vol"
    yield "thermo_modify lost error norm no flush yes"
    yield f"thermo {task.stride}"
