"""Values beside each other: a group of bars for each, references as lines across it."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from pescape.plotting import INK
from pescape.report.figures.base import WIDTH, Drawing, legend, plain, sentence, stem

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from pescape.report.figures.base import Scene

# A group of bars is this wide, in units of the distance between groups.
_GROUP = 0.8
# Names are written aslant from so many characters on.
_LONG = 44
# Groups of one figure; more would not be read.
_MOST = 24


def draw_bars(
    scene: Scene,
    labels: Mapping[str, str],
    *,
    what: str,
    name: str = "values",
    spreads: Mapping[str, str] | None = None,
) -> list[Drawing]:
    """Draw values of one unit as bars.

    Parameters
    ----------
    scene
        The property.
    labels
        How to call each value, by its name within the property; those nobody has are left out.
    what
        Of the axis, with unit.
    name
        Of the file, behind the property's title.
    spreads
        Values that say how far bars are uncertain, by the bar's name.

    Returns
    -------
    list of Drawing
        Empty if nobody has any of the values.
    """
    shown = {key: label for key, label in labels.items() if key in scene.units}
    shown = dict(list(shown.items())[:_MOST])
    if not shown:
        return []
    # Wide enough for bars of equal width, whatever their number.
    width = 1.4 + 0.2 * len(shown) * (1 + len(scene.series))
    return [
        Drawing(
            stem(scene.title, name),
            f"{sentence(what)}: {', '.join(shown.values())}",
            (min(WIDTH, max(width, 4.4)), 3.1),
            functools.partial(_draw, scene=scene, labels=shown, what=what, spreads=spreads or {}),
        )
    ]


def draw_values(scene: Scene) -> list[Drawing]:
    """Draw all values of a property, a figure for each unit."""
    units = dict.fromkeys(scene.units.values())
    drawings = []
    for unit in units:
        names = {name: name for name, its in scene.units.items() if its == unit}
        text = unit or "number"
        drawings += draw_bars(scene, names, what=text, name=stem("values", text))
    return drawings


def _draw(
    figure: Figure,
    scene: Scene,
    labels: Mapping[str, str],
    what: str,
    spreads: Mapping[str, str],
) -> None:
    axes = figure.subplots()
    _draw_groups(axes, scene, list(labels), spreads)
    _draw_references(axes, scene, list(labels))
    long = sum(map(len, labels.values())) > _LONG
    axes.set_xticks(
        range(len(labels)),
        [plain(label) for label in labels.values()],
        rotation=30 if long else 0,
        ha="right" if long else "center",
        rotation_mode="anchor",
    )
    axes.tick_params(axis="x", length=0)
    axes.set_ylabel(plain(what))
    legend(figure, [axes], scene.order)


def _draw_groups(
    axes: Axes, scene: Scene, names: Sequence[str], spreads: Mapping[str, str]
) -> None:
    """Draw a bar for each value of each potential."""
    potentials = [one for one in scene.series if not one.reference]
    width = _GROUP / max(len(potentials), 1)
    for index, one in enumerate(potentials):
        left = (index + 0.5) * width - _GROUP / 2
        known = [(x + left, name) for x, name in enumerate(names) if name in one.result.values]
        values = [one.result.values[name].value for _, name in known]
        half = [0.5 * (one.value(spreads.get(name, "")) or 0.0) for _, name in known]
        axes.bar(
            [x for x, _ in known],
            values,
            0.88 * width,
            color=one.style.color,
            label=plain(one.name),
            yerr=half if any(half) else None,
            error_kw={"ecolor": INK, "elinewidth": 0.8, "capsize": 2.0},
        )
    axes.axhline(0.0, color=INK, lw=0.6)
    axes.set_xlim(-0.6, len(names) - 0.4)


def _draw_references(axes: Axes, scene: Scene, names: Sequence[str]) -> None:
    """Draw a line across each group where a reference is."""
    references: dict[str, Mapping[str, float]] = {
        one.name: {name: value.value for name, value in one.result.values.items()}
        for one in scene.series
        if one.reference
    }
    for reference, values in {**references, **scene.known}.items():
        style = scene.styles[reference]
        for x, name in enumerate(names):
            if name in values:
                axes.plot(
                    [x - 0.48, x + 0.48],
                    [values[name], values[name]],
                    color=style.color,
                    ls=style.line,
                    lw=1.5,
                    label=plain(reference),
                )
