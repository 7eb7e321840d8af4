"""The files that a campaign leaves in its folder."""

from __future__ import annotations

import json
from pathlib import Path

from alpw.database.summary import CampaignSummary

SUMMARY = "summary.json"
HISTORY = "history.png"


def write_report(summary: CampaignSummary) -> tuple[Path, Path]:
    """Write ``summary.json`` and ``history.png`` to the campaign's folder and return their paths."""
    folder = Path(summary.work_dir)
    summary_file, history_file = folder / SUMMARY, folder / HISTORY
    summary_file.write_text(json.dumps(summary.to_dict(), indent=2) + "\n")
    # Here, because the watching of a campaign need not wait for matplotlib.
    from alpw.report.plot import plot_history

    plot_history(summary, history_file)
    return summary_file, history_file
