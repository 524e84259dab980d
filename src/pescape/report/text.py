"""How pages write names, numbers and settings."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

from markupsafe import Markup, escape

from pescape.validation.property import PROPERTIES, current_name

if TYPE_CHECKING:
    from collections.abc import Mapping


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
