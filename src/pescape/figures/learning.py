"""Figures of learning: rounds and levels of a campaign, and learning curves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pescape.figures.style import BLUE, COLORS, GRAY, GREEN, ORANGE, figure_file, plain_logarithm

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from matplotlib.axes import Axes

    from pescape.ensemble.learning_curve import CurvePoint, LearningCurve
    from pescape.learning.records import LevelSummary, Round


# Errors that differ by a larger factor are drawn on a logarithmic axis.
_MAX_LINEAR_RATIO = 30.0


def draw_rounds(
    rounds: Sequence[Round], path: Path | str, *, select: float, stop: float | None = None
) -> None:
    """Draw what each round met, what it learned and how well the potential did.

    Parameters
    ----------
    rounds
        Of the campaign, in order.
    path
        A PNG, PDF or SVG file.
    select, stop
        The guard's thresholds.
    """
    with figure_file(path, (7.0, 8.4)) as figure:
        panels = figure.subplots(4, 1, sharex=True)
        _draw_grades(panels[0], rounds, select, stop)
        _draw_found(panels[1], rounds)
        _draw_errors(
            panels[2],
            rounds,
            "Energy error (RMSE, meV/atom)",
            ("energy_rmse", "surprise_energy", "test_energy_rmse"),
        )
        _draw_errors(
            panels[3],
            rounds,
            "Force error (RMSE, eV/Å)",
            ("force_rmse", "surprise_force", "test_force_rmse"),
        )
        for panel in panels:
            _mark_levels(panel, rounds, named=panel is panels[0])
        panels[-1].set_xlabel("round")
        panels[-1].set_xticks([one.number for one in rounds])
        panels[-1].set_xlim(-0.6, rounds[-1].number + 0.6)


def _draw_grades(axes: Axes, rounds: Sequence[Round], select: float, stop: float | None) -> None:
    """Draw the largest grade that the MD met."""
    run = [(one, one.largest_grade) for one in rounds if one.largest_grade is not None]
    axes.set_title("Largest extrapolation grade met in MD (green: a round without risk)")
    axes.set_yscale("log")
    for value, name in ((select, "risky"), (stop, "run ends")):
        if value is not None:
            axes.axhline(value, color=GRAY, lw=1, ls="--", zorder=0)
            axes.annotate(
                f"{name} > {value:g}",
                (1.0, value),
                xycoords=("axes fraction", "data"),
                ha="right",
                va="bottom",
                fontsize=8,
                color="#7b828c",
            )
    axes.plot([one.number for one, _ in run], [g for _, g in run], color=GRAY, lw=1, zorder=1)
    for risky, color in ((True, ORANGE), (False, GREEN)):
        some = [(one.number, grade) for one, grade in run if (one.risky > 0) is risky]
        axes.plot([n for n, _ in some], [grade for _, grade in some], "o", ms=5.5, color=color)
    low = min([select, *(grade for _, grade in run)])
    high = max([stop or select, *(grade for _, grade in run)])
    axes.set_ylim(low / 1.6, high * 2.5)
    plain_logarithm(axes.yaxis, (1.0, 2.0, 5.0) if high < 200.0 * low else (1.0,))


def _draw_found(axes: Axes, rounds: Sequence[Round]) -> None:
    """Draw how many risky configurations there were and how many got a label."""
    width = 0.36
    axes.set_title("Configurations")
    bars = [
        ("found risky", GRAY, -width / 2, [one.risky for one in rounds]),
        ("labelled", BLUE, width / 2, [one.labelled for one in rounds]),
    ]
    axes.set_yscale("log")
    for name, color, shift, values in bars:
        shown = [(one.number + shift, v) for one, v in zip(rounds, values, strict=True) if v]
        if not shown:
            continue
        axes.bar(
            [x for x, _ in shown],
            [value - 0.5 for _, value in shown],
            width,
            bottom=0.5,
            color=color,
            label=name,
        )
        for x, value in shown:
            axes.annotate(
                str(value),
                (x, value),
                xytext=(0, 1),
                textcoords="offset points",
                ha="center",
                fontsize=7,
            )
    most = max(max(one.risky, one.labelled) for one in rounds)
    axes.set_ylim(0.5, 8 * max(most, 2))
    plain_logarithm(axes.yaxis, (1.0,))
    axes.legend(loc="upper right", ncols=2)


def _draw_errors(
    axes: Axes, rounds: Sequence[Round], title: str, quantities: tuple[str, str, str]
) -> None:
    """Draw errors on the data, on new labels before they were learned, and on a test set."""
    axes.set_title(title)
    series = (
        ("data set, after the fit", "o-", BLUE, 4.0),
        ("new configurations, before it", "^", ORANGE, 5.5),
        ("snapshots of safe MD, never trained on", "D", GREEN, 5.5),
    )
    known = []
    for quantity, (name, marker, color, size) in zip(quantities, series, strict=True):
        points = [(one.number, e) for one in rounds if (e := getattr(one, quantity)) is not None]
        known += [error for _, error in points if error]
        if points:
            axes.plot(
                *zip(*points, strict=True),
                marker,
                color=color,
                ms=size,
                lw=1.2,
                label=name,
                clip_on=False,
            )
            _draw_bars(axes, [(one.number, one) for one in rounds], quantity, color)
    if max(known) > _MAX_LINEAR_RATIO * min(known):
        axes.set_yscale("log")
        axes.set_ylim(min(known) / 1.6, 6.0 * max(known))
        plain_logarithm(axes.yaxis, (1.0,))
    else:
        axes.set_ylim(0, axes.get_ylim()[1] * 1.25)
    axes.legend(loc="upper right", ncols=3, columnspacing=1.0, handletextpad=0.3)


def _draw_bars(
    axes: Axes,
    points: Iterable[tuple[float, Round | LevelSummary | CurvePoint]],
    quantity: str,
    color: str,
) -> None:
    """Draw the standard errors of a quantity, where they are known, at given places."""
    for x, one in points:
        error = getattr(one, f"{quantity}_error", None)
        if error is not None:
            value = getattr(one, quantity)
            # On a logarithmic axis a bar that reaches 0 reaches the frame.
            low = max(value - error, 1e-3 * value)
            axes.plot([x, x], [low, value + error], "-", color=color, lw=0.9)


def _mark_levels(axes: Axes, rounds: Sequence[Round], *, named: bool) -> None:
    """Shade every second level."""
    levels = sorted({one.level for one in rounds})
    for index, level in enumerate(levels):
        numbers = [one.number for one in rounds if one.level == level]
        begin, end = numbers[0] - 0.5, numbers[-1] + 0.5
        if index % 2:
            axes.axvspan(begin, end, color="#eef3f9", zorder=-1, lw=0)
        if named:
            axes.annotate(
                f"level {level}",
                (begin + 0.1, 0.97),
                xycoords=("data", "axes fraction"),
                va="top",
                fontsize=8.5,
                fontweight="bold",
                color="#5a6472",
            )


def draw_levels(
    levels: Sequence[LevelSummary],
    path: Path | str,
    *,
    fixed: Sequence[LevelSummary] = (),
) -> None:
    """Draw how data set and errors go with the number of parameters.

    The counterpart of figure 2 of Luo et al.: configurations labeled up to each level, by
    the stage that asked for them, and the errors of the level's potential.

    Parameters
    ----------
    levels
        Of the campaign, rising.
    path
        A PNG, PDF or SVG file.
    fixed
        The same levels fitted to the initial data set alone.
    """
    with figure_file(path, (7.0, 7.2)) as figure:
        panels = figure.subplots(3, 1, sharex=True)
        _draw_labels(panels[0], levels)
        for panel, title, quantity in (
            (panels[1], "Energy error (RMSE, meV/atom)", "energy_rmse"),
            (panels[2], "Force error (RMSE, eV/Å)", "force_rmse"),
        ):
            panel.set_title(title)
            _draw_series(panel, levels, "data set of the level", quantity, "o-", BLUE)
            _draw_series(panel, fixed, "initial data set only", quantity, "s--", GRAY)
            _draw_series(panel, levels, "snapshots of safe MD", f"test_{quantity}", "D-", GREEN)
            panel.set_ylim(0, panel.get_ylim()[1] * 1.25)
            panel.legend(loc="upper right", ncols=3, columnspacing=1.0, handletextpad=0.3)
        panels[-1].set_xticks(range(len(levels)))
        panels[-1].set_xticklabels(
            [f"level {one.level}\n{one.parameters} parameters" for one in levels]
        )
        panels[-1].set_xlim(-0.6, len(levels) - 0.4)


def _draw_labels(axes: Axes, levels: Sequence[LevelSummary]) -> None:
    """Stack what each stage has had labeled up to each level."""
    axes.set_title("Configurations in the data set, by the stage that asked for them")
    stages = list(dict.fromkeys(stage for one in levels for stage in one.labelled))
    colors = (GRAY, *COLORS)
    bottom = [0] * len(levels)
    for index, stage in enumerate(stages):
        total, heights = 0, []
        for one in levels:
            total += one.labelled.get(stage, 0)
            heights.append(total)
        color = colors[index % len(colors)]
        axes.bar(range(len(levels)), heights, 0.5, bottom=bottom, color=color, label=stage)
        bottom = [a + b for a, b in zip(bottom, heights, strict=True)]
    for x, height in enumerate(bottom):
        axes.annotate(str(height), (x, height), ha="center", va="bottom", fontsize=8)
    axes.set_ylim(0, 1.3 * max(bottom))
    axes.legend(loc="upper left", ncols=len(stages))


def _draw_series(
    axes: Axes,
    levels: Sequence[LevelSummary],
    name: str,
    quantity: str,
    marker: str,
    color: str,
) -> None:
    values = [getattr(one, quantity) for one in levels]
    points = [(x, value) for x, value in enumerate(values) if value is not None]
    if points:
        axes.plot(*zip(*points, strict=True), marker, color=color, ms=5, lw=1.2, label=name)
        _draw_bars(axes, enumerate(levels), quantity, color)


def draw_learning_curve(curve: LearningCurve, path: Path | str) -> None:
    """Draw errors on the test set and on the training data against its size.

    Parameters
    ----------
    curve
        Of one level or more.
    path
        A PNG, PDF or SVG file.
    """
    with figure_file(path, (7.0, 3.6)) as figure:
        panels = figure.subplots(1, 2)
        _draw_curves(panels[0], curve, "energy_rmse", "Energy error (RMSE, meV/atom)")
        _draw_curves(panels[1], curve, "force_rmse", "Force error (RMSE, eV/Å)")
        panels[0].legend(title="solid: test, dashed: training", title_fontsize=8)


def _draw_curves(axes: Axes, curve: LearningCurve, quantity: str, title: str) -> None:
    axes.set_title(title)
    for index, level in enumerate(curve.levels):
        points = curve.of_level(level)
        sizes = [one.configurations for one in points]
        color = COLORS[index % len(COLORS)]
        name = f"level {level}, {points[0].parameters} parameters"
        tested = [getattr(one, f"test_{quantity}") for one in points]
        axes.plot(sizes, tested, "o-", ms=4, lw=1.2, color=color, label=name)
        _draw_bars(axes, zip(sizes, points, strict=True), f"test_{quantity}", color)
        trained = [getattr(one, quantity) for one in points]
        axes.plot(sizes, trained, "--", lw=0.9, color=color)
    axes.set_xscale("log")
    axes.set_yscale("log")
    ticks = sorted({one.configurations for one in curve.points})
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.set_xticks([], minor=True)
    axes.set_xlabel("configurations")
