"""Bringing people over: what PWact (AL-PWMLFF) and DP-GEN have, as ours."""

from alpw.legacy.store import Report, import_directory, recognise

__all__ = ["Report", "import_directory", "recognise"]
