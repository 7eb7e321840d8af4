"""The picture and the table of a campaign say what the summary says."""

import json

import matplotlib.image
import pytest
from rich.console import Console

from alpw.database.summary import CampaignSummary, IterationSummary
from alpw.report.files import write_report
from alpw.report.table import history_table


@pytest.fixture
def summary(tmp_path):
    iterations = [
        IterationSummary(0, "done", 61, 31, 30, 0, 18, 18, 0, 0.383, 0.0242),
        IterationSummary(1, "done", 61, 58, 2, 1, 6, 5, 1, 0.246, 0.0176),
    ]
    return CampaignSummary(
        campaign="si",
        state="converged",
        reason="95 % accurate",
        seconds=241.0,
        work_dir=str(tmp_path),
        stage="final training: done",
        iterations=iterations,
        initial_labels=16,
        labels={"labelled": 39, "failed": 1},
        errors={"scf": 1},
        heldout_frames=12,
        final={
            "model": "model.000.pt",
            "members": 4,
            "force_rmse_heldout": 0.2,
            "energy_rmse_heldout": 0.01,
        },
    )


def test_the_summary_file_has_what_scripts_ask_for(summary, tmp_path):
    write_report(summary)
    written = json.loads((tmp_path / "summary.json").read_text())
    assert written["verdict"] == "converged" and written["seconds"] == 241.0 and written["campaign"] == "si"
    wanted = {"frames", "accurate", "candidate", "failed", "labelled"}
    wanted |= {"force_rmse_heldout", "energy_rmse_heldout"}
    assert all(wanted <= set(iteration) for iteration in written["iterations"])


def test_the_picture_shows_all_three_classes_of_frames(summary, tmp_path):
    _, history = write_report(summary)
    pixels = matplotlib.image.imread(history)[..., :3]
    for colour in ((0, 158, 115), (230, 159, 0), (213, 94, 0)):
        assert (abs(pixels * 255 - colour).max(axis=-1) < 2).any()


def test_a_campaign_that_has_explored_nothing_yet_can_be_drawn(summary, tmp_path):
    from dataclasses import replace

    write_report(replace(summary, iterations=[], final=None, state="stalled"))
    assert (tmp_path / "history.png").stat().st_size > 1000


def test_the_table_fits_80_columns_and_holds_the_numbers(summary):
    console = Console(width=80, record=True, file=open("/dev/null", "w"))  # noqa: PTH123, SIM115
    console.print(history_table(summary))
    text = console.export_text()
    assert "…" not in text
    for number in ("31 (51%)", "30 (49%)", "5 of 6", "0.383", "24.2", "0.200"):
        assert number in text
