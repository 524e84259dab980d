"""What the page shows, made of a study: texts and numbers, ready for the template."""

from __future__ import annotations

import base64
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import jinja2
from markupsafe import Markup, escape

from pescape.report.palette import styles
from pescape.report.verdict import is_beyond, scores, title_of, totals

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pescape.report.links import Download
    from pescape.validation.runner import Outcome
    from pescape.validation.study import Row, Standard, Study

_TEMPLATES = Path(__file__).parent / "templates"
# SVG files that are larger (bytes) are shown as PNG.
_LARGE = 200_000
#: What pages call properties.
HEADINGS = {
    "cost": "Cost",
    "divacancy": "Divacancies",
    "elastic": "Elastic constants",
    "eos": "Energy-volume curves",
    "interstitial": "Self-interstitials",
    "interstitial_migration": "Migration of interstitials",
    "lattice": "Lattice and phases",
    "melting": "Melting",
    "nve_drift": "Energy drift",
    "pair_curve": "Pair curves",
    "phonons": "Phonons",
    "physicality": "Physicality",
    "stacking_fault": "Stacking faults",
    "surface": "Surfaces",
    "thermal": "Thermal expansion and stability",
    "vacancy": "Vacancy",
    "vacancy_migration": "Migration of the vacancy",
}


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
    outcomes: tuple[Outcome, ...]
    failures: Mapping[str, Sequence[str]]
    warnings: Mapping[str, Sequence[str]]
    standards: tuple[Standard, ...]
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
    large = raster or svg.stat().st_size > _LARGE
    file, kind = (png, "png") if large else (svg, "svg+xml")
    content = base64.b64encode(file.read_bytes()).decode()
    addresses = (quote(one.relative_to(base).as_posix()) for one in files)
    data = f"data:image/{kind};base64,{content}"
    return Picture(caption, data, round(96 * width), *addresses)


def section_of(
    study: Study,
    title: str,
    pictures: Sequence[Picture],
    downloads: Mapping[str, Download],
) -> Section:
    """Gather what the page tells about a property."""
    outcomes = study.outcomes(title)
    rows = tuple(row for row in study.rows() if title_of(row.name) == title)
    failed = ((one.failure, one.source) for one in outcomes if one.failure is not None)
    told = ((text, o.source) for o in outcomes if o.result for text in o.result.warnings)
    return Section(
        title,
        heading(title, *(one.result.kind for one in outcomes if one.result)),
        rows,
        tuple(pictures),
        outcomes,
        _shared(failed),
        _shared(told),
        tuple(s for s in study.standards if any(s.name in row.references for row in rows)),
        _settings(outcomes),
        downloads,
    )


def heading(title: str, *kinds: str) -> str:
    """Say what a property is called, be it one of several of its kind."""
    if title in HEADINGS:
        return HEADINGS[title]
    for kind in kinds:
        if title.startswith(f"{kind}_") and kind in HEADINGS:
            return f"{HEADINGS[kind]}, {title.removeprefix(f'{kind}_').replace('_', ' ')}"
    return words(title)


def _shared(texts: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """Give texts once, with all they are about."""
    found: dict[str, list[str]] = {}
    for text, about in texts:
        found.setdefault(text, []).append(about)
    return found


def _settings(
    outcomes: Iterable[Outcome],
) -> tuple[tuple[str, tuple[tuple[str, str], ...]], ...]:
    """Give settings once for all who share them."""
    shared: dict[tuple[tuple[str, str], ...], list[str]] = {}
    for one in outcomes:
        if one.result is not None:
            shared.setdefault(tuple(flattened(one.result.settings)), []).append(one.source)
    return tuple((", ".join(names), settings) for settings, names in shared.items())


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


def _sort_key(value: float | None) -> str:
    return "" if value is None or not math.isfinite(value) else repr(float(value))


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
        "words": words,
        "breakable": breakable,
        "within": lambda name: name.partition(".")[2],
        "key": _sort_key,
        "magnitude": lambda value: None if value is None else abs(value),
    }
    return environment


def _cited(standard: Standard) -> dict[str, list[str]]:
    """Give the sources of single values, each with the values that are from there."""
    found: dict[str, list[str]] = {}
    for name, value in standard.values.items():
        if value.source:
            found.setdefault(value.source, []).append(name)
    return found
