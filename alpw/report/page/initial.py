"""The sections of an init_bulk campaign: a short page."""

from __future__ import annotations

from collections import Counter

from alpw.database.init_summary import InitSummary, StructureSummary
from alpw.report.page.blocks import Block, Folded, Section, Table, Text
from alpw.report.page.material import Material
from alpw.report.page.methods import counted, listed, reference_sentences


def overview_section(material: Material, summary: InitSummary) -> Section:
    """What was run."""
    labelled = len(material.labelled)
    dft = material.param["dft"]
    sentences = [
        f"The campaign {material.name} makes a first data set from "
        f"{counted(len(summary.structures), 'start structure')} with ALPW "
        f"{material.campaign.get('alpw_version', '')}.",
        *reference_sentences(dft, material.levels, labelled),
    ]
    generated: Counter[str] = Counter()
    runs: Counter[str] = Counter()
    for structure in summary.structures:
        generated.update(structure.structures)
        runs.update(structure.runs)
    if generated:
        made = listed(f"{count} by {stage}" for stage, count in generated.items())
        sentences.append(f"Structures were generated: {made}.")
    if runs:
        sentences.append(f"{runs['done']} of {sum(runs.values())} runs of dynamics are done.")
    return Section("methods", "What was run", [Text(" ".join(sentences))])


def structures_section(summary: InitSummary) -> Section:
    """What came of each start structure."""
    if not summary.structures:
        return Section("structures", "Start structures", [], ["No start structure has been begun."])
    rows = [_row(structure) for structure in summary.structures]
    headings = (
        "structure",
        "state",
        "stage",
        "relaxation",
        "generated",
        "runs",
        "training",
        "held out",
        "left out",
    )
    blocks: list[Block] = [Table(headings, rows)]
    problems = [
        (structure.name, problem) for structure in summary.structures for problem in structure.problems
    ]
    if problems:
        blocks.append(Folded("Problems", [Table(("structure", "problem"), problems)]))
    return Section("structures", "Start structures", blocks)


def _row(structure: StructureSummary) -> list[str]:
    done, total = structure.runs.get("done", 0), sum(structure.runs.values())
    return [
        structure.name,
        structure.state,
        structure.stage,
        structure.relax or "–",
        _counts(structure.structures),
        f"{done} of {total}" if total else "–",
        str(structure.frames.get("train", 0)),
        str(structure.frames.get("validation", 0)),
        _counts(structure.dropped),
    ]


def _counts(found: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in found.items()) or "–"
