"""Values beside each other: a group of bars for each, references as lines across it.

Figures of a whole study: how far everything is from the reference, property by property.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import numpy as np

from pescape.figures.base import WIDTH, Drawing, legend, panels, panels_size, plain, sentence, stem
from pescape.figures.palette import styles
from pescape.figures.style import GREY, INK
from pescape.validation.study import group_errors, grouped_rows

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from pescape.figures.base import Scene
    from pescape.validation.study import GroupError, Row, Study


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


# Values of one figure of relative errors, and the largest one it shows, percent.
_MOST, _FAR = 48, 50.0


def overview(study: Study) -> list[Drawing]:
    """Give the figures that sum a study up; none without references or common values."""
    return [*_relative_errors(study), *_mean_errors(study)]


def _relative_errors(study: Study) -> list[Drawing]:
    if not study.standards:
        return []
    first = study.standards[0].name
    grouped = [row for own in grouped_rows(study).values() for row in own]
    rows = [row for row in grouped if row.references.get(first)][:_MOST]
    if not rows:
        return []
    return [
        Drawing(
            "relative-errors",
            f"Relative error of each value against {first}, percent; triangles at the edge are "
            f"farther off than {_FAR:g} %",
            (WIDTH, 1.0 + 0.19 * len(rows)),
            functools.partial(_draw_relative, study=study, rows=rows),
        )
    ]


def _draw_relative(figure: Figure, study: Study, rows: Sequence[Row]) -> None:
    first, looks = study.standards[0].name, styles(study)
    axes = figure.subplots()
    heights = np.arange(len(rows))[::-1]
    for height in heights[::2]:
        axes.axhspan(height - 0.5, height + 0.5, color="#f4f6f9", lw=0, zorder=-2)
    axes.axvline(0.0, color=INK, lw=0.8, zorder=-1)
    for index, one in enumerate(study.subjects):
        shift = 0.5 * ((index + 0.5) / len(study.subjects) - 0.5)
        errors = [_percent(row, one.name, first) for row in rows]
        known = [(e, h - shift) for e, h in zip(errors, heights, strict=True) if e is not None]
        style = looks[one.name]
        axes.plot([], [], style.marker, color=style.color, label=plain(one.name))
        for shown, marker in (
            ([point for point in known if abs(point[0]) <= _FAR], style.marker),
            ([(_FAR, h) for error, h in known if error > _FAR], ">"),
            ([(-_FAR, h) for error, h in known if error < -_FAR], "<"),
        ):
            axes.plot(
                [x for x, _ in shown], [y for _, y in shown], marker, ms=4.5, color=style.color
            )
    axes.set_yticks(heights, [plain(row.name) for row in rows], fontsize=7.5)
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(-0.7, len(rows) - 0.3)
    reach = max(abs(x) for x in axes.dataLim.intervalx) if len(rows) else 1.0
    axes.set_xlim(-1.06 * max(reach, 1.0), 1.06 * max(reach, 1.0))
    axes.set_xlabel(f"difference from {plain(first)} (%)")
    legend(figure, [axes])


def _percent(row: Row, subject: str, standard: str) -> float | None:
    share = row.relative_error(subject, standard)
    return None if share is None else 100.0 * share


def _mean_errors(study: Study) -> list[Drawing]:
    """Draw mean errors against the potentials: the counterpart of figure 7 of Luo et al."""
    found = _group_errors(study)
    if len(study.subjects) < 2 or not found:
        return []
    return [
        Drawing(
            "mean-errors",
            f"Mean absolute errors against {study.standards[0].name}, from the first potential to "
            f"the last: {', '.join(found)}",
            panels_size(len(found)),
            functools.partial(_draw_means, study=study, found=found),
        )
    ]


def _group_errors(study: Study) -> dict[str, list[GroupError]]:
    """Give errors against the first reference, by group."""
    found: dict[str, list[GroupError]] = {}
    for one in group_errors(study):
        if one.standard == study.standards[0].name:
            found.setdefault(one.group, []).append(one)
    return found


def _draw_means(figure: Figure, study: Study, found: dict[str, list[GroupError]]) -> None:
    names, looks = [one.name for one in study.subjects], styles(study)
    axes = panels(figure, len(found))
    for panel, (group, errors) in zip(axes, found.items(), strict=True):
        places = [names.index(one.subject) for one in errors]
        panel.plot(places, [one.mean for one in errors], color=GREY, lw=1.2, zorder=1)
        for place, one in zip(places, errors, strict=True):
            style = looks[one.subject]
            panel.plot(place, one.mean, style.marker, ms=6, color=style.color)
        panel.set_title(group.capitalize())
        panel.set_ylabel(f"MAE ({errors[0].unit})")
        _finish(panel, names)


def _finish(axes: Axes, names: Sequence[str]) -> None:
    axes.set_ylim(0.0, 1.1 * axes.get_ylim()[1])
    axes.set_xlim(-0.3, len(names) - 0.7)
    axes.set_xticks(range(len(names)), [plain(name, 14) for name in names], rotation=30, ha="right")
    axes.grid(axis="y", color=GREY, lw=0.4, alpha=0.6)
