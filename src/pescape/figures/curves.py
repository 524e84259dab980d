"""Figures that any property can have: curves, maps of two variables, checks and their numbers."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import numpy as np

from pescape.figures.bars import draw_bars, draw_values
from pescape.figures.style import (
    GRAY,
    GREEN,
    RED,
    Drawing,
    legend,
    panels,
    panels_size,
    plain,
    plain_logarithm,
    sentence,
    stem,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from pescape.figures.style import Scene
    from pescape.validation.property import Curve

    Drawer = Callable[[Scene], list[Drawing]]


# Curves of more points are lines without markers.
_MAX_MARKERS = 40
# Panels of one figure of curves.
_MAX_PANELS = 12
# Lines of equal height in maps, and characters of a title that a map's panel is wide enough for.
_CONTOURS, _TITLE_LENGTH = 9, 22


def drawings_of(scene: Scene, own: Drawer | None = None) -> list[Drawing]:
    """Draw a property: by its own drawer; else its curves and maps; else its values as bars.

    Parameters
    ----------
    scene
        The property.
    own
        What draws this property, where it has something to draw.
    """
    found = [] if own is None else own(scene)
    return found or draw_curves(scene) + _draw_maps(scene) or draw_values(scene)


def _readable(name: str) -> str:
    """Name of a curve as words."""
    return name.replace("_", " ").replace(".", ", ")


def draw_curves(
    scene: Scene,
    names: Sequence[str] | None = None,
    *,
    name: str = "curves",
    label: Callable[[str], str] = _readable,
    scale: str = "linear",
) -> list[Drawing]:
    """Draw curves of a property by everyone over each other, a panel for each name.

    Parameters
    ----------
    scene
        The property.
    names
        Of the curves; all if None.
    name
        Of the file, behind the property's title.
    label
        Makes the title of a panel of the name of its curve.
    scale
        Of the ordinates, as matplotlib calls it.
    """
    names = scene.curve_names if names is None else names
    parts = [names[i : i + _MAX_PANELS] for i in range(0, len(names), _MAX_PANELS)]
    return [
        Drawing(
            stem(scene.title, name, *([] if len(parts) == 1 else [str(number)])),
            _caption(scene, part, label),
            panels_size(len(part)),
            functools.partial(_draw_curves, scene=scene, names=part, label=label, scale=scale),
        )
        for number, part in enumerate(parts, 1)
    ]


def _caption(scene: Scene, names: Sequence[str], label: Callable[[str], str]) -> str:
    curve = scene.curves(names[0])[0][1]
    what = f"{curve.y_label} against {curve.x_label}".strip()
    return f"{sentence(what)}: {'; '.join(map(label, names))}"


def _draw_curves(
    figure: Figure,
    scene: Scene,
    names: Sequence[str],
    label: Callable[[str], str],
    scale: str,
) -> None:
    axes = panels(figure, len(names))
    for panel, name in zip(axes, names, strict=True):
        draw_panel(panel, scene, name)
        panel.set_title(plain(label(name)))
        panel.set_yscale(scale)
    legend(figure, axes, scene.labels)


def draw_panel(axes: Axes, scene: Scene, name: str) -> None:
    """Draw one curve by everyone who has it, and what files know under its name as a level.

    Parameters
    ----------
    axes
        The panel.
    scene, name
        The property and the curve.
    """
    for one, curve in scene.curves(name):
        marker = one.style.marker if len(curve.x) <= _MAX_MARKERS and not one.reference else ""
        axes.plot(
            curve.x,
            curve.y,
            color=one.style.color,
            marker=marker,
            ms=3.5,
            ls=one.style.line,
            lw=1.3,
            label=plain(one.name),
        )
        axes.set_xlabel(plain(curve.x_label))
        axes.set_ylabel(plain(curve.y_label))
    shared = scene.curves(name)[0][1]
    for x, label in shared.marks:
        axes.axvline(x, color=GRAY, lw=0.6, zorder=0)
        axes.annotate(
            plain(label),
            (x, 1.0),
            xycoords=("data", "axes fraction"),
            va="bottom",
            ha="center",
            fontsize=7,
        )
    for reference, values in scene.known.items():
        if name in values:
            style = scene.styles[reference]
            axes.axhline(
                values[name],
                color=style.color,
                ls=style.line,
                lw=1.2,
                label=plain(reference),
                zorder=1,
            )


def _draw_maps(scene: Scene) -> list[Drawing]:
    """Draw every map of a property, a figure for each name with a panel for each potential."""
    return [
        Drawing(
            stem(scene.title, "map", name),
            f"{name}: {scene.grids(name)[0][1].z_label}, in the same colours for all: "
            + ", ".join(one.name for one, _ in scene.grids(name)),
            panels_size(len(scene.grids(name)), height=2.9),
            functools.partial(_draw_map, scene=scene, name=name),
            raster=True,
        )
        for name in scene.grid_names
    ]


def _draw_map(figure: Figure, scene: Scene, name: str) -> None:
    found = scene.grids(name)
    finite = np.concatenate([grid.z[np.isfinite(grid.z)] for _, grid in found])
    low, high = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 1.0)
    high = high if high > low else low + 1.0
    axes = panels(figure, len(found))
    image = None
    for panel, (one, grid) in zip(axes, found, strict=True):
        image = panel.pcolormesh(
            grid.x,
            grid.y,
            grid.z,
            cmap="viridis",
            vmin=low,
            vmax=high,
            shading="gouraud",
            rasterized=True,
        )
        levels = np.linspace(low, high, _CONTOURS + 2)[1:-1]
        panel.contour(grid.x, grid.y, grid.z, levels, colors="white", linewidths=0.5, alpha=0.6)
        panel.set_title(plain(one.name, _TITLE_LENGTH))
        panel.set_xlabel(plain(grid.x_label))
        panel.set_ylabel(plain(grid.y_label))
    if image is not None:
        figure.colorbar(image, ax=axes, label=plain(found[0][1].z_label), shrink=0.85)


# Names of the values of the cost, and the label of the axis.
_TIME, _BASELINE, _PARAMETERS = "microseconds", "baseline", "parameters"
_TIME_LABEL = "CPU time (µs/atom/step)"


def draw_pairs(scene: Scene) -> list[Drawing]:
    """Draw the energy of two atoms against their distance, figure 4 of Luo et al.

    Each pair has a panel that shows the well rather than the wall.

    Parameters
    ----------
    scene
        The property.
    """
    names = scene.curve_names
    return [
        Drawing(
            stem(scene.title, "curves"),
            f"Energy of two atoms in vacuum against their distance: {', '.join(names)}",
            panels_size(len(names), height=3.0),
            functools.partial(_draw_pairs, scene=scene),
        )
    ]


def _draw_pairs(figure: Figure, scene: Scene) -> None:
    names = scene.curve_names
    axes = panels(figure, len(names))
    for panel, name in zip(axes, names, strict=True):
        draw_panel(panel, scene, name)
        panel.axhline(0.0, color=GRAY, lw=0.8, zorder=0)
        depth = max(_depth(curve) for _, curve in scene.curves(name)) or 1.0
        panel.set_ylim(-1.2 * depth, 2.0 * depth)
        panel.set_title(plain(name.replace("_", "–")))
    legend(figure, axes, scene.labels)


def _depth(curve: Curve) -> float:
    """Depth of the deepest well, be there a hole behind the wall or not; 0 without any."""
    inner = curve.y[1:-1]
    wells = inner[(inner < curve.y[:-2]) & (inner <= curve.y[2:])]
    return max(0.0, -float(wells.min())) if len(wells) else 0.0


def draw_cost(scene: Scene) -> list[Drawing]:
    """Draw CPU times on logarithmic axes against parameters, figure 3 of Luo et al.

    Beside them stands what an embedded-atom potential takes on the same machine.

    Parameters
    ----------
    scene
        The property.
    """
    if not any(_PARAMETERS in one.result.values for one in scene.series):
        return draw_bars(scene, {_TIME: "potential", _BASELINE: "eam/fs"}, what=_TIME_LABEL)
    return [
        Drawing(
            stem(scene.title, "parameters"),
            f"{_TIME_LABEL} of molecular dynamics on one core against the number of parameters; "
            "the dashed line is an embedded-atom potential on the same machine",
            (5.2, 3.6),
            functools.partial(_draw_cost, scene=scene),
        )
    ]


def _draw_cost(figure: Figure, scene: Scene) -> None:
    axes = figure.subplots()
    points = []
    for one in scene.series:
        time, parameters = one.value(_TIME), one.value(_PARAMETERS)
        if time is not None and parameters is not None:
            points.append((parameters, time))
            axes.plot(parameters, time, "o", ms=7, color=one.style.color)
            label = plain(one.name, 24)
            axes.annotate(label, (parameters, time), xytext=(6, -9), textcoords="offset points")
    axes.plot(*zip(*sorted(points), strict=True), color=GRAY, lw=1.0, zorder=0)
    baselines = [value for one in scene.series if (value := one.value(_BASELINE)) is not None]
    if baselines:
        level = float(np.median(baselines))
        axes.axhline(level, color=GRAY, ls="--", lw=1.2)
        axes.annotate(
            "eam/fs",
            (1.0, level),
            xycoords=("axes fraction", "data"),
            ha="right",
            va="bottom",
        )
    axes.set_xscale("log")
    axes.set_yscale("log")
    least, most = min(x for x, _ in points), max(x for x, _ in points)
    axes.set_xlim(least / 1.8, 3.0 * most)  # room for names on the right
    axes.margins(y=0.2)
    for axis in (axes.xaxis, axes.yaxis):
        plain_logarithm(axis, (1.0, 2.0, 5.0))
    axes.set_xlabel("parameters")
    axes.set_ylabel(_TIME_LABEL)


def draw_checks(scene: Scene) -> list[Drawing]:
    """Draw a field for each check of each potential, and the scans behind them.

    Parameters
    ----------
    scene
        The property.
    """
    names = [name.removesuffix(".passed") for name in scene.units if name.endswith(".passed")]
    if not names:
        return []
    size = (2.4 + 1.1 * len(scene.series), 1.0 + 0.24 * len(names))
    table = Drawing(
        stem(scene.title, "checks"),
        "Checks that each potential has passed (green, ✓) or not (red, ✗)",
        size,
        functools.partial(_draw_checks, scene=scene, names=names),
    )
    # Scans reach from wells of some eV to walls of hundreds, or holes of thousands.
    return [table, *draw_curves(scene, scale="symlog")]


def _draw_checks(figure: Figure, scene: Scene, names: Sequence[str]) -> None:
    axes = figure.subplots()
    for x, one in enumerate(scene.series):
        for y, name in enumerate(names):
            passed = one.value(f"{name}.passed")
            color = GRAY if passed is None else GREEN if passed > 0.5 else RED
            mark = "–" if passed is None else "✓" if passed > 0.5 else "✗"
            axes.barh(y, 0.94, 0.88, left=x - 0.47, color=color)
            axes.text(x, y, mark, ha="center", va="center", color="white", fontweight="bold")
    axes.set_yticks(range(len(names)), [plain(name.replace("_", " ")) for name in names])
    axes.set_xticks(range(len(scene.series)), [plain(one.name, 14) for one in scene.series])
    axes.set_xlim(-0.5, len(scene.series) - 0.5)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
