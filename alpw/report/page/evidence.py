"""The sections on how far the uncertainty and the models can be trusted."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from alpw.database import report_data
from alpw.database.iteration_view import IterationView
from alpw.database.models import committee
from alpw.report.calibration import plot_calibration
from alpw.report.histograms import plot_histograms, shown
from alpw.report.page.blocks import Beside, Block, Folded, Section, Table, Text, picture
from alpw.report.page.material import Material
from alpw.report.page.predictions import (
    MOST_FRAMES,
    Parity,
    Unavailable,
    committee_pairs,
    parity,
    uncalibrated,
)
from alpw.report.parity import plot_parity
from alpw.uncertainty.frames import calibration_of

Floats = NDArray[np.float64]

WORDS = {"committee": "the committee", "kpu": "KPU"}

OF_A_FRAME = {
    "committee": "Largest deviation of the committee at an atom of each frame",
    "kpu": "Mean KPU over the atoms of each frame",
}
"""What `alpw.database.trajectories.MEASURES` takes for the uncertainty of a frame."""


def deviation_section(material: Material) -> Section:
    """Histograms per iteration, thresholds, agreement of two measures."""
    title = "Uncertainty of the explored frames"
    views = {found.index: found for found in material.explored}
    if not views:
        return Section("deviations", title, [], ["No histograms: no exploration has been judged yet."])
    chosen = shown(list(views))
    found = {index: report_data.explored(material.db, material.name, index) for index in chosen}
    blocks: list[Block] = []
    for measure, words in WORDS.items():
        parts = {index: by[measure] for index, by in found.items() if measure in by}
        if not any((part.values > 0).any() for some in parts.values() for part in some):
            continue
        caption = (
            f"{OF_A_FRAME[measure]}. Dashed: the thresholds. What is "
            "smaller than the axis shows, such as in perfect start structures, is counted in the first bin."
        )
        if len(chosen) < len(views):
            caption += f" {len(chosen)} of {len(views)} iterations are shown."
        blocks.append(
            picture(
                partial(plot_histograms, views, parts, measure),
                f"Histograms of the uncertainty by {words}, one per iteration",
                caption,
            )
        )
    left_out = [] if blocks else ["No histograms: the trajectories hold no uncertainty above zero."]
    blocks += _threshold_table(list(views.values()))
    agreed = [_agreement(view) for view in views.values() if view.agreement]
    blocks += [Folded("Agreement of the two measures", [Beside(agreed)])] if agreed else []
    return Section("deviations", title, blocks, left_out)


def _threshold_table(views: list[IterationView]) -> list[Block]:
    rows = [
        [
            str(view.index),
            bound.measure,
            bound.group or "all",
            _bound(bound.lower),
            _bound(bound.upper),
            bound.rule or "as given",
        ]
        for view in views
        for bound in view.thresholds
    ]
    table = Table(("iteration", "measure", "trajectories", "lower (eV/Å)", "upper (eV/Å)", "rule"), rows)
    return [Folded("Thresholds", [table])] if rows else []


def _bound(value: float) -> str:
    return f"{value:.4g}" if np.isfinite(value) else "–"


def _agreement(view: IterationView) -> Table:
    columns = list(dict.fromkeys(name for row in view.agreement.values() for name in row))
    rows = [[name, *(str(row.get(column, 0)) for column in columns)] for name, row in view.agreement.items()]
    return Table(("committee \\ KPU", *columns), rows, f"Iteration {view.index}: frames by class", 1)


def calibration_section(material: Material) -> Section:
    """Uncertainty against the true error of labels that the models had not seen."""
    title = "Uncertainty against true error"
    stored = [(view, found) for view in material.explored for found in view.calibrations]
    newest = {found.measure: (view, found) for view, found in stored}
    blocks: list[Block] = []
    for measure, (view, found) in newest.items():
        calibration = calibration_of(found.document)
        blocks.append(
            picture(
                partial(
                    plot_calibration,
                    *(calibration, found.uncertainties, found.errors),
                    unit="eV/Å",
                    frames=True,
                ),
                f"Force error against the uncertainty by {WORDS[measure]}",
                f"Iteration {view.index}: uncertainty and true force error (RMSE) of fresh labels, frame by "
                "frame, with what the calibration expects; right, root mean squares in bins.",
            )
        )
    blocks += _calibrations(stored)
    left_out: list[str] = []
    if not newest:
        try:
            blocks.insert(0, _measured(material))
        except Unavailable as reason:
            left_out.append(str(reason))
    return Section("calibration", title, blocks, left_out)


def _measured(material: Material) -> Block:
    """The newest committee that has fresh labels, run on them now."""
    strategy = material.param["strategy"]
    if strategy.get("uncertainty") == "kpu":
        raise Unavailable(
            "No plot of uncertainty against error: the campaign has kept no calibration pairs of KPU yet."
        )
    for view in reversed(material.explored):
        models = committee(material.db, material.name, view.index)
        frames = report_data.fresh_labels(material.db, material.name, view.index)
        if len(models) > 1 and frames:
            definition = strategy.get("deviation", "dpgen")
            u, e = committee_pairs(material.db, models, frames, definition)
            some = f" ({MOST_FRAMES} of them, at random)" if len(frames) > MOST_FRAMES else ""
            heading = f"iteration {view.index}: {len(u):,} atoms of {len(frames)} fresh labels"
            return picture(
                partial(_plot_measured, u, e, heading),
                "Force error against the deviation of the committee, atom by atom",
                f"Iteration {view.index}: deviation of the committee and error of its first member for the "
                f"atoms of the fresh labels{some}, before training on them. Not calibrated: the line is "
                "error = deviation. Right: means in bins of the deviation; points above the line say that "
                "the committee is too sure of itself.",
            )
    raise Unavailable("No plot of uncertainty against error: no iteration has fresh labels yet.")


def _plot_measured(u: Floats, e: Floats, title: str, file: Path) -> None:
    plot_calibration(uncalibrated("committee", u), u, e, file, "eV/Å", title)


def _calibrations(stored: list) -> list[Block]:
    rows = []
    for view, found in stored:
        document = found.document
        rows.append(
            [
                str(view.index),
                found.measure,
                document["method"],
                str(document["n_pairs"]),
                "no, too few pairs" if document["identity"] else "yes",
            ]
        )
    headings = ("iteration", "measure", "fit", "labels", "fitted")
    return [Folded("Calibrations", [Table(headings, rows)])] if rows else []


def parity_section(material: Material) -> Section:
    """The newest models on the held-out frames."""
    title = "Model against labels"
    for index in sorted({model["iteration"] for model in material.members}, reverse=True):
        model = committee(material.db, material.name, index)[0]
        try:
            found = parity(material.db, model)
        except Unavailable as reason:
            return Section("parity", title, [], [str(reason)])
        if found is not None:
            final = any(view.index == index and view.kind == "final" for view in material.views)
            return _parity(found, "final model" if final else f"model of iteration {index}", model["member"])
    why = "every model was trained on the held-out frames" if material.members else "no model is trained yet"
    return Section("parity", title, [], [f"No parity plots: {why}."])


def _parity(found: Parity, which: str, member: int) -> Section:
    comparison = found.comparison
    errors = comparison.errors(found.elements)
    shown_frames = len(comparison.n_atoms)
    some = f", {shown_frames} of them drawn at random" if shown_frames < found.n_frames else ""
    caption = (
        f"Member {member} of the {which} on {found.n_frames} held-out frames{some}, which it was not "
        "trained on. Forces by component."
    )
    drawn = picture(
        lambda file: plot_parity(comparison, errors, file),
        "Predicted against reference forces and energies",
        caption,
    )
    rows = [
        [name, f"{part.n_atoms:,}", f"{part.force_rmse:.4f}", f"{part.force_mae:.4f}"]
        for name, part in errors.elements.items()
    ]
    table = Table(("element", "atoms", "force RMSE (eV/Å)", "MAE (eV/Å)"), rows, numbers_from=1)
    blocks: list[Block] = [drawn]
    if len(rows) > 1:
        blocks.append(table)
    if errors.virial_rmse is None:
        blocks.append(Text("The held-out labels have no virial.", quiet=True))
    return Section("parity", "Model against labels", blocks)
