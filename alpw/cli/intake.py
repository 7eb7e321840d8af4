"""``alpw import``: labelled frames of files into the data set; with ``-o``, a model of another program."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from alpw import legacy
from alpw.cli.common import (
    EXIT_BAD_INPUT,
    EXIT_FAILED,
    AsJson,
    LaunchpadFile,
    complaints,
    console,
    errors_as_exit_status,
    note,
    print_json,
)
from alpw.cli.data import opened
from alpw.cli.export import DeepmdPython
from alpw.database.configurations import Role
from alpw.dataset.dataset import check_tag
from alpw.dataset.intake import FileReport, Stored, Terms, import_files, reading
from alpw.dataset.level import UNKNOWN_LEVEL
from alpw.errors import InputError
from alpw.formats.convert import expand, find_inputs
from alpw.formats.registry import Options, find, recognise

MODEL_ENDINGS = (".yaml", ".yml", ".pb", ".pth", ".dp", ".pt")
"""of the files that `alpw.potential.interchange` reads, which brings torch, for which data should not wait"""

SHOWN = 5
"""conflicts of a file that are told one by one"""


class Energy(str, Enum):
    """Which energy of VASP is the label."""

    FREE = "free"
    SIGMA0 = "sigma0"


def import_(
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="PATH...",
            help="Files, data sets, folders, quoted patterns; a campaign of PWact or DP-GEN; or a model.",
        ),
    ],
    to: Annotated[
        str | None,
        typer.Option(
            "--to", metavar="NAME", help="The data set, `campaign` of the frames. [default: imported]"
        ),
    ] = None,
    format: Annotated[
        str, typer.Option("--format", "-f", metavar="FORMAT", help="Their format; auto recognises each file.")
    ] = "auto",
    role: Annotated[
        Role | None, typer.Option("--role", help="What for; train, but PWdata's valid folders validate.")
    ] = None,
    tag: Annotated[str | None, typer.Option("--tag", metavar="TAG", help="A tag for the new frames.")] = None,
    level: Annotated[
        str | None,
        typer.Option(
            "--level", metavar="TEXT", help="Level of theory: your words for it, or a settings_hash."
        ),
    ] = None,
    energy: Annotated[Energy, typer.Option("--energy", help="VASP: the energy of the label.")] = Energy.FREE,
    elements: Annotated[
        str, typer.Option("--elements", metavar="SYMBOLS", help="Refuse frames with others than these: Si,O")
    ] = "",
    keep_unconverged: Annotated[
        bool, typer.Option("--keep-unconverged", help="Take frames whose SCF did not converge.")
    ] = False,
    partial: Annotated[
        bool, typer.Option("--partial", help="Take what is whole of a run that was cut short or is damaged.")
    ] = False,
    copies: Annotated[
        bool, typer.Option("--copies", help="Take frames that other campaigns or data sets have.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be stored.")] = False,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="MODEL", help="For a model: where to write ours.")
    ] = None,
    deepmd_python: DeepmdPython = None,
    force: Annotated[bool, typer.Option("--force", help="For a model: replace a file.")] = False,
    as_json: AsJson = False,
    launchpad: LaunchpadFile = None,
) -> None:
    """Take labelled frames of any format into the data set, each once, with where they come from.

    A frame that the database has is left out; one with another label of the same structure is reported. Of a
    file with a fault nothing is stored. May be repeated. With -o a model of deepmd-kit (se_e2_a, or se_atten
    without attention) is read instead, exactly or not at all. The folder of a campaign of PWact or DP-GEN
    becomes a campaign with its iterations; --to names it.

    Exit status: 0, 1 if labels contradict those that are there, 2 if a file could not be taken.

    Example: `alpw import 'runs/*/OUTCAR' data.xyz --to bulk --tag pbe`

    Example: `alpw import model.pb -o model.pt`
    """
    with errors_as_exit_status():
        if tag is not None:
            check_tag(tag)
        terms = Terms(
            to=Terms.to if to is None else to,
            role=role,
            tag=tag,
            level=level,
            options=Options(energy=energy.value),
            elements=tuple(elements.replace(",", " ").split()),
            keep_unconverged=keep_unconverged,
            partial=partial,
            copies=copies,
            dry_run=dry_run,
        )
        if out is not None:
            if len(paths) > 1 or to or terms != Terms() or format != "auto":
                raise InputError("-o reads one model; the other options are for frames", key="--out")
            # Late: it brings torch.
            from alpw.cli.exchange import import_model_file

            import_model_file(Path(paths[0]), out, deepmd_python, force=force, as_json=as_json)
            return
        if force or deepmd_python:
            raise InputError("is for a model, and so needs -o MODEL", key="--force, --deepmd-python")
        form = None if format.lower() == "auto" else find(format)
        files = [path for text in paths for path in expand(text)]
        # With a format said, the files in such a folder are meant.
        foreign = [path for path in files if form is None and legacy.recognise(path)]
        files = [path for path in files if path not in foreign]
        if form is None:
            _refuse_models(files)
        inputs = find_inputs(files, form)
        if foreign and (files or len(foreign) > 1 or replace(terms, to=Terms.to) != Terms()):
            raise InputError(
                "is a campaign of another program, which is imported alone and as it is, without other "
                "options than --to; --format takes single files of it",
                foreign[0],
            )
        db = opened(launchpad)
        with _progress(show=not as_json) as progress:
            if foreign:
                report = legacy.import_directory(db, foreign[0], to, reading(progress))
                _show_campaign(report, as_json=as_json)
                return
            reports = import_files(db, inputs, terms, progress)
        if as_json:
            said = {"to": terms.to, "dry_run": dry_run, **_sums(reports)}
            print_json({**said, "files": list(map(asdict, reports))})
        else:
            _show(reports, terms)
            if not terms.copies and any(report.duplicates for report in reports):
                note("duplicates are in this database already; --copies takes those of other data sets, too")
        if any(report.error for report in reports):
            raise typer.Exit(EXIT_BAD_INPUT)
        if any(report.conflicts for report in reports):
            raise typer.Exit(EXIT_FAILED)


def _show_campaign(report: legacy.Report, *, as_json: bool) -> None:
    if as_json:
        print_json(report.to_dict())
        return
    counts = f"{report.new} new, {report.there} there already, {report.duplicates} duplicates"
    console.print(f"{report.directory}: campaign {report.campaign}", soft_wrap=True)
    console.print(f"{report.n_iterations} iterations; frames: {counts}")
    console.print(f"{report.state}: {report.reason}", soft_wrap=True)
    for text in report.notes:
        note(text)


def _refuse_models(files: Sequence[Path]) -> None:
    for file in files:
        if file.suffix in MODEL_ENDINGS and file.is_file() and recognise(file) is None:
            text = "looks like a model, not like labelled frames; -o MODEL reads a model of deepmd-kit"
            raise InputError(text, file)


@contextmanager
def _progress(*, show: bool) -> Iterator[Stored | None]:
    """A line on the terminal that counts frames, where there is a terminal."""
    if not show or not sys.stderr.isatty():
        yield None
        return
    with complaints.status("reading") as status:

        def told(path: Path, done: int, new: int) -> None:
            status.update(f"{path}: {done:,} frames" + (f", {new:,} stored" if new else ""))

        yield told


def _sums(reports: Sequence[FileReport]) -> dict[str, int]:
    names = ("frames", "new", "duplicates", "unconverged")
    sums = {name: sum(getattr(report, name) for report in reports) for name in names}
    return sums | {"conflicts": sum(len(report.conflicts) for report in reports)}


def _show(reports: Sequence[FileReport], terms: Terms) -> None:
    for report in reports:
        if report.error:
            complaints.print(f"error: {report.error}; nothing of it is stored", style="red", soft_wrap=True)
            continue
        counts = [f"{report.new} new", f"{report.duplicates} duplicates"]
        counts += [f"{len(report.conflicts)} conflicts", f"{report.unconverged} unconverged left out"]
        console.print(f"{report.file}: {report.frames} frames, {', '.join(counts)}", soft_wrap=True)
        for conflict in report.conflicts[:SHOWN]:
            note(_told(conflict))
        if (more := len(report.conflicts) - SHOWN) > 0:
            note(f"and {more} more conflicts; --json lists them")
        if report.further_systems:
            note(f"'{terms.to}' had no frames of {', '.join(report.further_systems)} before this file")
    sums = _sums(reports)
    if len(reports) > 1:
        console.print(", ".join(f"{count} {name}" for name, count in sums.items()))
    if terms.dry_run:
        note("nothing was stored")
    if sums["conflicts"]:
        note(
            "a structure has one label at a level of theory, and the first one stays; if the levels differ, "
            f"name them with --level (labels of files that do not tell have the level '{UNKNOWN_LEVEL}')"
        )


def _told(conflict: dict[str, object]) -> str:
    own = f"{conflict['energy_per_atom']:.6f} eV/atom, {conflict['max_force']:.4f} eV/Å"
    other = f"{conflict['other_energy_per_atom']:.6f} eV/atom, {conflict['other_max_force']:.4f} eV/Å"
    state = ", removed" if conflict["other_state"] == "removed" else ""
    place = f"id={conflict['other']} of '{conflict['other_campaign']}'{state} ({conflict['other_place']})"
    return f"frame {conflict['frame']} has {own}; {place} has {other}"
