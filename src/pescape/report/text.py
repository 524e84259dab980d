"""How pages write names, numbers and settings."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

from markupsafe import Markup, escape

if TYPE_CHECKING:
    from collections.abc import Mapping

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
    "path_energies": "Energies along given paths",
    "phonons": "Phonons",
    "physicality": "Physicality",
    "stacking_fault": "Stacking faults",
    "surface": "Surfaces",
    "thermal": "Thermal expansion and stability",
    "vacancy": "Vacancy",
    "vacancy_hop": "Hops of vacancies in compounds",
    "vacancy_migration": "Migration of the vacancy",
}


def heading(title: str, *kinds: str) -> str:
    """Say what a property is called, be it one of several of its kind."""
    if title in HEADINGS:
        return HEADINGS[title]
    for kind in kinds:
        if title.startswith(f"{kind}_") and kind in HEADINGS:
            return f"{HEADINGS[kind]}, {title.removeprefix(f'{kind}_').replace('_', ' ')}"
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
