"""Structures to look at: files beside the page, and inside it where they are small."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote

from pescape.validation.study import structures_file

if TYPE_CHECKING:
    from pathlib import Path

    from pescape.validation.runner import Outcome

# Larger files (bytes) are linked alone; that many of them would make a page heavy.
_SMALL = 24_000


@dataclass(frozen=True)
class Download:
    """Structures of one property of one potential.

    Parameters
    ----------
    count
        How many there are.
    address
        Of the file, from the page on.
    file
        What the copy in the page is called.
    data
        The copy as a ``data:`` address; None where it would be large.
    """

    count: int
    address: str
    file: str
    data: str | None


def download(outcome: Outcome, folder: Path) -> Download | None:
    """Tell how to come by the structures of a property; None without any.

    Parameters
    ----------
    outcome
        Of the property.
    folder
        Of the study, its structures written.
    """
    if outcome.result is None or not outcome.result.structures:
        return None
    relative = structures_file(outcome.source, outcome.title)
    path = folder / relative
    small = path.stat().st_size <= _SMALL
    content = path.read_text(encoding="utf-8") if small else ""
    return Download(
        len(outcome.result.structures),
        quote(relative),
        relative.removeprefix("structures/").replace("/", "-"),
        f"data:chemical/x-xyz;charset=utf-8,{quote(content)}" if small else None,
    )
