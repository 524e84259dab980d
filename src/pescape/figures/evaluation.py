"""Figures of errors: models on each other's test sets, and a fit on its way and at its end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from pescape.calculators.fit.errors import stated
from pescape.figures.style import BLUE, INK, ORANGE, figure_file, plain_logarithm

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from matplotlib.axes import Axes
    from matplotlib.collections import QuadMesh
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from pescape.calculators.fit.cross import CrossEvaluation
    from pescape.calculators.fit.errors import Differences

    Floats = NDArray[np.float64]
    Points = tuple[Floats, Floats]

_MEASURES = (
    ("energy_mae", "energy MAE, meV/atom"),
    ("force_mae", "force MAE, eV/Å"),
    ("angle_mae", "force angle MAE, degrees"),
    ("energy_rmse", "energy RMSE, meV/atom"),
    ("force_rmse", "force RMSE, eV/Å"),
    ("angle_rmse", "force angle RMSE, degrees"),
)
# Bins of an axis: more of them where there are more points.
_MIN_BINS, _MAX_BINS = 20, 60
# Forces (eV/Å) and their errors that are smaller stand in the first bin of a logarithmic axis.
_MIN_FORCE = 1e-3
# Share of the atoms whose forces the angles' figure covers: the paper crops at 2.3 eV/Å.
_SHARE_OF_ANGLES = 0.9


def draw_cross_evaluation(found: CrossEvaluation, path: Path | str) -> None:
    """Draw heat maps: a row for each model, a column for each test set; the best on each in bold.

    Parameters
    ----------
    found
        What was evaluated.
    path
        A PNG, PDF or SVG file.
    """
    width, height = 1.6 + 0.75 * len(found.tests), 1.2 + 0.5 * len(found.models)
    with figure_file(path, (3 * width, 2 * height)) as figure:
        for axes, (name, title) in zip(figure.subplots(2, 3).flat, _MEASURES, strict=True):
            _draw_heat_map(axes, found, name, title)


def _draw_heat_map(axes: Axes, found: CrossEvaluation, name: str, title: str) -> None:
    values = np.array(
        [
            [
                np.nan if (value := getattr(found[model, test], name)) is None else value
                for test in found.tests
            ]
            for model in found.models
        ]
    )
    axes.set_title(title, loc="left")
    axes.imshow(values, cmap="Blues", vmin=0.0, aspect="auto")
    middle = 0.6 * np.nanmax(values) if np.isfinite(values).any() else 0.0
    for (row, column), value in np.ndenumerate(values):
        one = found[found.models[row], found.tests[column]]
        text = stated(one, name).replace(" ± ", "\n± ")
        color = "white" if value > middle else INK
        weight = "bold" if name in one.best else "normal"
        axes.text(
            column,
            row,
            text,
            ha="center",
            va="center",
            color=color,
            fontsize=7.5,
            fontweight=weight,
            linespacing=1.0,
        )
    axes.set_xticks(range(len(found.tests)), found.tests)
    axes.set_yticks(range(len(found.models)), found.models)
    axes.set_xlabel("test set")
    axes.set_ylabel("trained on")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def draw_error_maps(
    found: CrossEvaluation, what: Literal["energy", "force", "angle"], path: Path | str
) -> None:
    """Draw how often which error occurs: a row for each model, a column for each set.

    The columns are the model's own training set, where it was given, and all test sets; colors
    are logarithms of counts.

    Parameters
    ----------
    found
        What was evaluated.
    what
        "energy": errors against the labels, per atom (their figure 11). "force": each atom's
        root mean square error against the length of its force (12). "angle": between forces,
        against the length of the label, in polar coordinates (13).
    path
        A PNG, PDF or SVG file.
    """
    draw = {"energy": _draw_energies, "force": _draw_forces, "angle": _draw_angles}[what]
    training = {test for _, test in found.differences} - set(found.tests)
    columns = [*training, *found.tests[:-1]]  # the last one is all test sets together
    polar = what == "angle"
    size = (1.6 + 2.2 * len(columns), 0.6 + (1.5 if polar else 1.9) * len(found.models))
    with figure_file(path, size) as figure:
        panels = figure.subplots(
            len(found.models),
            len(columns),
            squeeze=False,
            sharex=not polar,
            sharey=not polar,
            subplot_kw={"projection": "polar"} if polar else {},
        )
        grid = {
            (model, test): panels[row, column]
            for row, model in enumerate(found.models)
            for column, test in enumerate(columns)
        }
        for (model, test), axes in grid.items():
            axes.set_title(f"{model}, {test}" if test in training else f"{model} on {test}")
        meshes = draw(grid, found)
        _share_colors(figure, meshes)
        _name_axes(figure, what)


def _name_axes(figure: Figure, what: str) -> None:
    horizontal, vertical = {
        "energy": ("reference energy, eV/atom", "energy error, meV/atom"),
        "force": ("length of the reference force, eV/Å", "force error (RMS), eV/Å"),
        "angle": ("radius: length of the reference force, eV/Å; angle: force angle error", ""),
    }[what]
    figure.supxlabel(horizontal, fontsize=9)
    figure.supylabel(vertical, fontsize=9)


def _bins(points: dict[tuple[str, str], Points]) -> int:
    most = max(len(x) for x, _ in points.values())
    return int(np.clip(2.0 * np.sqrt(most), _MIN_BINS, _MAX_BINS)) + 1


def _points(
    found: CrossEvaluation, take: Callable[[Differences], Points]
) -> dict[tuple[str, str], Points]:
    return {pair: take(one) for pair, one in found.differences.items()}


def _draw_energies(grid: dict[tuple[str, str], Axes], found: CrossEvaluation) -> list[QuadMesh]:
    from matplotlib.scale import SymmetricalLogTransform

    points = _points(found, lambda one: (one.energies, one.energy_errors))
    labels = np.concatenate([x for x, _ in points.values()])
    errors = np.abs(np.concatenate([y for _, y in points.values()]))
    # Linear up to about the typical error, logarithmic beyond: models fail by orders elsewhere.
    linear = 10.0 ** np.ceil(np.log10(max(float(np.median(errors)), 1e-6)))
    scale = SymmetricalLogTransform(10.0, linear, 1.0)
    most = float(scale.transform(np.array([1.01 * max(errors.max(), linear)]))[0])
    rows = scale.inverted().transform(np.linspace(-most, most, _bins(points)))
    columns = np.linspace(labels.min() - 1e-6, labels.max() + 1e-6, _bins(points))
    meshes = []
    for pair, axes in grid.items():
        if pair in points:
            meshes.append(_draw_counts(axes, *points[pair], columns, rows))
        axes.set_yscale("symlog", linthresh=linear)
        axes.axhline(0.0, color=INK, lw=0.5)
    return meshes


def _draw_forces(grid: dict[tuple[str, str], Axes], found: CrossEvaluation) -> list[QuadMesh]:
    def lengths(one: Differences) -> Points:
        return np.linalg.norm(one.forces, axis=1), np.sqrt(np.mean(one.force_errors**2, axis=1))

    points = _points(found, lengths)
    edges = []
    for axis in (0, 1):
        values = np.concatenate([one[axis] for one in points.values()])
        most = max(float(values.max()), 10.0 * _MIN_FORCE)
        edges.append(np.geomspace(_MIN_FORCE, 1.01 * most, _bins(points)))
    meshes = []
    for pair, axes in grid.items():
        if pair in points:
            x, y = (np.maximum(one, _MIN_FORCE) for one in points[pair])
            meshes.append(_draw_counts(axes, x, y, *edges))
        axes.set_xscale("log")
        axes.set_yscale("log")
        # An error as large as the force itself.
        axes.axline((1.0, 3.0**-0.5), (2.0, 2.0 * 3.0**-0.5), color=INK, lw=0.5)
    return meshes


def _draw_angles(grid: dict[tuple[str, str], Axes], found: CrossEvaluation) -> list[QuadMesh]:
    def turns(one: Differences) -> Points:
        known = np.isfinite(one.angles)
        return np.radians(one.angles[known]), np.linalg.norm(one.forces[known], axis=1)

    points = _points(found, turns)
    lengths = np.concatenate([y for _, y in points.values()])
    most = float(np.quantile(lengths, _SHARE_OF_ANGLES)) if len(lengths) else 1.0
    angles, radii = np.linspace(0.0, np.pi, 37), np.linspace(0.0, most, 31)
    meshes = []
    for pair, axes in grid.items():
        if pair in points:
            meshes.append(_draw_counts(axes, *points[pair], angles, radii))
        axes.set_xlim(0.0, np.pi)
        axes.set_ylim(0.0, most)
        axes.set_xticks(np.radians([0, 45, 90, 135, 180]))
        axes.set_yticks([0.5 * most, most], [f"{0.5 * most:.1f}", f"{most:.1f}"])
        axes.tick_params(labelsize=7, pad=0)
        axes.grid(lw=0.3)
    return meshes


def _draw_counts(axes: Axes, x: Floats, y: Floats, columns: Floats, rows: Floats) -> QuadMesh:
    counts, *_ = np.histogram2d(x, y, (columns, rows))
    shown = np.ma.masked_equal(counts.T, 0.0)
    return axes.pcolormesh(columns, rows, shown, cmap="viridis", rasterized=True)


def _share_colors(figure: Figure, meshes: list[QuadMesh]) -> None:
    """Set one logarithmic scale of colors for all panels."""
    from matplotlib.colors import LogNorm

    counts: list[Floats] = [np.ma.filled(np.ma.asarray(mesh.get_array()), 1.0) for mesh in meshes]
    norm = LogNorm(1.0, max([10.0, *(float(one.max()) for one in counts)]))
    for mesh in meshes:
        mesh.set_norm(norm)
    if meshes:
        figure.colorbar(meshes[0], ax=figure.axes, label="count", shrink=0.8, pad=0.01)


def draw_fit(
    history: Sequence[Mapping[str, float]], found: Mapping[str, Differences], path: Path | str
) -> None:
    """Draw errors after each iteration, and predictions against labels.

    Parameters
    ----------
    history
        One mapping for each iteration with ``energy_rmse`` (meV/atom), ``force_rmse`` (eV/Å) and
        the same of the validation configurations, NaN where there are none.
    found
        Labels and errors of the result by name of the data, at most two: training and test.
    path
        A PNG, PDF or SVG file.
    """
    with figure_file(path, (7.2, 6.2)) as figure:
        panels = figure.subplots(2, 2)
        _draw_errors(panels[0, 0], history, "energy_rmse", "Energy error (RMSE, meV/atom)")
        _draw_errors(panels[0, 1], history, "force_rmse", "Force error (RMSE, eV/Å)")
        _draw_parities(panels[1], found)


def draw_loss(history: Sequence[float], found: Mapping[str, Differences], path: Path | str) -> None:
    """Draw the loss after each iteration, and predictions against labels.

    Parameters
    ----------
    history
        The loss, eV².
    found
        Labels and errors of the result by name of the data, at most two: training and test.
    path
        A PNG, PDF or SVG file.
    """
    with figure_file(path, (10.0, 3.2)) as figure:
        panels = figure.subplots(1, 3)
        panels[0].set_title("Loss (eV²)")
        positive = np.where(np.array(history) > 0.0, history, np.nan)
        panels[0].plot(np.arange(1, len(history) + 1), positive, color=BLUE, lw=1.2)
        if np.isfinite(positive).any():
            panels[0].set_yscale("log")
        panels[0].set_xlabel("iteration")
        _draw_parities(panels[1:], found)


def _draw_errors(axes: Axes, history: Sequence[Mapping[str, float]], key: str, title: str) -> None:
    axes.set_title(title)
    axes.set_yscale("log")
    iterations = np.arange(1, len(history) + 1)
    for name, color, column in (
        ("training", BLUE, key),
        ("validation", ORANGE, f"validation_{key}"),
    ):
        values = np.array([one[column] for one in history], dtype=float)
        if np.isfinite(values).any():
            axes.plot(iterations, values, color=color, lw=1.2, label=name)
    plain_logarithm(axes.yaxis, (1.0, 2.0, 5.0))
    axes.set_xlabel("iteration")
    axes.legend()


def _draw_parities(panels: Sequence[Axes], found: Mapping[str, Differences]) -> None:
    """Draw predicted against labeled energies and forces in two panels."""
    energies = {name: (one.energies, one.energy_errors / 1000.0) for name, one in found.items()}
    forces = {name: (one.forces.ravel(), one.force_errors.ravel()) for name, one in found.items()}
    _draw_parity(panels[0], energies, "Energy (eV/atom)")
    _draw_parity(panels[1], forces, "Force component (eV/Å)")


def _draw_parity(axes: Axes, points: Mapping[str, Points], title: str) -> None:
    axes.set_title(title)
    for (name, (label, error)), color in zip(points.items(), (BLUE, ORANGE), strict=False):
        axes.plot(label, label + error, ".", ms=2.5, color=color, label=name, rasterized=True)
    low = min(float(label.min()) for label, _ in points.values())
    high = max(float(label.max()) for label, _ in points.values())
    axes.axline(
        (low, low),
        (high, high) if high > low else None,
        slope=None if high > low else 1,
        color=INK,
        lw=0.6,
        zorder=0,
    )
    axes.set_xlabel("reference")
    axes.set_ylabel("potential")
    axes.legend(markerscale=3)
