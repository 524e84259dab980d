"""How pages write names, numbers and settings.

Structures to look at: files beside the page, and inside it where they are small.

All values beside the references', for machines: JSON with every digit, CSV for tables.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from markupsafe import Markup, escape

from pescape.files import write_json
from pescape.validation.registry import PROPERTIES
from pescape.validation.study import structures_file, write_values

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pescape.validation.runner import Outcome
    from pescape.validation.study import Row, Study


def heading(title: str, *kinds: str) -> str:
    """Write what a property is called, be it one of several of its kind.

    Parameters
    ----------
    title
        Its name in the study.
    kinds
        What it may be, names of the registry.
    """
    for kind in (title, *kinds):
        if kind in PROPERTIES and (title == kind or title.startswith(f"{kind}_")):
            name = PROPERTIES[kind].heading or words(kind)
            rest = title.removeprefix(kind).removeprefix("_").replace("_", " ")
            return f"{name}, {rest}" if rest else name
    return words(title)


def flattened(settings: Mapping[str, Any], before: str = "") -> list[tuple[str, str]]:
    """Give nested settings as pairs of dotted names and texts; those unset are left out."""
    found = []
    for name, value in settings.items():
        if isinstance(value, dict):
            found += flattened(value, f"{before}{name}.")
        elif isinstance(value, list) and value and all(isinstance(one, dict) for one in value):
            for index, one in enumerate(value, 1):
                found += flattened(one, f"{before}{name}.{index}.")
        elif value is not None:
            found.append((f"{before}{name}", _text(value)))
    return found


def _text(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(_text(one) if not isinstance(one, list) else str(one) for one in value)
    return str(value).lower() if isinstance(value, bool) else str(value)


def number(value: float | None) -> str:
    """Write a number with five digits; a dash for none."""
    return "–" if value is None else _minus(f"{value:.5g}")


def signed(value: float | None) -> str:
    """Write a difference with its sign and three digits."""
    if value is None:
        return ""
    return _minus("0" if value == 0.0 else f"{value:+.3g}")


def duration(seconds: float | None) -> str:
    """Write a time as people say it."""
    if seconds is None:
        return ""
    if seconds < 120:
        return f"{seconds:.3g} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def words(name: str) -> str:
    """Write an identifier as words."""
    text = name.replace("_", " ")
    return text[:1].upper() + text[1:]


def short(value: float) -> str:
    """Write a number with two digits, or all before the point."""
    return _minus(f"{value:.0f}" if 100.0 <= abs(value) < 1e5 else f"{value:.2g}")


def breakable(name: str) -> Markup:
    """Let lines break in a name of many parts."""
    return Markup(re.sub(r"([._])", r"\1<wbr>", str(escape(name))))  # noqa: S704 (escaped)


def _minus(text: str) -> str:
    return text.replace("-", "−")


def sort_key(value: float | None) -> str:
    """Write what a table is sorted by; nothing for what is unknown."""
    return "" if value is None or not math.isfinite(value) else repr(float(value))


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


JSON_FILE, CSV_FILE = "values.json", "values.csv"


def write_tables(study: Study, folder: Path) -> tuple[Path, Path]:
    """Write ``values.json`` and ``values.csv``.

    Parameters
    ----------
    study
        The values.
    folder
        Where to.

    Returns
    -------
    Path, Path
        The two files.
    """
    write_json(folder / JSON_FILE, [_described(study, row) for row in study.rows()])
    write_values(study, folder / CSV_FILE)
    return folder / JSON_FILE, folder / CSV_FILE


def _described(study: Study, row: Row) -> dict[str, Any]:
    """Describe a row; errors and verdicts are by potential and then by reference."""
    potentials = [one.name for one in study.subjects]
    threshold = row.threshold
    return {
        "name": row.name,
        "unit": row.unit,
        "values": dict(row.values),
        "references": dict(row.references),
        "threshold": None if threshold is None else vars(threshold),
        "errors": {p: {r: row.error(p, r) for r in row.references} for p in potentials},
        "within": {p: {r: row.holds(p, r) for r in row.references} for p in potentials},
    }
