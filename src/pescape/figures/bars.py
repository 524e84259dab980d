"""Values beside each other as bars, and the errors of a whole study against its reference."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import numpy as np

from pescape.figures.style import (
    GRAY,
    INK,
    WIDTH,
    Drawing,
    legend,
    panels,
    panels_size,
    plain,
    sentence,
    stem,
    styles,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from pescape.figures.style import Scene
    from pescape.validation.study import GroupError, Row, Study

# Width of a group of bars, in units of the distance between groups.
_GROUP_WIDTH = 0.8
# Names of more characters together are written aslant.
_MAX_UPRIGHT = 44
# Groups of one figure; more would not be read.
_MAX_GROUPS = 24
# Values of the figure of relative errors, and the largest error it shows, percent.
_MAX_ROWS, _MAX_ERROR = 48, 50.0


def draw_bars(
    scene: Scene,
    labels: Mapping[str, str],
    *,
    what: str,
    name: str = "values",
    spreads: Mapping[str, str] | None = None,
) -> list[Drawing]:
    """Draw values of one unit as bars, references as lines across them; nothing if nobody has any.

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
    """
    shown = {key: label for key, label in labels.items() if key in scene.units}
    shown = dict(list(shown.items())[:_MAX_GROUPS])
    if not shown:
        return []
    # Wide enough for bars of equal width, whatever their number.
    width = 1.4 + 0.2 * len(shown) * (1 + len(scene.series))
    return [
        Drawing(
            stem(scene.title, name),
            f"{sentence(what)}: {', '.join(shown.values())}",
            (min(WIDTH, max(width, 4.4)), 3.1),
            functools.partial(
                _draw_bars, scene=scene, labels=shown, what=what, spreads=spreads or {}
            ),
        )
    ]


def draw_values(scene: Scene) -> list[Drawing]:
    """Draw all values of a property, a figure for each unit.

    Parameters
    ----------
    scene
        The property.
    """
    units = dict.fromkeys(scene.units.values())
    drawings = []
    for unit in units:
        names = {name: name for name, its in scene.units.items() if its == unit}
        text = unit or "number"
        drawings += draw_bars(scene, names, what=text, name=stem("values", text))
    return drawings


def _draw_bars(
    figure: Figure,
    scene: Scene,
    labels: Mapping[str, str],
    what: str,
    spreads: Mapping[str, str],
) -> None:
    axes = figure.subplots()
    _draw_groups(axes, scene, list(labels), spreads)
    _draw_references(axes, scene, list(labels))
    long = sum(map(len, labels.values())) > _MAX_UPRIGHT
    axes.set_xticks(
        range(len(labels)),
        [plain(label) for label in labels.values()],
        rotation=30 if long else 0,
        ha="right" if long else "center",
        rotation_mode="anchor",
    )
    axes.tick_params(axis="x", length=0)
    axes.set_ylabel(plain(what))
    legend(figure, [axes], scene.labels)


def _draw_groups(
    axes: Axes, scene: Scene, names: Sequence[str], spreads: Mapping[str, str]
) -> None:
    """Draw a bar for each value of each potential."""
    potentials = [one for one in scene.series if not one.reference]
    width = _GROUP_WIDTH / max(len(potentials), 1)
    for index, one in enumerate(potentials):
        left = (index + 0.5) * width - _GROUP_WIDTH / 2
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


def overview(study: Study, rows: Iterable[Row], errors: Iterable[GroupError]) -> list[Drawing]:
    """Draw how far everything is from the study's first reference; nothing without references.

    Parameters
    ----------
    study
        What was found.
    rows
        Values that belong to any group.
    errors
        Mean errors of the groups. They are drawn against the potentials, the counterpart of
        figure 7 of Luo et al.
    """
    if not study.standards:
        return []
    first = study.standards[0].name
    drawings = []
    shown = [row for row in rows if row.references.get(first)][:_MAX_ROWS]
    if shown:
        drawings.append(
            Drawing(
                "relative-errors",
                f"Relative error of each value against {first}, percent; triangles at the edge "
                f"are farther off than {_MAX_ERROR:g} %",
                (WIDTH, 1.0 + 0.19 * len(shown)),
                functools.partial(_draw_relative_errors, study=study, rows=shown),
            )
        )
    groups: dict[str, list[GroupError]] = {}
    for one in errors:
        if one.standard == first:
            groups.setdefault(one.group, []).append(one)
    if len(study.subjects) > 1 and groups:
        drawings.append(
            Drawing(
                "mean-errors",
                f"Mean absolute errors against {first}, from the first potential to the last: "
                + ", ".join(groups),
                panels_size(len(groups)),
                functools.partial(_draw_mean_errors, study=study, groups=groups),
            )
        )
    return drawings


def _draw_relative_errors(figure: Figure, study: Study, rows: Sequence[Row]) -> None:
    first, looks = study.standards[0].name, styles(study)
    axes = figure.subplots()
    heights = np.arange(len(rows))[::-1]
    for height in heights[::2]:
        axes.axhspan(height - 0.5, height + 0.5, color="#f4f6f9", lw=0, zorder=-2)
    axes.axvline(0.0, color=INK, lw=0.8, zorder=-1)
    for index, one in enumerate(study.subjects):
        shift = 0.5 * ((index + 0.5) / len(study.subjects) - 0.5)
        shares = [row.relative_error(one.name, first) for row in rows]
        known = [
            (100.0 * share, height - shift)
            for share, height in zip(shares, heights, strict=True)
            if share is not None
        ]
        style = looks[one.name]
        axes.plot([], [], style.marker, color=style.color, label=plain(one.name))
        for shown, marker in (
            ([point for point in known if abs(point[0]) <= _MAX_ERROR], style.marker),
            ([(_MAX_ERROR, h) for error, h in known if error > _MAX_ERROR], ">"),
            ([(-_MAX_ERROR, h) for error, h in known if error < -_MAX_ERROR], "<"),
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


def _draw_mean_errors(figure: Figure, study: Study, groups: dict[str, list[GroupError]]) -> None:
    names, looks = [one.name for one in study.subjects], styles(study)
    axes = panels(figure, len(groups))
    for panel, (group, errors) in zip(axes, groups.items(), strict=True):
        places = [names.index(one.subject) for one in errors]
        panel.plot(places, [one.mean for one in errors], color=GRAY, lw=1.2, zorder=1)
        for place, one in zip(places, errors, strict=True):
            style = looks[one.subject]
            panel.plot(place, one.mean, style.marker, ms=6, color=style.color)
        panel.set_title(group.capitalize())
        panel.set_ylabel(f"MAE ({errors[0].unit})")
        panel.set_ylim(0.0, 1.1 * panel.get_ylim()[1])
        panel.set_xlim(-0.3, len(names) - 0.7)
        ticks = [plain(name, 14) for name in names]
        panel.set_xticks(range(len(names)), ticks, rotation=30, ha="right")
        panel.grid(axis="y", color=GRAY, lw=0.4, alpha=0.6)
