"""Molecular dynamics of init_bulk: entries of ``aimd_input`` and of ``bigmodel_input``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import product
from typing import Annotated, Any, ClassVar, Literal

from alpw.config.control import ControlFile
from alpw.config.dft import Dft
from alpw.config.explore import Pressure, Temperature
from alpw.config.section import InputFile, Problem, Section, choices, setting


class AimdFile(ControlFile):
    """A control file of AIMD, and the runs that come of it."""

    section: ClassVar[str] = "init_bulk.aimd_input"

    temps: list[Temperature] = setting(
        [], meaning="temperatures, a run each; absent: one run, as the control file says", unit="K"
    )
    discard: int = setting(0, meaning="frames at the beginning of a run that are equilibration", ge=0)

    def runs(self, base: Dft) -> list[tuple[str, Dft]]:
        """A name and the settings of each run that a structure gets.

        Args:
            base: what all calculations have in common.
        """
        dft = base.with_control(self)
        if not self.temps:
            return [("", dft)]
        return [(_kelvin(t), dft.model_copy(update={"temperature": t})) for t in self.temps]

    def problems(self) -> Iterator[Problem]:
        yield from _twice("temps", map(_kelvin, self.temps))


class BigModel(Section):
    """A force field that need not be exact, and its runs; keys as in ``explore.md_jobs``."""

    section: ClassVar[str] = "init_bulk.bigmodel_input"

    calculator: str | None = setting(
        None, meaning="ASE calculator by import path, such as mace.calculators.mace_mp"
    )
    arguments: dict[str, Any] = setting({}, meaning="keyword arguments of the calculator")
    model: InputFile | None = setting(None, meaning="model of our own in place of a calculator")
    ensemble: Annotated[Literal["nve", "nvt", "npt"], choices("nve", "nvt", "npt")] = setting(
        "nvt", meaning="nve, nvt (Langevin), npt (isotropic)"
    )
    nsteps: int = setting(1000, meaning="number of steps", ge=1)
    md_dt: float = setting(0.001, meaning="time step", unit="ps", gt=0, le=0.02)
    trj_freq: int = setting(10, meaning="steps between two frames", ge=1)
    temps: list[Temperature] = setting([300.0], meaning="temperatures, a run each", unit="K", min_length=1)
    press: list[Pressure] = setting(
        [1.01325], meaning="pressures of npt, a run each", unit="bar", min_length=1
    )
    taut: float = setting(0.1, meaning="damping time of the thermostat", unit="ps", gt=0)
    taup: float = setting(0.5, meaning="damping time of the barostat", unit="ps", gt=0)
    relax: bool = setting(False, meaning="relax the atoms at fixed cell before the dynamics")
    discard: int = setting(0, meaning="frames at the beginning that are equilibration", ge=0)

    def problems(self) -> Iterator[Problem]:
        if (self.calculator is None) == (self.model is None):
            text = "give either 'calculator', an import path, or 'model', a model of our own"
            yield Problem(("calculator",), text)
        elif self.calculator and self.calculator.endswith(".py"):
            text = f"{self.calculator!r} is a script; name the ASE calculator that it makes, by import path"
            yield Problem(("calculator",), text)
        yield from _twice("temps", map(_kelvin, self.temps))
        yield from _twice("press", map(_bar, self.press))
        if self.trj_freq > self.nsteps:
            text = f"{self.trj_freq} is larger than nsteps {self.nsteps}: only the first frame is written"
            yield Problem(("trj_freq",), text)

    @classmethod
    def shorthand(cls, value: Any) -> Any:
        """A file alone is a model; a script, as the predecessor takes it, is refused by :meth:`problems`."""
        if isinstance(value, str):
            return {"calculator" if value.endswith(".py") else "model": value}
        return value

    def runs(self, base: Dft) -> list[tuple[str, Dft]]:
        """A name and the settings of each run that a structure gets.

        Args:
            base: what all calculations have in common.
        """
        pressures = self.press if self.ensemble == "npt" else [None]
        found = []
        for temperature, pressure in product(self.temps, pressures):
            motion: dict[str, Any] = {
                "ensemble": self.ensemble,
                "temperature": temperature,
                "timestep": 1000 * self.md_dt,
                "steps": self.nsteps,
                "stride": self.trj_freq,
                "friction": 1 / (1000 * self.taut),
                "relax_first": self.relax,
            }
            if pressure is not None:
                motion |= {"pressure": pressure, "taup": 1000 * self.taup}
            name = _kelvin(temperature) + ("" if pressure is None else f"_{_bar(pressure)}")
            changes = {
                "dft_style": "ase",
                "input": None,
                "calculator": self.calculator,
                "arguments": self.arguments,
                "model": self.model,
                "motion": motion,
            }
            found.append((name, base.model_copy(update=changes)))
        return found


def _kelvin(temperature: float) -> str:
    return f"{temperature:g}K"


def _bar(pressure: float) -> str:
    return f"{pressure:g}bar"


def _twice(key: str, names: Iterable[str]) -> Iterator[Problem]:
    """Runs are told apart by their names."""
    found = list(names)
    if len(set(found)) < len(found):
        yield Problem((key,), f"{', '.join(found)}: a run is asked for twice")
