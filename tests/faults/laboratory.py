"""Campaigns whose labels, relaxations and AIMD runs meet faults, through Fireworks and the engine."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.geometry import find_mic
from bson import ObjectId
from fireworks import FWorker, LaunchPad, Workflow
from fireworks.core.rocket_launcher import rapidfire

from alpw.codes.protocol import Task
from alpw.codes.registry import code_of
from alpw.codes.run import run_label, run_steps
from alpw.config import Dft, Param, load_inputs
from alpw.database import calculations, campaigns, configurations
from alpw.database.documents import atoms_of, frame_of
from alpw.structures.frames import LabelledFrames
from alpw.workflows.active_learning import firework
from alpw.workflows.firework import DFT, LIGHT
from alpw.workflows.launch import start_campaign
from tests.faults.cases import REPAIRED, Case

STANDINS = Path(__file__).parents[1] / "standins"
TOLERANCE = {"vasp": 1e-6, "pwmat": 1e-6, "cp2k": 2e-3}
"""eV/Å between a repaired label and an undisturbed one: the digits of the files, CP2K's SCF threshold."""

STEP_TOLERANCE = 2e-3
"""eV/Å between a step of AIMD and a label of its structure: OUTCAR gives positions to 1e-5 Å, and CP2K starts
each step from the wavefunction of the one before."""

INCAR = "ENCUT = 300\nISMEAR = 0\nSIGMA = 0.05\nEDIFF = 1E-6\nKSPACING = 0.6\nALGO = Fast\nNELM = 40\n"
ETOT = "1 1\nECUT = 40\nACCURACY = NORM\nXCFUNCTIONAL = PBE\nE_ERROR = 0\nRHO_ERROR = 1E-5\n"
CP2K = """&FORCE_EVAL
  METHOD QUICKSTEP
  &DFT
    &QS
      METHOD xTB
      &xTB
        DO_EWALD T
      &END
    &END
    &KPOINTS
      SCHEME MONKHORST-PACK 2 2 2
    &END
    &SCF
      SCF_GUESS MOPAC
      EPS_SCF 1E-6
      MAX_SCF 50
      &MIXING
        METHOD BROYDEN_MIXING
        ALPHA 0.1
        NBROYDEN 8
      &END
    &END
  &END
&END
"""
CP2K_MOTION = {
    "relax": "&GLOBAL\n RUN_TYPE GEO_OPT\n&END\n&MOTION\n &GEO_OPT\n  MAX_FORCE 2E-3\n"
    "  RMS_FORCE 1E-3\n &END\n&END\n",
    "aimd": "&GLOBAL\n RUN_TYPE MD\n&END\n&MOTION\n &MD\n  ENSEMBLE NVE\n  STEPS 4\n  TIMESTEP 1.0\n"
    "  TEMPERATURE 300\n &END\n&END\n",
}
CONTROL = {
    ("vasp", "label"): INCAR,
    ("vasp", "relax"): INCAR + "NSW = 30\nIBRION = 2\nISIF = 2\nEDIFFG = -0.02\n",
    ("vasp", "aimd"): INCAR + "NSW = 8\nIBRION = 0\nPOTIM = 1.0\nSMASS = -3\nTEBEG = 300\nTEEND = 300\n",
    ("pwmat", "label"): ETOT + "JOB = SCF\n",
    ("pwmat", "relax"): ETOT + "JOB = RELAX\nRELAX_DETAIL = 1 40 0.02\n",
    ("pwmat", "aimd"): ETOT + "JOB = MD\nMD_DETAIL = 1, 8, 1.0, 300, 300\n",
    ("cp2k", "label"): CP2K,
    ("cp2k", "relax"): CP2K + CP2K_MOTION["relax"],
    ("cp2k", "aimd"): CP2K + CP2K_MOTION["aimd"],
}
STEPS = {"vasp": 8, "pwmat": 8, "cp2k": 5}
"""Frames that the AIMD runs above must give; CP2K counts the start as step 0."""


def calculation_workflow(campaign: str, calculations: Sequence[ObjectId]) -> Workflow:
    """One Firework that runs relaxations or AIMD one after the other."""
    ids = [str(calculation) for calculation in calculations]
    return Workflow([firework("RunCalculations", "calculate", campaign, -1, calculations=ids)])


def _jump(frames: LabelledFrames, step: int) -> float:
    """Largest displacement of an atom to the next step, Å, by the nearest image."""
    between = frames.positions[step + 1] - frames.positions[step]
    return float(find_mic(between, frames.cells[step])[1].max())


class Outcome(NamedTuple):
    """What became of a calculation."""

    case: Case
    found: str
    diagnosis: str

    @property
    def right(self) -> bool:
        return self.found == self.case.expected


class Laboratory:
    """One code in one folder, with a campaign for each kind of calculation.

    Args:
        launchpad: of a running database.
        folder: where everything is made.
        code: ``dft_style``.
        more: further keys of param.json.
    """

    def __init__(self, launchpad: LaunchPad, folder: Path, code: str, **more: Any) -> None:
        self.launchpad, self.folder, self.name, self.more = launchpad, folder, code, more
        self.code = code_of(code)
        folder.mkdir(parents=True)
        self.command = self._command()
        if code == "vasp":
            potcar = subprocess.run(
                [sys.executable, STANDINS / "vasp_std", "--potcar", "Si"], capture_output=True, check=True
            ).stdout
            (folder / "POTCAR").write_bytes(potcar)
        if code == "pwmat":
            subprocess.run(
                [sys.executable, STANDINS / "PWmat", "--upf", "Si"],
                cwd=folder,
                check=True,
                stdout=subprocess.DEVNULL,
            )

    def _command(self) -> str:
        words = {
            "vasp": [sys.executable, STANDINS / "vasp_std"],
            "pwmat": [sys.executable, STANDINS / "PWmat"],
            "cp2k": [sys.executable, STANDINS / "cp2k_faulty", shutil.which("cp2k.psmp") or "cp2k"],
        }
        return shlex.join(map(str, words[self.name]))

    def dft(self, task: str) -> dict[str, Any]:
        control = self.folder / f"{task}.control"
        control.write_text(CONTROL[self.name, task])
        pseudo = {"vasp": ["POTCAR"], "pwmat": ["Si.SG15.PBE.UPF"], "cp2k": []}[self.name]
        settings = {"dft_style": self.name, "input": control.name, "max_silence": 4.0, "pseudo": pseudo}
        if self.name == "pwmat":
            settings["kspacing"] = 0.6
            settings["pseudo"] = [path.name for path in self.folder.glob("*.UPF")]
        return {key: value for key, value in settings.items() if value != []}

    def campaign(self, task: str, copies: int) -> Param:
        """A campaign that begins by labelling ``copies`` perturbed cells of eight silicon atoms."""
        bulk("Si", cubic=True).write(self.folder / "POSCAR", format="vasp", direct=True)
        param = {
            "campaign": f"{self.name}-{task}",
            "work_dir": f"{task}",
            "initial": {"perturb": copies, "cell_pert_fraction": 0.01, "atom_pert_distance": 0.08},
            "train": {"atom_type": ["Si"]},
            "strategy": {"lower_model_devi_f": 0.1, "upper_model_devi_f": 0.3, "max_failed_ratio": 1.0},
            "explore": {
                "sys_configs": [{"config": "POSCAR", "format": "vasp/poscar"}],
                "md_jobs": [{"sys_idx": [0], "temps": [300], "nsteps": 10}],
            },
            "dft": self.dft(task),
            **self.more,
        }
        resource = {
            "train": {},
            "explore": {},
            "dft": {"command": self.command, "group_size": -1},
        }
        for name, content in (("param", param), ("resource", resource)):
            (self.folder / f"{task}.{name}.json").write_text(json.dumps(content))
        loaded = load_inputs(self.folder / f"{task}.param.json", self.folder / f"{task}.resource.json")
        start_campaign(self.launchpad, *loaded)
        return loaded[0]

    def launch(self, *categories: str) -> None:
        """Run what is ready, as a worker does."""
        rapidfire(
            self.launchpad, FWorker(category=list(categories)), m_dir=str(self.folder), strm_lvl="CRITICAL"
        )

    def put_faults(self, folder: Path, case: Case) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{self.name}_faults.json").write_text(json.dumps(case.faults))

    def run(self, task: str, cases: Sequence[Case]) -> list[Outcome]:
        """Run the cases of one kind of calculation and judge what became of them."""
        return self.label(cases) if task == "label" else self.calculate(task, cases)

    def label(self, cases: Sequence[Case]) -> list[Outcome]:
        """All cases in one chunk, one after the other; then the collector, which must go on."""
        param = self.campaign("label", len(cases))
        os.chdir(self.folder)
        self.launch(LIGHT)
        documents = list(self.launchpad.db[configurations.COLLECTION].find({"campaign": param.campaign}))
        documents.sort(key=lambda document: int(document["key"].rsplit("/", 1)[-1]))
        for document, case in zip(documents, cases, strict=True):
            self.put_faults(param.work_dir / "prepare" / "02.label" / str(document["_id"]), case)
        self.launch(DFT)
        self.launch(LIGHT)
        state = campaigns.get(self.launchpad.db, param.campaign)["state"]
        if state != campaigns.CampaignState.RUNNING.value:
            raise AssertionError(f"the campaign was stopped: {state}")
        return [
            self._judge_label(param.dft, document["_id"], case)
            for document, case in zip(documents, cases, strict=True)
        ]

    def _judge_label(self, dft: Dft, identity: ObjectId, case: Case) -> Outcome:
        document = self.launchpad.db[configurations.COLLECTION].find_one({"_id": identity})
        if document["state"] == configurations.State.QUARANTINED.value:
            return Outcome(case, document["error"]["kind"], document["error"]["diagnosis"])
        if document["state"] != configurations.State.LABELLED.value:
            return Outcome(case, document["state"], "not settled")
        atoms = atoms_of(document)
        undisturbed = run_label(
            self.code, atoms, self.folder / "undisturbed" / str(identity), dft, self.command
        )
        label = frame_of(document).label
        error = float(np.abs(label.forces - undisturbed.label.forces).max())
        if error > TOLERANCE[self.name] or document["settings_hash"] != undisturbed.settings_hash:
            return Outcome(case, "WRONG LABEL", f"forces differ by {error:.2g} eV/Å")
        repairs = "; ".join(str(entry["errors"][0]) for entry in document["corrections"])
        return Outcome(case, REPAIRED, repairs)

    def calculate(self, task: str, cases: Sequence[Case]) -> list[Outcome]:
        """All cases in one Firework, one after the other."""
        param = self.campaign(task, 1)
        os.chdir(self.folder)
        rng = np.random.default_rng(1)
        starts = []
        for index, case in enumerate(cases):
            atoms = bulk("Si", cubic=True)
            atoms.positions += 0.08 * rng.standard_normal(atoms.positions.shape)
            dft = param.dft.model_dump(mode="json")
            identity = calculations.propose(
                self.launchpad.db, param.campaign, -1, f"{task}/{index}", task, atoms, dft
            )
            self.put_faults(param.work_dir / "prepare" / task / str(identity), case)
            starts.append((identity, atoms))
        wanted = [identity for identity, _ in starts]
        self.launchpad.add_wf(calculation_workflow(param.campaign, wanted))
        self.launch(DFT)
        return [
            self._judge_steps(param.dft, task, identity, atoms, case)
            for (identity, atoms), case in zip(starts, cases, strict=True)
        ]

    def _judge_steps(self, dft: Dft, task: str, identity: ObjectId, atoms: Atoms, case: Case) -> Outcome:
        document = self.launchpad.db[calculations.COLLECTION].find_one({"_id": identity})
        if document["state"] == calculations.State.QUARANTINED.value:
            return Outcome(case, document["error"]["kind"], document["error"]["diagnosis"])
        if document["state"] != calculations.State.DONE.value:
            return Outcome(case, document["state"], "not settled")
        kept = run_steps(
            self.code, Task(task), atoms, document["directory"], dft, self.command
        )  # reads what is there
        if wrong := self._wrong_steps(dft, task, atoms, kept.frames, str(identity)):
            return Outcome(case, "WRONG STEPS", wrong)
        return Outcome(
            case,
            REPAIRED,
            f"{len(kept.frames)} steps; " + "; ".join(str(entry["errors"][0]) for entry in kept.corrections),
        )

    def _wrong_steps(self, dft: Dft, task: str, atoms: Atoms, frames: LabelledFrames, name: str) -> str:
        jumps = np.array([_jump(frames, step) for step in range(len(frames) - 1)])
        if task == "aimd" and len(frames) != STEPS[self.name]:
            return f"{len(frames)} steps, not {STEPS[self.name]}"
        # A relaxation that was killed computes the geometry again at which it died.
        stands_still = task == "aimd" and (jumps < 1e-9).any()
        if stands_still or jumps.max(initial=0.0) > 0.3:
            return f"the trajectory stands still or jumps: {jumps.round(3).tolist()} Å"
        if task == "relax":
            undisturbed = run_steps(
                self.code, Task.RELAX, atoms, self.folder / "undisturbed" / name, dft, self.command
            )
            lower = frames.energies[-1] - undisturbed.frames.energies[-1]
            return f"ends {lower:.3g} eV off" if abs(lower) > 0.02 else ""
        for step in (0, len(frames) - 1):
            again = run_label(
                self.code,
                frames[step].atoms,
                self.folder / "undisturbed" / f"{name}-{step}",
                dft.model_copy(update={"input": self._label_control()}),
                self.command,
            )
            error = float(np.abs(frames.forces[step] - again.label.forces).max())
            if error > STEP_TOLERANCE:
                return f"forces of step {step} differ by {error:.2g} eV/Å from those of its structure"
        return ""

    def _label_control(self) -> Path:
        control = self.folder / "label.control"
        control.write_text(CONTROL[self.name, "label"])
        return control
