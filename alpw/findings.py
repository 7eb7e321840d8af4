"""What a look at the surroundings of a campaign, or at the data set, finds, one line each."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Severity(str, Enum):
    """How much a finding matters; only ``FAIL`` changes an exit status."""

    OK = "ok"
    ABSENT = "absent"
    """not there, and not needed"""
    NOTE = "note"
    """worth knowing, and nothing suffers"""
    WARN = "warn"
    """a campaign runs, and somebody will regret it"""
    FAIL = "FAIL"
    """no campaign can run, or what it learns from is wrong"""


@dataclass(frozen=True)
class Finding:
    """What was looked at, how it stands, and what there is or what to do."""

    subject: str
    severity: Severity
    text: str
