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
    scene: Scene, labels: Mapping[str, str], *, what: str, name: str = "values"
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
            functools.partial(_draw, scene=scene, labels=shown, what=what),
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


def _draw(figure: Figure, scene: Scene, labels: Mapping[str, str], what: str) -> None:
    axes = figure.subplots()
    bars(axes, scene, list(labels))
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


def bars(axes: Axes, scene: Scene, names: Sequence[str]) -> None:
    """Draw a group of bars for each value; references are lines across the group."""
    potentials = [one for one in scene.series if not one.reference]
    width = _GROUP / max(len(potentials), 1)
    for index, one in enumerate(potentials):
        points = [(x, one.value(name)) for x, name in enumerate(names)]
        known = [(x, value) for x, value in points if value is not None]
        left = (index + 0.5) * width - _GROUP / 2
        axes.bar(
            [x + left for x, _ in known],
            [value for _, value in known],
            0.88 * width,
            color=one.style.color,
            label=plain(one.name),
        )
    references = {one.name: one.value for one in scene.series if one.reference}
    references |= {name: values.get for name, values in scene.known.items()}
    for reference, value_of in references.items():
        style = scene.styles[reference]
        for x, name in enumerate(names):
            value = value_of(name)
            if value is not None:
                axes.plot(
                    [x - 0.48, x + 0.48],
                    [value, value],
                    color=style.color,
                    ls=style.line,
                    lw=1.5,
                    label=plain(reference),
                )
    axes.axhline(0.0, color=INK, lw=0.6)
    axes.set_xlim(-0.6, len(names) - 0.4)
