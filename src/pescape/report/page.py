"""What the page shows, made of a study: texts and numbers, ready for the template."""

from __future__ import annotations

import base64
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

import jinja2
from markupsafe import Markup, escape

from pescape.figures.style import styles
from pescape.report.verdict import is_beyond, scores, title_of, totals
from pescape.validation.property import PROPERTIES, current_name
from pescape.validation.study import structures_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pescape.validation.runner import PropertyOutcome
    from pescape.validation.study import ReferenceData, Row, Study


def heading(title: str, *kinds: str) -> str:
    """Write what a property is called, be it one of several of its kind.

    Parameters
    ----------
    title
        Its name in the study.
    kinds
        What it may be, names of the registry.
    """
    title = current_name(title)
    for kind in (title, *kinds):
        if kind in PROPERTIES and (title == kind or title.startswith(f"{kind}_")):
            name = PROPERTIES[kind].heading or _words(kind)
            rest = title.removeprefix(kind).removeprefix("_").replace("_", " ")
            return f"{name}, {rest}" if rest else name
    return _words(title)


def flattened(settings: Mapping[str, Any], before: str = "") -> list[tuple[str, str]]:
    """Write nested settings as pairs of dotted names and texts; those unset are left out.

    Parameters
    ----------
    settings
        As JSON holds them.
    before
        What the names begin with.
    """
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
    """Write a number with five digits.

    Parameters
    ----------
    value
        None is written as a dash.
    """
    return "–" if value is None else _minus(f"{value:.5g}")


def signed(value: float | None) -> str:
    """Write a difference with its sign and three digits.

    Parameters
    ----------
    value
        None is written as nothing.
    """
    if value is None:
        return ""
    return _minus("0" if value == 0.0 else f"{value:+.3g}")


def short(value: float) -> str:
    """Write a number with two digits, or all before the point.

    Parameters
    ----------
    value
        Any.
    """
    return _minus(f"{value:.0f}" if 100.0 <= abs(value) < 1e5 else f"{value:.2g}")


def duration(seconds: float | None) -> str:
    """Write a time in seconds, minutes or hours.

    Parameters
    ----------
    seconds
        None is written as nothing.
    """
    if seconds is None:
        return ""
    if seconds < 120:
        return f"{seconds:.3g} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def breakable(name: str) -> Markup:
    """Write a name so that lines may break behind its parts.

    Parameters
    ----------
    name
        Parts with points and underscores between them.
    """
    return Markup(re.sub(r"([._])", r"\1<wbr>", str(escape(name))))  # noqa: S704 (escaped)


def sort_key(value: float | None) -> str:
    """Write what the page sorts a table by, all digits.

    Parameters
    ----------
    value
        What is None or not finite is written as nothing.
    """
    return "" if value is None or not math.isfinite(value) else repr(float(value))


def _words(name: str) -> str:
    text = name.replace("_", " ")
    return text[:1].upper() + text[1:]


def _minus(text: str) -> str:
    return text.replace("-", "−")


Content = TypeVar("Content")

_TEMPLATES = Path(__file__).parent / "templates"
# SVG files that are larger (bytes) are shown as PNG.
_MAX_SVG = 200_000
# Structures in larger files (bytes) are linked alone; that many of them would make a page heavy.
_MAX_INLINE = 24_000


@dataclass(frozen=True)
class Picture:
    """A figure as it stands in the page.

    Parameters
    ----------
    caption
        What it shows.
    data
        The image as a ``data:`` address.
    width
        That it is shown in at most, CSS pixels.
    png, svg
        Addresses of the files, from the page on.
    """

    caption: str
    data: str
    width: int
    png: str
    svg: str


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


@dataclass(frozen=True)
class Section:
    """A property, as the page shows it.

    Parameters
    ----------
    title
        Of the property.
    heading
        What the page calls it.
    rows
        Its values.
    pictures
        Its figures.
    outcomes
        By everyone.
    failures, warnings
        Texts, and who they are about.
    standards
        References that know any of its values.
    settings
        Flattened, by whoever shares them: (names, settings).
    downloads
        Structures, by whoever has some.
    """

    title: str
    heading: str
    rows: tuple[Row, ...]
    pictures: tuple[Picture, ...]
    outcomes: tuple[PropertyOutcome, ...]
    failures: Mapping[str, Sequence[str]]
    warnings: Mapping[str, Sequence[str]]
    standards: tuple[ReferenceData, ...]
    settings: tuple[tuple[str, tuple[tuple[str, str], ...]], ...]
    downloads: Mapping[str, Download]


@dataclass(frozen=True)
class Table:
    """A table of texts.

    Parameters
    ----------
    caption
        What it holds.
    columns
        Their names.
    rows
        Their cells; the first one names the row.
    texts
        Columns, from the first one on, that hold texts and not numbers.
    """

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    texts: int = 1


@dataclass(frozen=True)
class Extra:
    """A section about something else than a property.

    Parameters
    ----------
    key
        Of its address in the page.
    title
        Its heading.
    text
        A sentence about it.
    pictures, tables
        What it shows.
    """

    key: str
    title: str
    text: str
    pictures: tuple[Picture, ...]
    tables: tuple[Table, ...]


def picture(
    caption: str, width: float, files: tuple[Path, Path], base: Path, *, raster: bool = False
) -> Picture:
    """Take a drawn figure into the page.

    Parameters
    ----------
    caption
        What it shows.
    width
        Of the figure, inches.
    files
        As PNG and as SVG.
    base
        Where the page will be.
    raster
        Whether to show the PNG, however small the SVG is.
    """
    png, svg = files
    large = raster or svg.stat().st_size > _MAX_SVG
    file, kind = (png, "png") if large else (svg, "svg+xml")
    content = base64.b64encode(file.read_bytes()).decode()
    addresses = (quote(one.relative_to(base).as_posix()) for one in files)
    data = f"data:image/{kind};base64,{content}"
    return Picture(caption, data, round(96 * width), *addresses)


def section_of(study: Study, title: str, pictures: Sequence[Picture], folder: Path) -> Section:
    """Gather what the page shows of a property.

    Parameters
    ----------
    study
        What was found.
    title
        Name of the property in the study.
    pictures
        Its figures.
    folder
        Of the study, its structures written.
    """
    outcomes = study.outcomes(title)
    rows = tuple(row for row in study.rows() if title_of(row.name) == title)
    failures = ((one.failure, one.source) for one in outcomes if one.failure is not None)
    warnings = ((text, o.source) for o in outcomes if o.result for text in o.result.warnings)
    settings = ((tuple(flattened(o.result.settings)), o.source) for o in outcomes if o.result)
    downloads = {one.source: _download(one, folder) for one in outcomes}
    return Section(
        title,
        heading(title, *(one.result.kind for one in outcomes if one.result)),
        rows,
        tuple(pictures),
        outcomes,
        _shared(failures),
        _shared(warnings),
        tuple(s for s in study.standards if any(s.name in row.references for row in rows)),
        tuple((", ".join(names), own) for own, names in _shared(settings).items()),
        {name: one for name, one in downloads.items() if one is not None},
    )


def _shared(pairs: Iterable[tuple[Content, str]]) -> dict[Content, list[str]]:
    """Group equal content: each once, with all whom it is about."""
    found: dict[Content, list[str]] = {}
    for content, about in pairs:
        found.setdefault(content, []).append(about)
    return found


def _download(outcome: PropertyOutcome, folder: Path) -> Download | None:
    """Structures of a property, in the folder of a study; None without any."""
    if outcome.result is None or not outcome.result.structures:
        return None
    relative = structures_file(outcome.source, outcome.title)
    path = folder / relative
    small = path.stat().st_size <= _MAX_INLINE
    content = path.read_text(encoding="utf-8") if small else ""
    return Download(
        len(outcome.result.structures),
        quote(relative),
        relative.removeprefix("structures/").replace("/", "-"),
        f"data:chemical/x-xyz;charset=utf-8,{quote(content)}" if small else None,
    )


def rendered(
    study: Study,
    *,
    overview: Sequence[Picture],
    sections: Sequence[Section],
    extras: Sequence[Extra] = (),
) -> str:
    """Make the page: one HTML document that needs no other file.

    Parameters
    ----------
    study
        What was found.
    overview
        Figures of the study as a whole.
    sections
        Of its properties.
    extras
        Further ones, of an ensemble or a campaign.
    """
    # Written by us, not by anyone's data.
    inline = {
        name: Markup((_TEMPLATES / f"report.{name}").read_text(encoding="utf-8"))  # noqa: S704
        for name in ("css", "js")
    }
    found = scores(study)
    return (
        _environment()
        .get_template("report.html.j2")
        .render(
            study=study,
            scores=found,
            totals=totals(study, found),
            styles=styles(study),
            groups=[one for one in sections if one.rows],
            headings={one.title: one.heading for one in sections},
            beyond=lambda row: is_beyond(study, row),
            cited=_cited,
            overview=overview,
            sections=sections,
            extras=extras,
            **inline,
        )
    )


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": number,
        "signed": signed,
        "short": short,
        "duration": duration,
        "breakable": breakable,
        "within": lambda name: name.partition(".")[2],
        "key": sort_key,
        "magnitude": lambda value: None if value is None else abs(value),
    }
    return environment


def _cited(standard: ReferenceData) -> dict[str, list[str]]:
    """List the sources of single values, each with the values that are from there."""
    found: dict[str, list[str]] = {}
    for name, value in standard.values.items():
        if value.source:
            found.setdefault(value.source, []).append(name)
    return found
