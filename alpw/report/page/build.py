"""A campaign's page put together and written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from pymongo.database import Database

from alpw import __version__
from alpw.database import campaigns
from alpw.database.init_summary import summarise_init
from alpw.database.summary import summarise
from alpw.files import write_atomically
from alpw.report.page import evidence, history, holdings, imported, initial
from alpw.report.page.advice import advice, next_step
from alpw.report.page.blocks import Page, Section
from alpw.report.page.material import Material, gather


def build_page(db: Database, name: str) -> Page:
    """Gather a campaign, whatever its kind and its state, and draw its figures.

    Raises:
        InputError: there is none of that name.
    """
    material = gather(db, name)
    return PAGES[campaigns.kind(material.campaign)](material)


def render(page: Page) -> str:
    """The page as HTML; every text is escaped."""
    environment = Environment(
        loader=PackageLoader("alpw.report.page", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # The only text that is no text of a user's.
    style = Markup(Path(__file__).with_name("page.css").read_text(encoding="utf-8"))
    return environment.get_template("page.html").render(page=page, style=style)


def write_page(db: Database, name: str, file: Path) -> Page:
    """Write a campaign's page, in one step.

    Raises:
        InputError: there is none of that name.
        OSError: ``file`` cannot be written.
    """
    page = build_page(db, name)
    write_atomically(file, render(page).encode())
    return page


def _learning_page(material: Material) -> Page:
    summary = summarise(material.db, material.name)
    sections = [
        history.methods_section(material),
        history.history_section(material, summary),
        history.learning_section(material),
        evidence.deviation_section(material),
        evidence.calibration_section(material),
        evidence.parity_section(material),
        holdings.data_section(material),
        holdings.members_section(material),
        holdings.failures_section(material),
        holdings.versions_section(material),
        holdings.citations_section(material),
    ]
    facts = [
        ("labelled frames", f"{len(material.labelled):,}"),
        ("iterations", str(len(material.explored))),
        *_errors(material),
        ("wall time", history.duration(summary.seconds)),
        ("core-hours", holdings.cost_text(material)),
    ]
    verdict = summary.reason or f"Running: {summary.stage}."
    return _page(material, "Active learning of a Deep Potential", verdict, facts, sections)


def _errors(material: Material) -> list[tuple[str, str]]:
    measured = [found.heldout for found in material.views if "force_rmse" in found.heldout]
    if not measured:
        return []
    last = measured[-1]
    return [
        ("force RMSE, held out", f"{history.force(last['force_rmse'])} eV/Å"),
        ("energy RMSE, held out", f"{history.energy(last.get('energy_rmse'))} meV/atom"),
    ]


def _initial_page(material: Material) -> Page:
    summary = summarise_init(material.db, material.name)
    sections = [
        initial.overview_section(material, summary),
        initial.structures_section(summary),
        holdings.data_section(material),
        holdings.failures_section(material),
        holdings.versions_section(material),
        holdings.citations_section(material),
    ]
    facts = [
        ("start structures", str(len(summary.structures))),
        ("labelled frames", f"{len(material.labelled):,}"),
        ("held out", f"{material.held_out:,}"),
        ("wall time", history.duration(summary.seconds)),
    ]
    verdict = summary.reason or "Running."
    return _page(material, "First data set (init_bulk)", verdict, facts, sections)


def _imported_page(material: Material) -> Page:
    summary = summarise(material.db, material.name)
    sections = [
        imported.overview_section(material),
        history.history_section(material, summary),
        holdings.data_section(material),
    ]
    facts = [
        ("labelled frames", f"{len(material.labelled):,}"),
        ("held out", f"{material.held_out:,}"),
        ("iterations", str(len(summary.iterations))),
    ]
    return _page(material, imported.subtitle(material), summary.reason or "", facts, sections)


PAGES: dict[str, Callable[[Material], Page]] = {
    campaigns.ACTIVE_LEARNING: _learning_page,
    campaigns.INIT_BULK: _initial_page,
    campaigns.IMPORTED: _imported_page,
}


def _page(
    material: Material, subtitle: str, verdict: str, facts: list[tuple[str, str]], sections: Sequence[Section]
) -> Page:
    when = campaigns.now().strftime("%Y-%m-%d %H:%M UTC")
    # A campaign's reason ends with the next step, which has a line of its own.
    verdict = verdict.removesuffix(f"; {next_step(material.campaign, material.views)}")
    return Page(
        title=material.name,
        subtitle=subtitle,
        state=str(material.campaign["state"]),
        verdict=_sentence(verdict),
        advice=advice(material.campaign, material.views, material.failures),
        facts=facts,
        sections=_with_substance(sections),
        written=f"Written by ALPW {__version__} on {when} from the database alone.",
    )


def _with_substance(sections: Sequence[Section]) -> list[Section]:
    """The sections that show something, and one that says what the others lack."""
    found = [section for section in sections if section.blocks]
    empty = [text for section in sections if not section.blocks for text in section.left_out]
    return [*found[:1], Section("left-out", "Not there yet", [], empty), *found[1:]] if empty else found


def _sentence(text: str) -> str:
    # A name such as max_labels at the beginning stays as it is.
    if text.split(maxsplit=1)[:1] and text.split(maxsplit=1)[0].isalpha():
        text = text[:1].upper() + text[1:]
    return text if text.endswith((".", "!", "?")) else f"{text}."
