"""How each potential and each reference looks, the same in all figures and tables."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pescape.figures.style import COLORS, INK

if TYPE_CHECKING:
    from pescape.validation.study import Study

_MARKERS = ("o", "s", "^", "D", "v", "P")
_DASHES = (":", "--", "-.")


@dataclass(frozen=True)
class Style:
    """How a potential or a reference is drawn.

    Parameters
    ----------
    color
        As ``#rrggbb``.
    marker
        Of points.
    line
        Of curves, as matplotlib calls it.
    """

    color: str
    marker: str = "o"
    line: str = "-"


def styles(study: Study) -> dict[str, Style]:
    """Give everyone a look: potentials have colours, references are dark and dashed.

    Colours begin anew, with another marker, when there are more potentials than colours.
    """
    found = {
        one.name: Style(_DARK[index % len(_DARK)], "_", _DASHES[index % len(_DASHES)])
        for index, one in enumerate(study.standards)
    }
    for index, one in enumerate(study.subjects):
        marker = _MARKERS[index // len(COLORS) % len(_MARKERS)]
        found[one.name] = Style(COLORS[index % len(COLORS)], marker)
    return found


_DARK = (INK, "#7d8590", "#a05a2c")
