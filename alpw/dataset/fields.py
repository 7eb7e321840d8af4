"""The fields of a configuration that people query by: type, unit, meaning, and the short names of some."""

from __future__ import annotations

from typing import NamedTuple


class Field(NamedTuple):
    """One field of a document.

    Attributes:
        kind: ``number``, ``integer``, ``text``, ``date``, ``id`` or ``texts``, a list of text.
        unit: of a number; empty if it has none.
        meaning: one line for the reader.
        names: shorter ones that the query language takes.
    """

    kind: str
    unit: str
    meaning: str
    names: tuple[str, ...] = ()


FIELDS: dict[str, Field] = {
    "_id": Field("id", "", "identity, for good", ("id",)),
    "campaign": Field("text", "", "to which it belongs; `NAME@2` is what a rerun set aside"),
    "iteration": Field("integer", "", "of the campaign; -1 is the initial data set", ("iter",)),
    "state": Field("text", "", "candidate, labelling, labelled, quarantined or removed"),
    "role": Field("text", "", "train or validation"),
    "key": Field("text", "", "where it comes from, unique in the campaign"),
    "formula": Field("text", "", "chemical formula of the cell, as ASE writes it"),
    "chemical_system": Field("text", "", "its elements in alphabetical order: C-Si", ("chemsys", "system")),
    "n_atoms": Field("integer", "", "atoms in the cell", ("natoms",)),
    "volume": Field("number", "Å^3", "of the cell; absent unless periodic in three directions"),
    "density": Field("number", "g/cm^3", "mass over volume"),
    "energy": Field("number", "eV", "of the cell"),
    "energy_per_atom": Field("number", "eV", "energy over n_atoms", ("e_atom", "epa")),
    "max_force": Field("number", "eV/Å", "length of the largest force on an atom", ("fmax",)),
    "pressure": Field("number", "GPa", "a third of the trace of virial over volume; absent without virial"),
    "code": Field("text", "", "that computed the label: vasp, pwmat, cp2k, xtb, or imported data's"),
    "settings_hash": Field("text", "", "level of theory: SHA-256 of the settings that were used", ("level",)),
    "structure_hash": Field("text", "", "SHA-256 of the structure, whatever the order of its atoms"),
    "label_hash": Field("text", "", "SHA-256 of structure and label to the last bit"),
    "source.temperature": Field(
        "number", "K", "of the dynamics that it is from", ("temperature", "temp", "t")
    ),
    "source.pressure": Field("number", "bar", "that the dynamics aimed at"),
    "source.trajectory": Field(
        "id", "", "exploration that it is from: `_id` in trajectories", ("trajectory",)
    ),
    "source.calculation": Field("id", "", "AIMD or relaxation that it is from", ("calculation",)),
    "source.structure": Field("text", "", "start structure of init_bulk that it is from", ("structure",)),
    "source.frame": Field("integer", "", "number in its trajectory or file, from 0", ("frame",)),
    "source.step": Field("integer", "", "step of the dynamics", ("step",)),
    "source.file": Field("text", "", "file that it was imported from", ("file",)),
    "source.uncertainty.max_force_deviation": Field(
        "number", "eV/Å", "deviation of the committee at selection", ("uncertainty", "devi", "deviation")
    ),
    "source.uncertainty.mean_kpu": Field(
        "number", "eV/Å", "Kalman prediction uncertainty at selection, mean over the atoms", ("kpu",)
    ),
    "error.kind": Field("text", "", "why it is quarantined: scf, walltime, node, ...", ("error",)),
    "attempts": Field("integer", "", "how often its label was tried"),
    "wall_time": Field("number", "s", "of its calculation; 0 for a label that was taken over"),
    "cores": Field("integer", "", "of its calculation"),
    "directory": Field("text", "", "folder of its calculation", ("folder",)),
    "created": Field("date", "", "when it was chosen or imported, UTC"),
    "labelled": Field("date", "", "when it got its label, UTC"),
    "alpw_version": Field("text", "", "of ALPW that stored the label"),
    "schema": Field("integer", "", "version of this table that the document has"),
    "tags": Field("texts", "", "names that users gave it", ("tag",)),
    "removed.reason": Field("text", "", "why its user took it out", ("reason",)),
}
"""In the order of the documentation."""

NAMES: dict[str, str] = {name: path for path, field in FIELDS.items() for name in (path, *field.names)}
"""Every name that the query language takes -> field of the document."""
