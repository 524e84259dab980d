"""Which checks a potential has passed, as a table of colours."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from pescape.plotting import GREEN, GREY
from pescape.report.figures.base import Drawing, plain, stem
from pescape.report.figures.curves import draw_curves

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.figure import Figure

    from pescape.report.figures.base import Scene

_RED = "#b3423c"


def draw_checks(scene: Scene) -> list[Drawing]:
    """Draw a field for each check of each potential, and the scans behind them."""
    names = [name.removesuffix(".passed") for name in scene.units if name.endswith(".passed")]
    if not names:
        return []
    size = (2.4 + 1.1 * len(scene.series), 1.0 + 0.24 * len(names))
    table = Drawing(
        stem(scene.title, "checks"),
        "Checks that each potential has passed (green, ✓) or not (red, ✗)",
        size,
        functools.partial(_draw, scene=scene, names=names),
    )
    # Scans reach from wells of some eV to walls of hundreds, or holes of thousands.
    return [table, *draw_curves(scene, scale="symlog")]


def _draw(figure: Figure, scene: Scene, names: Sequence[str]) -> None:
    axes = figure.subplots()
    for x, one in enumerate(scene.series):
        for y, name in enumerate(names):
            passed = one.value(f"{name}.passed")
            color = GREY if passed is None else GREEN if passed > 0.5 else _RED
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
