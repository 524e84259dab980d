"""What figures are made from, and what a figure is before it is a file."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pescape.figures.palette import Style, styles
from pescape.figures.style import drawn

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from pescape.validation.property import Curve, Grid, PropertyResult
    from pescape.validation.study import Study

#: Folder of the files, beside the page.
FIGURES = "figures"
#: Width of figures, inches.
WIDTH = 9.0
COLUMNS = 3


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
        """Give a number, if it is there."""
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
    def order(self) -> list[str]:
        """Labels of the potentials, as legends name them."""
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
        """Give who has a curve."""
        return [(one, one.result.curves[name]) for one in self.series if name in one.result.curves]

    def grids(self, name: str) -> list[tuple[Series, Grid]]:
        """Give who has a map."""
        return [(one, one.result.grids[name]) for one in self.series if name in one.result.grids]


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
        """Write it as PNG and as SVG.

        Returns
        -------
        Path, Path
            The two files.
        """
        png, svg = folder / f"{self.name}.png", folder / f"{self.name}.svg"
        with drawn(png, self.size, also=(svg,)) as figure:
            self.draw(figure)
        return png, svg


def scene_of(study: Study, title: str) -> Scene | None:
    """Gather a property from a study; None if it failed for everyone."""
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


def stem(*parts: str) -> str:
    """Make a file's name of names: letters, digits, points, lines."""
    return "-".join(re.sub(r"[^\w.-]+", "_", part).strip("._") or "x" for part in parts)


def plain(text: str, longest: int | None = None) -> str:
    """Give a text that matplotlib shows as it is, dollars and all; cut off if it is longer."""
    if longest is not None and len(text) > longest:
        text = text[: longest - 1] + "…"
    return text.replace("$", r"\$")


def sentence(text: str) -> str:
    """Write the first letter large, if it is no symbol."""
    return text[:1].upper() + text[1:] if text[:1].isascii() else text


def readable(name: str) -> str:
    """Write the name of a curve as words."""
    return name.replace("_", " ").replace(".", ", ")


def panels(figure: Figure, count: int, columns: int = COLUMNS) -> list[Axes]:
    """Divide a figure into so many panels, row by row."""
    columns = min(columns, count)
    rows = -(-count // columns)
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for unused in axes[count:]:
        unused.set_axis_off()
    return axes[:count]


def panels_size(count: int, columns: int = COLUMNS, height: float = 2.6) -> tuple[float, float]:
    """Give the size of a figure of so many panels, with room for a legend above."""
    columns = min(columns, count)
    width = {1: 5.2, 2: 7.6}.get(columns, WIDTH)
    return width, 0.35 + height * -(-count // columns)


def legend(figure: Figure, axes: Sequence[Axes], order: Sequence[str] = ()) -> None:
    """Set one legend of all panels above them; one of a single entry says nothing and is left.

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
    labels = [name for name in order if name in found]
    entries = {name: found[name] for name in dict.fromkeys([*labels, *found])}
    if len(entries) > 1:
        figure.legend(
            entries.values(),
            entries.keys(),
            loc="outside upper left",
            ncols=min(len(entries), 5),
            columnspacing=1.4,
            handlelength=1.8,
        )
