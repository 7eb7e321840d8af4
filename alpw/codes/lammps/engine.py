"""Molecular dynamics: LAMMPS integrates, the models give the forces, in one process.

At every step LAMMPS calls back with its wrapped positions. They are unwrapped, turned into the user's
orientation, judged and handed to the driving model; forces, energy and virial go back turned into LAMMPS's.
The integrator runs in pieces of one stride. Between two pieces the frame is judged again, its uncertainty is
measured, and it is written.
"""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from alpw.codes.lammps.cell import LammpsCell
from alpw.codes.lammps.checks import StepCheck, TrajectoryEnded, kinetic_temperature, require_finite
from alpw.codes.lammps.commands import box_commands, force_commands, general_commands, script_of
from alpw.codes.lammps.forces import (
    ForceModel,
    Forces,
    NoForces,
    PairModel,
    RememberingModel,
    search_close_pairs,
)
from alpw.codes.lammps.frames import RESTART_STEM, Layout, TrajectoryWriter, restart_steps
from alpw.codes.lammps.inputs import ExplorationTask, bare
from alpw.codes.lammps.library import open_lammps
from alpw.codes.lammps.measure import Measure
from alpw.codes.lammps.outputs import LAMMPS_MESSAGES, End, EndReason
from alpw.codes.lammps.script import FORCE_FIX, Command, Run, Step
from alpw.errors import InputError

logger = logging.getLogger(__name__)

Array = NDArray[np.float64]

_VOIGT = ((0, 1, 2, 0, 0, 1), (0, 1, 2, 1, 2, 2))
"""Rows and columns of xx, yy, zz, xy, xz, yz, the order in which LAMMPS takes a virial."""


class _ModelFix:
    """The other end of LAMMPS's ``fix external``: one call per step.

    An exception must not cross into C++, where it would be lost and the run would go on without forces. It is
    kept in ``failure``, LAMMPS is told to stop, and `_Trajectory` raises it.

    Attributes:
        atoms: the structure of the present step, unwrapped, in the user's orientation.
        step: the present step.
        last: what the driving model said about it.
        failure: why LAMMPS was told to stop.
    """

    last: Forces

    def __init__(
        self,
        lammps: Any,
        model: ForceModel,
        atoms: Atoms,
        cell: LammpsCell,
        check: StepCheck,
        deadline: float,
    ) -> None:
        self._lammps, self._model, self._cell, self._check = lammps, model, cell, check
        self._deadline = deadline
        self._close_pairs = model.close_pairs if isinstance(model, PairModel) else search_close_pairs
        self._masses = atoms.get_masses()
        self.atoms = atoms
        self.step = 0
        self.failure: BaseException | None = None

    def __call__(self, _: Any, step: int, n_local: int, tags: Any, x: Array, forces: Array) -> None:
        forces[:] = 0.0
        if self.failure is not None:
            return
        self.step = step
        try:
            self._evaluate(n_local, np.asarray(tags[:n_local]) - 1, x[:n_local], forces)
        except BaseException as failure:  # noqa: BLE001  raised again outside of C++
            self.failure = failure
            self._lammps.force_timeout()

    def _evaluate(self, n_local: int, order: NDArray[np.int64], x: Array, forces: Array) -> None:
        if time.monotonic() > self._deadline:
            raise TrajectoryEnded(EndReason.TIMEOUT, "time limit reached")
        if n_local != len(self.atoms):
            raise TrajectoryEnded(EndReason.LOST_ATOMS, f"{n_local} of {len(self.atoms)} atoms left")
        origin, box = read_box(self._lammps)
        require_finite("positions or box", x, box)
        in_box, velocities = np.empty_like(x), np.empty_like(x)
        in_box[order] = x - origin
        velocities[order] = self._lammps.numpy.extract_atom("v")[:n_local]
        self._cell.follow(box)
        self.atoms.positions = self._cell.unwrap(in_box)
        self.atoms.cell[:] = self._cell.cell
        self._check.temperature(kinetic_temperature(velocities, self._masses))
        self._check.volume(self.atoms.get_volume())
        self._check.distances(self._close_pairs(self.atoms, self._check.reach))
        self.last = self._model.predict(self.atoms)
        require_finite("energy, forces or virial", self.last.energy, self.last.forces, self.last.virial)
        self._check.forces(self.last.forces)
        forces[:n_local] = self._cell.vectors_to_box(self.last.forces)[order]
        virial = self._cell.tensor_to_box(self.last.virial)[_VOIGT]
        self._lammps.fix_external_set_energy_global(FORCE_FIX, self.last.energy)
        self._lammps.fix_external_set_virial_global(FORCE_FIX, virial.tolist())


def read_box(lammps: Any) -> tuple[Array, Array]:
    """Origin ``(3,)`` and lower triangular box ``(3, 3)`` of a LAMMPS instance, Å."""
    low, high, xy, yz, xz, *_ = lammps.extract_box()
    lx, ly, lz = np.subtract(high, low)
    return np.array(low), np.array([[lx, 0.0, 0.0], [xy, ly, 0.0], [xz, yz, lz]])


class _Trajectory:
    """One trajectory in one LAMMPS instance."""

    def __init__(
        self,
        task: ExplorationTask,
        model: ForceModel,
        measure: Measure | None,
        directory: Path,
        deadline: float,
    ) -> None:
        self._task, self._measure, self._directory = task, measure, directory
        atoms = bare(task.atoms)
        self._cell = LammpsCell(atoms.cell.array, atoms.pbc, atoms.positions)
        self._check = StepCheck(task)
        self._script = script_of(task, self._cell.box)
        self._model = model
        self._lammps = open_lammps(("-screen", "none", "-log", str(directory / "log.lammps")))
        self._fix = _ModelFix(self._lammps, model, atoms, self._cell, self._check, deadline)
        self._started = False
        self._setup = True

    @property
    def step(self) -> int:
        """Step that the dynamics has reached."""
        return self._fix.step

    def integrate(self, writer: TrajectoryWriter) -> None:
        """To the last step, from the start or from the last frame that ``writer`` found.

        Raises:
            TrajectoryEnded: a step crossed a limit.
        """
        reached = self._prepare(writer)
        passed = 0
        for step in self._script.steps:
            if isinstance(step, Run):
                if step.end >= reached:
                    self._run(step, writer)
                passed = step.end
            elif passed >= reached or not step.once:
                self._execute(step)

    def rehearse(self) -> None:
        """Every command once, and no step.

        Raises:
            InputError: a line of the user's template that LAMMPS refuses.
        """
        self._create_atoms()
        self._bring_forces()
        for step in self._script.steps:
            self._execute(step)

    def close(self) -> None:
        """Free LAMMPS."""
        self._lammps.close()

    def _prepare(self, writer: TrajectoryWriter) -> int:
        """Box, atoms and forces; returns the step from which the dynamics goes on."""
        last = writer.last
        if last is None:
            logger.info("from the start")
            self._create_atoms()
        else:
            logger.info("going on from step %d", last["step"])
            for command in general_commands():
                self._command(command)
            self._command(f'read_restart "{self._directory / RESTART_STEM}{last["step"]}"')
            self._settle(last["cell"], last["positions"])
        self._bring_forces()
        return 0 if last is None else int(last["step"])

    def _settle(self, cell: Array, positions: Array) -> None:
        """Atoms exactly where a saved frame has them; LAMMPS changes last digits when it writes and reads."""
        origin, box = read_box(self._lammps)
        self._cell.resume(box, cell, positions)
        n_atoms = len(positions)
        order = np.asarray(self._lammps.numpy.extract_atom("id")[:n_atoms]) - 1
        self._lammps.numpy.extract_atom("x")[:n_atoms] = origin + self._cell.wrap(positions)[order]

    def _bring_forces(self) -> None:
        for command in force_commands():
            self._command(command)
        self._lammps.set_fix_external_callback(FORCE_FIX, self._fix, None)

    def _create_atoms(self) -> None:
        """The start structure; atom types are numbered as element and mass first appear."""
        atoms = self._fix.atoms
        kinds = list(zip(atoms.numbers.tolist(), atoms.get_masses().tolist(), strict=True))
        types = {kind: number for number, kind in enumerate(dict.fromkeys(kinds), start=1)}
        for command in (*general_commands(), *box_commands(self._cell.box, atoms.pbc, len(types))):
            self._command(command)
        for (_, mass), number in types.items():
            self._command(f"mass {number} {mass!r}")
        n_atoms = len(atoms)
        positions = self._cell.vectors_to_box(atoms.positions).ravel().tolist()
        created = self._lammps.create_atoms(
            n_atoms, list(range(1, n_atoms + 1)), [types[kind] for kind in kinds], positions
        )
        if created != n_atoms:
            raise InputError(
                f"{n_atoms - created} of {n_atoms} atoms lie outside the cell in a direction without "
                "periodicity; centre the structure in its cell",
                key="atoms",
            )

    def _execute(self, step: Step) -> None:
        with self._template_line(step):
            self._command(step.text if isinstance(step, Command) else "run 0 post no")

    def _run(self, run: Run, writer: TrajectoryWriter) -> None:
        """Integrate, stopping at every frame."""
        self._setup = True
        if not self._started:
            with self._template_line(run):
                self._advance(0, run)
            self._started = True
        while True:
            frame = writer.n_frames * self._task.stride
            if self.step == frame:
                self._save_frame(writer)
                frame += self._task.stride
            if self.step >= run.end:
                return
            self._advance(min(frame, run.end) - self.step, run)

    def _advance(self, steps: int, run: Run) -> None:
        """Integrate; at the start and after a restart file was written, evaluate the forces anew first."""
        start, stop = run.ramp
        setup = "yes" if self._setup else "no"
        self._command(f"run {steps} start {start} stop {stop} pre {setup} post no")
        self._setup = False

    @contextmanager
    def _template_line(self, step: Step) -> Iterator[None]:
        """What LAMMPS says against a line of the user's template is the template's fault."""
        try:
            yield
        except TrajectoryEnded as ended:
            template = self._task.template
            if ended.reason is not EndReason.LAMMPS_ERROR or template is None or step.line is None:
                raise
            said = re.split(r" For more information| Last input line", str(ended))[0]
            raise InputError(f"line {step.line}: LAMMPS says: {said}", template.name) from ended

    def _save_frame(self, writer: TrajectoryWriter) -> None:
        thermo = self._lammps.last_thermo()
        self._check.temperature(thermo["Temp"])
        require_finite("pressure", thermo["Press"])
        atoms, driving = self._fix.atoms, self._fix.last
        writer.append(
            self.step,
            self._cell.cell,
            atoms.positions,
            temperature=thermo["Temp"],
            potential_energy=driving.energy,
            pressure=thermo["Press"],
            max_force=float(np.linalg.norm(driving.forces, axis=1).max()),
            **(self._measure(atoms, driving) if self._measure else {}),
        )
        self._check.uncertainty(writer.criteria)
        restart_stride = self._task.restart_stride if self._script.resumable else 0
        every = max(restart_stride // self._task.stride, 1)
        if restart_stride and writer.n_frames > 1 and (writer.n_frames - 1) % every == 0:
            self._write_restart()

    def _write_restart(self) -> None:
        """Replace the restart file in one piece, so that a kill at any time leaves a whole one.

        From here on this process does what one would do that has read the file, so that both go on in the
        same way to the last digit: atoms are placed, neighbours found and forces evaluated anew.
        """
        older = restart_steps(self._directory)
        partial = self._directory / (RESTART_STEM + "tmp")
        self._command(f'write_restart "{partial}"')
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        partial.rename(self._directory / f"{RESTART_STEM}{self.step}")
        for step in older:
            (self._directory / f"{RESTART_STEM}{step}").unlink()
        if isinstance(self._model, RememberingModel):
            self._model.forget()
        self._settle(self._cell.cell.copy(), self._fix.atoms.positions.copy())
        self._setup = True

    def _command(self, command: str) -> None:
        try:
            self._lammps.command(command)
        except Exception as error:
            # LAMMPS's own errors arrive as plain Exception; anything else is ours.
            reason = next((reason for words, reason in LAMMPS_MESSAGES if words in str(error)), None)
            raise TrajectoryEnded(reason or EndReason.LAMMPS_ERROR, " ".join(str(error).split())) from error
        if self._fix.failure is not None:
            raise self._fix.failure


def integrate(
    task: ExplorationTask,
    model: ForceModel,
    directory: Path,
    *,
    measure: Measure | None = None,
    timeout: float | None = None,
) -> End:
    """Run one trajectory in this process; frames appear in ``directory`` as they are made.

    A restart file found there is gone on from.

    Args:
        task: what to explore; its model files are not read.
        model: drives the dynamics.
        directory: an existing folder.
        measure: the uncertainty of the saved frames.
        timeout: s, after which the trajectory ends at the next step.

    Returns:
        How it ended, also recorded in ``directory``.

    Raises:
        InputError: atoms outside the cell in a direction without periodicity, or restart files beside the
            frames of another task.
        CalculationError: LAMMPS cannot be loaded.
    """
    started = time.monotonic()
    deadline = np.inf if timeout is None else started + timeout
    layout = Layout(len(task.atoms), task.stride)
    if measure:
        layout = replace(layout, deviation=measure.deviation, members=measure.members, draws=measure.draws)
    run = _Trajectory(task, model, measure, directory, deadline)
    try:
        with TrajectoryWriter(directory, layout) as writer:
            run.integrate(writer)
        reason, message = EndReason.COMPLETED, f"all {task.n_steps} steps done"
    except TrajectoryEnded as ended:
        reason, message = ended.reason, f"step {run.step}: {ended}"
    finally:
        run.close()
    end = End(reason, message, run.step, time.monotonic() - started, layout.deviation)
    end.write(directory)
    logger.info("%s: %s (%s)", directory, end.reason.value, end.message)
    return end


def rehearse(task: ExplorationTask, directory: Path) -> None:
    """Give LAMMPS every command of a task once, without a step and without forces.

    Args:
        task: what to explore; its model files are not read.
        directory: an existing folder, for LAMMPS's log.

    Raises:
        InputError: a line of the user's template that LAMMPS refuses, or a structure or a change of the box
            that is beyond the limits.
        CalculationError: LAMMPS cannot be loaded.
    """
    trajectory = _Trajectory(task, NoForces(), None, directory, np.inf)
    try:
        trajectory.rehearse()
    except TrajectoryEnded as ended:
        raise InputError(f"the trajectory would end before its first step: {ended}") from ended
    finally:
        trajectory.close()
