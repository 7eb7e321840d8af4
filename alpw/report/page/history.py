"""The sections on what was run and how it went: methods, history, learning curve."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta

from alpw.database.iteration_view import IterationView
from alpw.database.summary import CampaignSummary
from alpw.report.growth import Point, plot_learning
from alpw.report.page import methods
from alpw.report.page.blocks import Block, Folded, Section, Table, Text, picture
from alpw.report.page.material import Material, called
from alpw.report.plot import plot_history


def energy(value: float | None) -> str:
    """eV/atom as meV/atom."""
    return "–" if value is None else f"{1e3 * value:.1f}"


def force(value: float | None) -> str:
    """eV/Å."""
    return "–" if value is None else f"{value:.3f}"


def duration(seconds: float | None) -> str:
    """A wall time, if it is known."""
    return "–" if seconds is None else str(timedelta(seconds=round(seconds)))


def hours(value: float) -> str:
    """Core-hours, of small campaigns too."""
    return "0" if not value else f"{value:.3g}" if value < 100 else f"{value:,.0f}"


def methods_section(material: Material) -> Section:
    """What was run."""
    param = material.param
    imported = sum(row.labelled and row.code is None for row in material.rows)
    computed = sum(row.labelled and row.code is not None for row in material.rows)
    strategy = param["strategy"]
    explored = len(material.explored)
    version = material.campaign.get("alpw_version", "")
    opening = f"The campaign {material.name} is one of active learning with ALPW {version}: "
    if explored:
        so_far = " so far" if material.campaign["state"] == "running" else ""
        opening += f"{methods.counted(explored, 'iteration')}{so_far} of "
    opening += "training, exploration, selection and labelling" + ("." if explored else ", not one done yet.")
    paragraphs = [
        [
            opening,
            *methods.initial_sentences(param, imported),
            *methods.reference_sentences(param["dft"], material.levels, computed),
        ],
        list(methods.model_sentences(param["train"])),
        [*methods.exploration_sentences(material.runs), *methods.uncertainty_sentences(strategy)],
        [methods.stopping_sentence(strategy), *_outcome(material)],
    ]
    blocks: list[Block] = [Text(" ".join(sentences)) for sentences in paragraphs]
    blocks += [
        Folded(f"Level of theory {level['hash'][:12]}…", [_level(level)])
        for level in material.levels
        if level["settings"]
    ]
    return Section("methods", "What was run", blocks)


def _outcome(material: Material) -> list[str]:
    measured = [found for found in material.views if found.heldout.get("force_rmse") is not None]
    if not measured:
        return []
    last = measured[-1]
    which = "final models" if last.kind == "final" else f"models of iteration {last.index}"
    return [
        f"On {last.heldout.get('n_frames', 0):g} held-out frames, which no model was trained on, the "
        f"{which} have a force RMSE of {force(last.heldout['force_rmse'])} eV/Å and an energy RMSE of "
        f"{energy(last.heldout.get('energy_rmse'))} meV/atom (mean over the members)."
    ]


def _level(level: dict) -> Table:
    rows = [(str(key), _short(value)) for key, value in sorted(level["settings"].items())]
    return Table(("setting", "value"), rows, f"{level['count']} labels")


def _short(value: object, limit: int = 400) -> str:
    text = str(value)
    return text if len(text) <= limit else f"{text[:limit]}… ({len(text):,} characters)"


def history_section(material: Material, summary: CampaignSummary) -> Section:
    """Counts, labels, errors and costs per iteration."""
    if not material.views:
        return Section("history", "History", [], ["No history: nothing has been planned yet."])
    states: dict[int, Counter[str]] = {}
    for row in material.rows:
        states.setdefault(row.iteration, Counter())[row.state] += 1
    rows = [_history_row(found, states.get(found.index, Counter()), material) for found in material.views]
    headings = (
        *("iteration", "frames", "accurate", "candidate", "failed", "labels", "not\nlabelled"),
        *("force,\nheld out", "force,\nfresh", "energy,\nheld out", "wall\ntime", "core-\nhours"),
    )
    caption = (
        "Errors are RMSE, of forces in eV/Å and of energies in meV/atom, means over the members. Held out: "
        "all such frames that there are now, the same for every iteration. Fresh: the labels that the "
        "iteration asked for, before training on them."
    )
    blocks: list[Block] = []
    left_out: list[str] = []
    if material.explored:
        blocks.append(
            picture(
                lambda file: plot_history(summary, file),
                "Shares of accurate, candidate and failed frames, and held-out force error, per iteration",
            )
        )
    else:
        left_out.append("No shares of accurate and doubtful frames: no exploration has been judged yet.")
    blocks.append(Table(headings, rows, caption, numbers_from=1))
    blocks += _details(material)
    if material.total_hours:
        blocks.append(
            Text(
                "Core-hours are wall time times the cores asked for; calculations that gave no result are "
                "not counted.",
                quiet=True,
            )
        )
    return Section("history", "History", blocks, left_out)


def _history_row(found: IterationView, states: Counter[str], material: Material) -> list[str]:
    shares = [f"{n} ({n / found.frames:.0%})" for n in found.counts.values()] if found.frames else ["–"] * 3
    labelled = states["labelled"]
    lost = states["quarantined"]
    waiting = sum(states.values()) - labelled - lost
    return [
        called(found) + ("" if found.stage == "done" else f" ({found.stage})"),
        str(found.frames) if found.frames else "–",
        *shares,
        str(labelled) if states else "–",
        ", ".join([f"{lost} failed"] * bool(lost) + [f"{waiting} to do"] * bool(waiting)) or "–",
        force(found.heldout.get("force_rmse")),
        force(found.fresh.get("force_rmse")),
        energy(found.heldout.get("energy_rmse")),
        duration(found.seconds),
        "–" if found.seconds is None else hours(sum(material.hours.get(found.index, {}).values())),
    ]


def _details(material: Material) -> list[Block]:
    """Per iteration: thresholds, errors by element and temperature, what was left out, how runs ended."""
    rows = []
    for found in material.views:
        if found.kind != "explore":
            continue
        rows.append(
            [
                str(found.index),
                _counts(found.ends),
                _counts(found.left_out),
                _errors(found.by_element),
                _errors(found.by_temperature, " K"),
                found.reason or "–",
            ]
        )
    if not rows:
        return []
    headings = (
        *("iteration", "trajectories by end", "candidates left out"),
        *("fresh force RMSE by element", "by temperature", "verdict"),
    )
    blocks: list[Block] = [
        Folded(
            "Ends of trajectories, frames left out, fresh errors by element and temperature, verdicts",
            [Table(headings, rows)],
        )
    ]
    costs = [
        [
            called(view),
            *(hours(material.hours.get(view.index, {}).get(stage, 0.0)) for stage in _stages(material)),
        ]
        for view in material.views
    ]
    if material.total_hours:
        table = Table(("iteration", *_stages(material)), costs, numbers_from=1)
        blocks.append(Folded("Core-hours by stage", [table]))
    return blocks


def _stages(material: Material) -> list[str]:
    return list(dict.fromkeys(stage for spent in material.hours.values() for stage in spent))


def _counts(found: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(found.items())) or "–"


def _errors(found: dict[str, float], unit: str = "") -> str:
    return ", ".join(f"{name}{unit}: {value:.3f}" for name, value in found.items()) or "–"


def learning_section(material: Material) -> Section:
    """Errors against labels and core-hours."""
    points, spent = [], 0.0
    for found in material.views:
        cost = material.hours.get(found.index, {})
        if found.kind == "prepare":
            spent += sum(cost.values())
            continue
        # A model is there before the exploration and the labels of its own iteration are paid for.
        trained = spent + cost.get("train", 0.0)
        spent += sum(cost.values())
        if found.n_train:
            points.append(
                Point(
                    "final" if found.kind == "final" else str(found.index),
                    found.n_train,
                    trained if material.total_hours else None,
                    found.heldout.get("force_rmse"),
                    found.fresh.get("force_rmse"),
                    found.heldout.get("energy_rmse"),
                )
            )
    title = "Learning curve"
    if sum(point.force is not None for point in points) < 2:
        why = "fewer than two trainings have been measured on held-out frames"
        return Section("learning", title, [], [f"No learning curve: {why}."])
    caption = (
        "Errors of each iteration's models, numbered, against the frames that they were trained on and the "
        "core-hours spent until they were trained. Fresh labels were chosen because the model was unsure, "
        "so that their error is often larger than that of a random frame."
    )
    drawn = picture(lambda file: plot_learning(points, file), "Errors against labels and core-hours", caption)
    return Section("learning", title, [drawn])
