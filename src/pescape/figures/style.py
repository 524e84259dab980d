"""How figures look, how they become files, and the data of one property that they show.

matplotlib is imported when the first figure is drawn, so that importing this costs nothing.
"""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pescape.files import atomic

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

    from pescape.validation.property import Curve, Grid, PropertyResult
    from pescape.validation.study import Study


#: Folder of the files, beside the page of a report.
FIGURES = "figures"
#: Width of the widest figures, inches.
WIDTH = 9.0
BLUE, ORANGE, GREEN, GRAY, INK = "#2f6db3", "#e07b39", "#3a8f5c", "#b9bec6", "#30343b"
RED = "#b3423c"
#: Colors of curves that stand beside each other.
COLORS = (BLUE, ORANGE, GREEN, "#8257a8", RED, "#6b7280")

_REFERENCE_COLORS = (INK, "#7d8590", "#a05a2c")
_REFERENCE_LINES = (":", "--", "-.")
_MARKERS = ("o", "s", "^", "D", "v", "P")
_MAX_COLUMNS = 3
_RC: dict[Any, Any] = {
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


@dataclass(frozen=True, eq=False)
class Drawing:
    """A figure that is still to be drawn.

    Parameters
    ----------
    name
        Of its files.
    caption
        What it shows, for those who see it and those who do not.
    size
        Width and height, inches.
    draw
        Draws into an empty figure.
    raster
        Whether pages show it as PNG, for what would make a large SVG.
    """

    name: str
    caption: str
    size: tuple[float, float]
    draw: Callable[[Figure], None]
    raster: bool = False

    def write(self, folder: Path) -> tuple[Path, Path]:
        """Write the figure as PNG and as SVG.

        Parameters
        ----------
        folder
            Gets the files.

        Returns
        -------
        Path, Path
            The two files.
        """
        png, svg = folder / f"{self.name}.png", folder / f"{self.name}.svg"
        with figure_file(png, self.size, also=(svg,)) as figure:
            self.draw(figure)
        return png, svg


@contextlib.contextmanager
def figure_file(
    path: Path | str, size: tuple[float, float], *, also: Sequence[Path | str] = ()
) -> Iterator[Figure]:
    """Context manager: an empty figure, written when the block succeeds.

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

    with mpl.rc_context(_RC):
        figure = Figure(figsize=size, dpi=160, layout="constrained")
        FigureCanvasAgg(figure)
        yield figure
        for file in (path, *also):
            with atomic(file) as temporary:
                figure.savefig(temporary, metadata=_undated(temporary.suffix))


def _undated(suffix: str) -> dict[str, None]:
    """Metadata that leaves out what matplotlib would write by itself into a file of this format."""
    names = {".svg": ("Date", "Creator"), ".pdf": ("CreationDate", "Creator", "Producer")}
    return dict.fromkeys(names.get(suffix.lower(), ("Software",)))


def styles(study: Study) -> dict[str, Style]:
    """Style of every potential (colored) and every reference (dark, dashed), by name.

    Colors begin anew, with another marker, when there are more potentials than colors.

    Parameters
    ----------
    study
        Names the potentials and the references, in order.
    """
    found = {}
    for index, standard in enumerate(study.standards):
        color = _REFERENCE_COLORS[index % len(_REFERENCE_COLORS)]
        found[standard.name] = Style(color, "_", _REFERENCE_LINES[index % len(_REFERENCE_LINES)])
    for index, subject in enumerate(study.subjects):
        marker = _MARKERS[index // len(COLORS) % len(_MARKERS)]
        found[subject.name] = Style(COLORS[index % len(COLORS)], marker)
    return found


def stem(*parts: str) -> str:
    """File name, without its suffix, of letters, digits, points and hyphens.

    Parameters
    ----------
    parts
        Names of any characters.
    """
    return "-".join(re.sub(r"[^\w.-]+", "_", part).strip("._") or "x" for part in parts)


def plain(text: str, max_length: int | None = None) -> str:
    """Text that matplotlib shows as it is, dollars and all.

    Parameters
    ----------
    text
        Any.
    max_length
        Longer texts are cut off; None cuts nothing.
    """
    if max_length is not None and len(text) > max_length:
        text = text[: max_length - 1] + "…"
    return text.replace("$", r"\$")


def sentence(text: str) -> str:
    """Text with a capital first letter, unless that is a symbol.

    Parameters
    ----------
    text
        Any.
    """
    return text[:1].upper() + text[1:] if text[:1].isascii() else text


def panels(figure: Figure, count: int) -> list[Axes]:
    """Panels of a figure, row by row.

    Parameters
    ----------
    figure
        Empty.
    count
        Number of panels.
    """
    columns = min(_MAX_COLUMNS, count)
    axes = list(figure.subplots(-(-count // columns), columns, squeeze=False).flat)
    for unused in axes[count:]:
        unused.set_axis_off()
    return axes[:count]


def panels_size(count: int, height: float = 2.6) -> tuple[float, float]:
    """Width and height of a figure of so many panels, with room for a legend above, inches.

    Parameters
    ----------
    count
        Number of panels.
    height
        Of a panel, inches.
    """
    columns = min(_MAX_COLUMNS, count)
    width = {1: 5.2, 2: 7.6}.get(columns, WIDTH)
    return width, 0.35 + height * -(-count // columns)


def legend(figure: Figure, axes: Sequence[Axes], order: Sequence[str] = ()) -> None:
    """Draw one legend of all panels above them, unless it has a single entry.

    Parameters
    ----------
    figure, axes
        Drawn, with labels.
    order
        Labels that come first.
    """
    found: dict[str, Artist] = {}
    for panel in axes:
        for handle, label in zip(*panel.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    entries = {name: found[name] for name in dict.fromkeys([*order, *found]) if name in found}
    if len(entries) > 1:
        figure.legend(
            entries.values(),
            entries.keys(),
            loc="outside upper left",
            ncols=min(len(entries), 5),
            columnspacing=1.4,
            handlelength=1.8,
        )


def plain_logarithm(axis: Axis, ticks: tuple[float, ...]) -> None:
    """Write plain numbers at some multiples of the powers of ten on a logarithmic axis.

    Parameters
    ----------
    axis
        Of a panel.
    ticks
        The multiples, from 1 to below 10.
    """
    from matplotlib.ticker import LogLocator, NullFormatter

    axis.set_major_locator(LogLocator(subs=ticks, numticks=20))
    axis.set_major_formatter(lambda value, _: f"{value:g}")
    axis.set_minor_formatter(NullFormatter())


@dataclass(frozen=True, eq=False)
class Series:
    """One property, computed by one potential or by a reference.

    Parameters
    ----------
    name
        The potential's.
    result
        What it found.
    style
        How it is drawn.
    reference
        Whether it is what others are compared with.
    """

    name: str
    result: PropertyResult
    style: Style
    reference: bool = False

    def value(self, name: str) -> float | None:
        """Look a number up; None if it is not there.

        Parameters
        ----------
        name
            Within the property.
        """
        found = self.result.values.get(name)
        return None if found is None else found.value


@dataclass(frozen=True, eq=False)
class Scene:
    """One property by everyone who has it: all that its figures show.

    Parameters
    ----------
    title
        The name of the property in this study.
    kind
        Which property, a name of the registry.
    series
        Those that did not fail: potentials first, then computed references.
    known
        Numbers from files, by the reference's name and the value's name within the property.
    styles
        Of everyone in the study.
    """

    title: str
    kind: str
    series: tuple[Series, ...]
    known: Mapping[str, Mapping[str, float]]
    styles: Mapping[str, Style]

    @property
    def labels(self) -> list[str]:
        """Labels of the potentials, as legends name them, in order."""
        return [plain(one.name) for one in self.series]

    @property
    def units(self) -> dict[str, str]:
        """Units by the value's name within the property, in order."""
        return {
            name: value.unit for one in self.series for name, value in one.result.values.items()
        }

    @property
    def curve_names(self) -> tuple[str, ...]:
        """Names of all curves that anyone has, in order."""
        return tuple(dict.fromkeys(n for one in self.series for n in one.result.curves))

    @property
    def grid_names(self) -> tuple[str, ...]:
        """Names of all maps that anyone has, in order."""
        return tuple(dict.fromkeys(n for one in self.series for n in one.result.grids))

    def curves(self, name: str) -> list[tuple[Series, Curve]]:
        """Look curves of a name up, each with whose it is.

        Parameters
        ----------
        name
            One of `curve_names`.
        """
        return [(one, one.result.curves[name]) for one in self.series if name in one.result.curves]

    def grids(self, name: str) -> list[tuple[Series, Grid]]:
        """Look maps of a name up, each with whose it is.

        Parameters
        ----------
        name
            One of `grid_names`.
        """
        return [(one, one.result.grids[name]) for one in self.series if name in one.result.grids]


def scene_of(study: Study, title: str) -> Scene | None:
    """Gather a property from a study; None if it failed for everyone.

    Parameters
    ----------
    study
        What was found.
    title
        Name of the property in the study.
    """
    looks = styles(study)
    computed = {one.name for one in study.standards}
    series = tuple(
        Series(one.source, one.result, looks[one.source], one.source in computed)
        for one in study.outcomes(title)
        if one.result is not None
    )
    if not series:
        return None
    known = {
        standard.name: {
            name.removeprefix(f"{title}."): value.value
            for name, value in standard.values.items()
            if name.startswith(f"{title}.")
        }
        for standard in study.standards
        if not standard.outcomes
    }
    return Scene(title, series[0].result.kind, series, known, looks)
