"""What to explore: one trajectory."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from enum import Enum
from pathlib import Path
from typing import Any

from ase import Atoms
from ase.data import atomic_numbers

from alpw.codes.lammps.template import Template
from alpw.errors import InputError
from alpw.uncertainty.definition import DEFINITIONS, Definition

_MIN_VOLUME = 1e-6
"""Å^3; a cell below this has no three independent vectors."""


class Ensemble(str, Enum):
    """Thermodynamic ensemble; the value is what ``md_jobs`` and the database say."""

    NVE = "nve"
    NVT = "nvt"
    NPT_ISO = "npt-iso"
    NPT_ANISO = "npt-aniso"
    NPT_TRI = "npt-tri"
    TEMPLATE = "template"
    """whatever the user's own LAMMPS input says"""

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
        samples: file of `alpw.uncertainty.kpu.Samples`, draws of the weights of the driving model; the
            spread that they make is its uncertainty, beside the deviation of a committee if there is one.
        deviation: definition of a committee's force deviation, ``dpgen`` or ``legacy``.
        stop_above: eV/Å; a saved frame with this or more as the committee's largest deviation of a force is
            beyond trust.
        stop_above_kpu: eV/Å; the same for the mean uncertainty of the forces that the draws give.
        stop_after: so many frames in a row that are beyond the same one end the trajectory; None lets it go
            on.
        ensemble: NVE, NVT or NPT; ``npt-aniso`` scales the three box lengths, ``npt-tri`` all six degrees.
        temperature: K; under NVE the temperature of the starting velocities.
        n_steps: time steps.
        temperature_end: K; the thermostat goes there in a straight line over the run. None: it stays.
        pressure: bar; needed by NPT and by nothing else.
        masses: u, by element, in place of those of ``atoms``: an isotope, or a heavier hydrogen.
        template: the user's LAMMPS input for the ensemble ``template``; ``temperature`` and ``n_steps`` are
            those that it says, and time step, thermostat and barostat are in its lines.
        timestep: ps.
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
    temperature_end: float | None = None
    pressure: float | None = None
    masses: Mapping[str, float] = field(default_factory=dict)
    template: Template | None = None
    samples: Path | None = None
    deviation: Definition = "dpgen"
    stop_above: float | None = None
    stop_above_kpu: float | None = None
    stop_after: int | None = None
    timestep: float = 0.001
    stride: int = 10
    taut: float = 0.1
    taup: float = 0.5
    seed: int = 1
    neigh_modify: int = 10
    limits: Limits = field(default_factory=Limits)
    restart_stride: int = 1000
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
        self._check_template()
        self._take_masses()
        for name in ("temperature", "timestep", "taut", "taup", "stride", "threads"):
            if not getattr(self, name) > 0:
                raise InputError(f"{getattr(self, name)!r}; a positive number is needed", key=name)
        for name in ("n_steps", "seed", "neigh_modify", "restart_stride"):
            if getattr(self, name) < 0:
                raise InputError(f"{getattr(self, name)!r}; must not be negative", key=name)
        if self.temperature_end is not None:
            if self.ensemble in {Ensemble.NVE, Ensemble.TEMPLATE}:
                raise InputError(f"has no effect with {self.ensemble.value}", key="temperature_end")
            if not self.temperature_end > 0:
                raise InputError(
                    f"{self.temperature_end!r}; a positive number is needed", key="temperature_end"
                )
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
        if self.deviation not in DEFINITIONS:
            raise InputError(f"found {self.deviation!r}; one of {', '.join(DEFINITIONS)}", key="deviation")
        given = {"stop_above": self.stop_above, "stop_above_kpu": self.stop_above_kpu}
        measured = {"stop_above": self.definition is not None, "stop_above_kpu": self.samples is not None}
        for key, above in given.items():
            if above is None:
                continue
            if self.stop_after is None:
                raise InputError("has no effect without stop_after", key=key)
            if not above > 0:
                raise InputError(f"{above!r}; a positive number is needed", key=key)
            if not measured[key]:
                needed = "several models" if key == "stop_above" else "samples"
                raise InputError(f"there is no such uncertainty without {needed}", key=key)
        if self.stop_after is None:
            return
        if self.stop_after < 1:
            raise InputError(f"{self.stop_after!r}; a positive number is needed", key="stop_after")
        if all(above is None for above in given.values()):
            raise InputError("needs stop_above or stop_above_kpu", key="stop_after")

    def _check_template(self) -> None:
        if (self.template is None) == (self.ensemble is Ensemble.TEMPLATE):
            raise InputError("the ensemble 'template' and a template need each other", key="template")
        if self.template is None:
            return
        for name in ("temperature", "n_steps"):
            if getattr(self, name) != getattr(self.template, name):
                found, said = getattr(self, name), getattr(self.template, name)
                raise InputError(f"{found!r}, but {self.template.name} says {said!r}", key=name)

    def _take_masses(self) -> None:
        for element, mass in self.masses.items():
            if element not in atomic_numbers or not mass > 0:
                raise InputError(f"{element!r}: {mass!r}; an element and its mass in u", key="masses")
        atoms = self.atoms.copy()
        masses = zip(atoms.symbols, atoms.get_masses(), strict=True)
        atoms.set_masses([self.masses.get(element, mass) for element, mass in masses])
        object.__setattr__(self, "atoms", atoms)

    @property
    def highest_temperature(self) -> float:
        """K, the larger end of the ramp."""
        return max(self.temperature, self.temperature_end or 0.0)

    @property
    def definition(self) -> Definition | None:
        """Of the force deviation of a committee; None for a single model, which has none."""
        return self.deviation if len(self.models) > 1 else None

    @property
    def n_frames(self) -> int:
        """Frames of the whole trajectory."""
        return self.n_steps // self.stride + 1

    def write(self, path: Path) -> None:
        """Save as JSON."""
        values = {item.name: getattr(self, item.name) for item in fields(self)}
        values["atoms"] = {
            "numbers": self.atoms.numbers.tolist(),
            "positions": self.atoms.positions.tolist(),
            "cell": self.atoms.cell.tolist(),
            "pbc": self.atoms.pbc.tolist(),
            "masses": self.atoms.get_masses().tolist(),
        }
        values["models"] = [str(model) for model in self.models]
        values["samples"] = None if self.samples is None else str(self.samples)
        values["ensemble"] = self.ensemble.value
        values["limits"] = asdict(self.limits)
        values["masses"] = dict(self.masses)
        values["template"] = None if self.template is None else asdict(self.template)
        path.write_text(json.dumps(values))

    def write_files(self, directory: Path) -> None:
        """Put the files that a template reads where the trajectory runs."""
        for name, text in (self.template.files if self.template else {}).items():
            path = directory / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    @classmethod
    def read(cls, path: Path) -> ExplorationTask:
        """The task saved at ``path``.

        Raises:
            InputError: the file does not hold a task.
        """
        try:
            values: dict[str, Any] = json.loads(path.read_text())
            template = Template(**values["template"]) if values.get("template") else None
            return cls(
                **{
                    **values,
                    "atoms": Atoms(**values["atoms"]),
                    "limits": Limits(**values["limits"]),
                    "template": template,
                }
            )
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
