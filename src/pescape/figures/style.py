"""The look of all figures, and how they come to be files."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from pescape.files import atomic

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from matplotlib.figure import Figure

BLUE, ORANGE, GREEN, GREY, INK = "#2f6db3", "#e07b39", "#3a8f5c", "#b9bec6", "#30343b"
#: Colours of curves that stand beside each other.
COLORS = (BLUE, ORANGE, GREEN, "#8257a8", "#b3423c", "#6b7280")

_STYLE: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.size": 9,
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "xtick.color": INK,
    "ytick.color": INK,
    "svg.hashsalt": "pescape",
    "legend.frameon": False,
    "legend.fontsize": 8,
}


@contextlib.contextmanager
def drawn(
    path: Path | str, size: tuple[float, float], *, also: Sequence[Path | str] = ()
) -> Iterator[Figure]:
    """Give an empty figure, and write it when the block succeeds.

    Needs no display, touches no state of pyplot, and writes neither date nor version, so that
    equal results leave equal files.

    Parameters
    ----------
    path
        A PNG, PDF or SVG file.
    size
        Width and height, inches.
    also
        Further files of the same figure.
    """
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=size, dpi=160, layout="constrained")
        FigureCanvasAgg(figure)
        yield figure
        for file in (path, *also):
            with atomic(file) as temporary:
                figure.savefig(temporary, metadata=_undated(temporary.suffix))


def _undated(suffix: str) -> dict[str, None]:
    """Name what matplotlib would write into a file of this format by itself."""
    names = {".svg": ("Date", "Creator"), ".pdf": ("CreationDate", "Creator", "Producer")}
    return dict.fromkeys(names.get(suffix.lower(), ("Software",)))
