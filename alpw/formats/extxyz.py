"""Extended XYZ: frames in the text format of ASE, with all digits, read and written one by one.

Frames are read as ASE reads them, faster and one at a time. ASE's writer keeps eight decimals; ours has as
many digits as a double. Keys of the comment line:

=================  ======================================================================================
``energy``         eV
``virial``         eV, positive under compression; written, and preferred when reading
``stress``         eV/Å^3, positive under tension (ASE's); written beside the virial for other programs
``converged``      ``F`` for a frame whose SCF did not converge; absent otherwise
``time``, ...      the numbers by frame of :data:`alpw.structures.frames.EXTRAS`, in their units
``id``, ...        the provenance of :data:`alpw.structures.frames.EXTRAS`, where it is known; only written
=================  ======================================================================================

Columns: ``forces``, or ``force`` as the predecessor writes it, in eV/Å. Velocities are not written.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers, chemical_symbols
from ase.stress import voigt_6_to_full_3x3_stress
from numpy.typing import NDArray

from alpw.errors import InputError
from alpw.files import replacing
from alpw.formats.batches import Frames, frames_per_batch, in_batches
from alpw.formats.text import open_text
from alpw.structures.frames import BY_FRAME, PROVENANCE, LabelledFrames, reads_as_number

_KINDS = {"S", "R", "I", "L"}
_PAIR = re.compile(r"""\s*(\w+)=(?:"([^"\\]*)"|([^\s"'{}\[\]=\\]+))(?=\s|$)""")
_TRUTH = {"T": True, "F": False, "true": True, "false": False, "True": True, "False": False}
_NO = {"f", "false", "0", "0.0", "no"}
_NAMES = {"pos": "positions", "species": "symbols", "Z": "numbers", "force": "forces"}


def looks_like_extxyz(head: str) -> bool:
    """Whether the beginning of a file is that of an extended XYZ file."""
    lines = head.splitlines()
    return (
        len(lines) > 1
        and lines[0].strip().isdigit()
        and ("Properties=" in lines[1] or "Lattice=" in lines[1])
    )


def read_extxyz(path: str | Path) -> Iterator[LabelledFrames]:
    """The labelled frames of an extended XYZ file, in batches of the same atoms.

    Raises:
        InputError: not such a file, a frame without energy, forces or cell, a number that is not finite, or
            a last frame cut short; names file and frame.
    """
    path = Path(path)
    gathered: list[_Labelled] = []
    first = 0
    for frame in (_labelled(raw, path, k) for k, raw in enumerate(_raw_frames(path))):
        if gathered and not gathered[0].goes_with(frame, len(gathered)):
            yield _batch(gathered, path, first)
            first += len(gathered)
            gathered = []
        gathered.append(frame)
    if gathered:
        yield _batch(gathered, path, first)


def read_extxyz_structures(path: str | Path) -> Iterator[Atoms]:
    """The structures of an extended XYZ file, with or without labels; keys of the comment line in ``info``.

    Raises:
        InputError: not such a file, or a last frame cut short; names file and frame.
    """
    path = Path(path)
    for raw in _raw_frames(path):
        info = {key: value for key, value in raw.info.items() if np.ndim(value) == 0}
        yield Atoms(numbers=raw.numbers, positions=raw.positions, cell=raw.cell, pbc=raw.pbc, info=info)


def write_extxyz(path: str | Path, frames: Frames) -> None:
    """Writes (and replaces) an extended XYZ file: energy, forces, and virial where there is one."""
    with replacing(path) as file:
        for batch in in_batches(frames):
            file.writelines(text.encode() for text in _texts(batch))


@dataclass(frozen=True)
class _Raw:
    """One frame as the file has it."""

    numbers: NDArray[np.int64]
    positions: NDArray[np.float64]
    cell: NDArray[np.float64]
    pbc: tuple[bool, bool, bool]
    info: dict[str, Any]
    columns: dict[str, NDArray[Any]]
    has_end: bool


@dataclass(frozen=True)
class _Labelled:
    raw: _Raw
    energy: float
    forces: NDArray[np.float64]
    virial: NDArray[np.float64] | None
    converged: bool
    extras: dict[str, float] = field(default_factory=dict)

    def goes_with(self, other: _Labelled, count: int) -> bool:
        return (
            count < frames_per_batch(len(self.raw.numbers))
            and np.array_equal(self.raw.numbers, other.raw.numbers)
            and self.raw.pbc == other.raw.pbc
            and self.extras.keys() == other.extras.keys()
        )


def _raw_frames(path: Path) -> Iterator[_Raw]:
    if not path.is_file():
        raise InputError("no such file", path)
    with open_text(path) as file:
        frame = 0
        while line := file.readline():
            if not line.strip():
                continue
            try:
                yield _raw(_n_atoms(line), file)
            except (ValueError, KeyError, IndexError, TypeError) as error:
                raise InputError(
                    f"not a valid extended XYZ file: {_told(error)}", path, f"frame {frame}"
                ) from error
            frame += 1


def _told(error: Exception) -> str:
    return f"unknown element or column {error}" if isinstance(error, KeyError) else str(error)


def _n_atoms(line: str) -> int:
    if not line.strip().isdecimal():
        raise ValueError(f"{line.strip()[:40]!r} stands where the number of atoms belongs")
    return int(line)


def _raw(n_atoms: int, file: TextIO) -> _Raw:
    comment = file.readline()
    info = _info(comment.strip())
    lines = list(islice(file, n_atoms))
    if len(lines) < n_atoms or (lines and not lines[-1].endswith("\n") and not lines[-1].strip()):
        raise ValueError(f"the frame has {len(lines)} of {n_atoms} atoms; the file is cut short")
    pbc = info.pop("pbc", [True] * 3 if "Lattice" in info else [False] * 3)
    x, y, z = (bool(axis) for axis in np.broadcast_to(pbc, 3))
    # ASE reads nine numbers of a tensor by columns; the vectors of a lattice are its rows.
    cell = info.pop("Lattice").T if "Lattice" in info else np.zeros((3, 3))
    columns = _columns(str(info.pop("Properties", "species:S:1:pos:R:3")), lines)
    if "numbers" in columns:
        numbers = columns.pop("numbers").astype(np.int64)
        columns.pop("symbols", None)
    else:
        numbers = np.array([atomic_numbers[s.capitalize()] for s in columns.pop("symbols")], dtype=np.int64)
    if not ((numbers > 0) & (numbers < len(chemical_symbols))).all():
        raise ValueError("an atom is of no element")
    positions = columns.pop("positions", np.zeros((n_atoms, 3)))
    if positions.shape != (n_atoms, 3):
        raise ValueError(f"positions have the shape {positions.shape}, not {(n_atoms, 3)}")
    has_end = not lines or lines[-1].endswith("\n")
    return _Raw(numbers, positions, np.array(cell, dtype=float), (x, y, z), info, columns, has_end)


def _info(comment: str) -> dict[str, Any]:
    """Keys and values of a comment line as ASE reads them, quickly where they are plain."""
    found: dict[str, Any] = {}
    at = 0
    while at < len(comment):
        pair = _PAIR.match(comment, at)
        if pair is None or "_JSON" in comment:
            # Late: it brings SciPy's integrators, for which no command should wait.
            from ase.io.extxyz import key_val_str_to_dict

            return dict(key_val_str_to_dict(comment)) if comment else {}
        found[pair[1]] = _value(pair[1], pair[2] if pair[2] is not None else pair[3])
        at = pair.end()
    return found


def _value(key: str, text: str) -> Any:
    words = text.replace(",", " ").split()
    values: Any = text
    for convert in (int, float, _TRUTH.__getitem__):
        try:
            values = [convert(word) for word in words]
            break
        except (ValueError, KeyError):
            continue
    if key in ("Lattice", "virial", "stress"):
        if values is text or len(words) != 9:
            raise ValueError(f"{key}={text!r} is not a list of nine numbers")
        return np.array(values, dtype=float).reshape(3, 3, order="F")
    if values is text or not words or isinstance(values[0], bool):
        return text if values is text or not words else values if len(values) > 1 else values[0]
    return values[0] if len(values) == 1 else np.array(values)


def _columns(properties: str, lines: list[str]) -> dict[str, NDArray[Any]]:
    """The columns of a frame by their names, ``(n_atoms,)`` or ``(n_atoms, count)``."""
    words = properties.split(":")
    if len(words) % 3 or not words[1::3]:
        raise ValueError(f"Properties={properties} is not a list of name:kind:columns")
    names, kinds, counts = words[::3], words[1::3], [int(count) for count in words[2::3]]
    if unknown := set(kinds) - _KINDS:
        raise ValueError(f"columns of the unknown kind {unknown.pop()}")
    n_columns = sum(counts)
    cells = " ".join(lines).split()
    if len(cells) == n_columns * len(lines) and kinds[0] == "S" and set(kinds[1:]) == {"R"}:
        # Numbers but for the first words, as nearly always: all of them at once.
        texts = [cells[k::n_columns] for k in range(counts[0])]
        for k in range(counts[0]):
            del cells[:: n_columns - k]
        numbers = np.array(list(map(float, cells))).reshape(len(lines), -1)
        blocks: list[NDArray[Any]] = [np.array(texts, dtype=object).T]
        blocks += np.split(numbers, np.cumsum(counts[1:])[:-1], axis=1)
    else:
        blocks = _blocks(kinds, counts, lines)
    names = [_NAMES.get(name, name) for name in names]
    if twice := [name for name in names if names.count(name) > 1]:
        raise ValueError(f"there are two columns for {twice[0]}: {properties}")
    pairs = zip(names, blocks, strict=True)
    return {name: block[:, 0] if block.shape[1] == 1 else block for name, block in pairs}


def _blocks(kinds: list[str], counts: list[int], lines: list[str]) -> list[NDArray[Any]]:
    rows = [line.split() for line in lines]
    for k, row in enumerate(rows):
        if len(row) < sum(counts):
            raise ValueError(f"atom {k} has {len(row)} of {sum(counts)} columns")
    blocks, start = [], 0
    for kind, count in zip(kinds, counts, strict=True):
        texts = [word for row in rows for word in row[start : start + count]]
        if kind in "SL":
            block: NDArray[Any] = np.array(texts, dtype=object)
        else:
            block = np.array(list(map(float if kind == "R" else int, texts)))
        blocks.append(block.reshape(len(rows), count))
        start += count
    return blocks


def _labelled(raw: _Raw, path: Path, k: int) -> _Labelled:
    where, n_atoms = f"frame {k}", len(raw.numbers)
    if not raw.has_end:
        # The last number may have lost digits, or its exponent, and still be a number.
        raise InputError(
            "the file ends within its last line and may be cut short; if it is whole, add a line break",
            path,
            where,
        )
    energy, forces = raw.info.get("energy"), raw.columns.get("forces")
    for name, value in (("energy", energy), ("forces", forces)):
        if value is None:
            given = ", ".join(sorted({*raw.info, *raw.columns})) or "no labels"
            raise InputError(f"no {name}; the frame has {given}", path, where)
    if forces is None or forces.shape != (n_atoms, 3):
        raise InputError(f"forces are no vectors of {n_atoms} atoms", path, where)
    try:
        return _Labelled(
            raw,
            energy=float(np.asarray(energy, dtype=float).reshape(())),
            forces=np.array(forces, dtype=float),
            virial=_virial(raw),
            converged=str(raw.info.get("converged", True)).lower() not in _NO,
            extras={name: float(raw.info[name]) for name in BY_FRAME if np.isscalar(raw.info.get(name))},
        )
    except (TypeError, ValueError) as error:
        raise InputError(f"a label that is not numbers: {error}", path, where) from error


def _virial(raw: _Raw) -> NDArray[np.float64] | None:
    if "virial" in raw.info:
        return np.array(raw.info["virial"], dtype=float).reshape(3, 3)
    if "stress" in raw.info and np.linalg.matrix_rank(raw.cell) == 3:
        stress = np.array(raw.info["stress"], dtype=float)
        full = voigt_6_to_full_3x3_stress(stress) if stress.shape == (6,) else stress.reshape(3, 3)
        return np.array(-full * abs(np.linalg.det(raw.cell)))
    return None


def _batch(frames: list[_Labelled], path: Path, first: int) -> LabelledFrames:
    given = {k: frame.virial for k, frame in enumerate(frames) if frame.virial is not None}
    parts = {
        "cell": np.array([frame.raw.cell for frame in frames]),
        "positions": np.array([frame.raw.positions for frame in frames]),
        "energy": np.array([frame.energy for frame in frames]),
        "forces": np.array([frame.forces for frame in frames]),
        "virial": np.array([given.get(k, np.zeros((3, 3))) for k in range(len(frames))]),
    }
    for name, part in parts.items():
        sound = np.isfinite(part.reshape(len(frames), -1)).all(axis=1)
        if not sound.all():
            where = f"frame {first + int(np.argmin(sound))}"
            raise InputError(f"{name}: a number that is not finite", path, where)
    if any(frames[0].raw.pbc) and (flat := np.flatnonzero(np.linalg.matrix_rank(parts["cell"]) < 3).tolist()):
        raise InputError("periodic, but its cell has no volume", path, f"frame {first + flat[0]}")
    parts["virial"][[k for k in range(len(frames)) if k not in given]] = np.nan
    return LabelledFrames(
        numbers=frames[0].raw.numbers,
        cells=parts["cell"],
        positions=parts["positions"],
        energies=parts["energy"],
        forces=parts["forces"],
        virials=parts["virial"] if given else None,
        converged=np.array([frame.converged for frame in frames]),
        pbc=frames[0].raw.pbc,
        extras={name: np.array([frame.extras[name] for frame in frames]) for name in frames[0].extras},
    )


def _texts(batch: LabelledFrames) -> Iterator[str]:
    symbols = [chemical_symbols[number] for number in batch.numbers]
    pbc = _row("FT"[int(axis)] for axis in batch.pbc)
    for k, virial in enumerate(batch.filled_virials()):
        cell = batch.cells[k]
        keys = {"Lattice": _numbers(cell)} if cell.any() else {}
        keys |= {"Properties": "species:S:1:pos:R:3:forces:R:3", "energy": repr(float(batch.energies[k]))}
        keys["pbc"] = pbc
        volume = abs(np.linalg.det(cell))
        if not np.isnan(virial).any():
            # Nine numbers of a tensor go by columns in this format. A virial is symmetric but for noise.
            keys["virial"] = _numbers(virial.T)
            if volume > 0:
                keys["stress"] = _numbers(-virial.T / volume)
        if not batch.converged[k]:
            keys["converged"] = "F"
        keys |= {name: repr(float(batch.extras[name][k])) for name in BY_FRAME if name in batch.extras}
        keys |= {
            name: text if name == "iteration" else _text(text)
            for name in PROVENANCE
            if name in batch.extras and (text := str(batch.extras[name][k]))
        }
        rows = np.concatenate([batch.positions[k], batch.forces[k]], axis=1).tolist()
        yield "\n".join(
            [
                str(len(symbols)),
                " ".join(f"{key}={value}" for key, value in keys.items()),
                *(f"{symbol} {' '.join(map(repr, row))}" for symbol, row in zip(symbols, rows, strict=True)),
                "",
            ]
        )


def _text(text: str) -> str:
    """A text as ASE reads it back; one that reads as a number is marked as JSON, or it would become one."""
    if not reads_as_number(text) and re.fullmatch(r"[\w.:+-]+", text):
        return text
    return f'"_JSON {json.dumps(json.dumps(text))[1:-1]}"'


def _numbers(values: NDArray[np.float64]) -> str:
    return _row(map(repr, np.ravel(values).tolist()))


def _row(words: Iterable[str]) -> str:
    return f'"{" ".join(words)}"'
