"""What a page is made of; the template knows these and nothing of campaigns."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import matplotlib


@dataclass(frozen=True)
class Text:
    """A paragraph, with commands between backticks; ``quiet`` for remarks."""

    text: str
    quiet: bool = False
    kind: str = "text"


@dataclass(frozen=True)
class Table:
    """Cells as they are shown; all columns from ``numbers_from`` on are numbers, none if it is None."""

    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""
    numbers_from: int | None = None
    kind: str = "table"

    def is_number(self, column: int) -> bool:
        """Whether a column holds numbers."""
        return self.numbers_from is not None and column >= self.numbers_from


@dataclass(frozen=True)
class Picture:
    """A figure as a data URI."""

    data: str
    alt: str
    caption: str = ""
    kind: str = "picture"


@dataclass(frozen=True)
class Entry:
    """An entry of a list, perhaps with an address; a reader without network loses nothing."""

    text: str
    address: str = ""


@dataclass(frozen=True)
class Entries:
    """A numbered list."""

    entries: Sequence[Entry]
    kind: str = "entries"


@dataclass(frozen=True)
class Folded:
    """Blocks that open on a click, and on paper."""

    summary: str
    blocks: Sequence[Block]
    kind: str = "folded"


@dataclass(frozen=True)
class Beside:
    """Blocks next to each other where there is room."""

    blocks: Sequence[Block]
    kind: str = "beside"


Block = Text | Table | Picture | Entries | Folded | Beside


@dataclass(frozen=True)
class Section:
    """A part of the page with a heading.

    Attributes:
        anchor: its name in addresses.
        title: above it.
        blocks: what it shows.
        left_out: what it cannot show, and why.
    """

    anchor: str
    title: str
    blocks: Sequence[Block]
    left_out: Sequence[str] = ()


@dataclass(frozen=True)
class Page:
    """Everything that the template shows.

    Attributes:
        title: name of the campaign.
        subtitle: what kind of campaign it is.
        state: of the campaign.
        verdict: why it has that state, in a sentence.
        advice: what to do next.
        facts: numbers under the title, with what they are.
        sections: in their order.
        written: when, and by which version.
    """

    title: str
    subtitle: str
    state: str
    verdict: str
    advice: str
    facts: Sequence[tuple[str, str]]
    sections: Sequence[Section]
    written: str

    @property
    def left_out(self) -> list[str]:
        """What the page cannot show, and why."""
        return [text for section in self.sections for text in section.left_out]


def picture(draw: Callable[[Path], None], alt: str, caption: str = "") -> Picture:
    """Embed what a plotting function draws, as SVG with its letters as outlines: no font is needed.

    Args:
        draw: writes to the file that it is given.
        alt: the picture in words.
        caption: below it.
    """
    settings = {"svg.fonttype": "path", "svg.hashsalt": alt}
    with TemporaryDirectory() as folder, matplotlib.rc_context(settings):
        file = Path(folder, "figure.svg")
        draw(file)
        encoded = base64.b64encode(file.read_bytes()).decode()
    return Picture(f"data:image/svg+xml;base64,{encoded}", alt, caption)
