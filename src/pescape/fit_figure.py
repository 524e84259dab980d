"""The figures that show a fit: errors or loss on the way, prediction against label at the end."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pescape.calculators.fitting.data import training_set
from pescape.calculators.fitting.loss import residuals
from pescape.plotting import BLUE, INK, ORANGE, drawn

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from ase import Atoms
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from pescape.calculators.activeset import SitePotential

    Floats = NDArray[np.float64]


def draw_fit(
    history: Sequence[Mapping[str, float]],
    potential: SitePotential,
    data: Mapping[str, Sequence[Atoms]],
    path: Path | str,
) -> None:
    """Draw errors after each iteration, and predictions against labels.

    Parameters
    ----------
    history
        One mapping for each iteration with ``energy_rmse`` (meV/atom), ``force_rmse`` (eV/Å) and
        the same of the validation configurations, NaN where there are none.
    potential
        The result.
    data
        Labelled configurations by name, at most two: training and test.
    path
        A PNG, PDF or SVG file.
    """
    with drawn(path, (7.2, 6.2)) as figure:
        panels = figure.subplots(2, 2)
        _draw_errors(panels[0, 0], history, "energy_rmse", "Energy error (RMSE, meV/atom)")
        _draw_errors(panels[0, 1], history, "force_rmse", "Force error (RMSE, eV/Å)")
        _draw_parities(panels[1], potential, data)


def draw_loss(
    history: Sequence[float],
    potential: SitePotential,
    data: Mapping[str, Sequence[Atoms]],
    path: Path | str,
) -> None:
    """Draw the loss after each iteration, and predictions against labels.

    Parameters
    ----------
    history
        The loss.
    potential
        The result.
    data
        Labelled configurations by name, at most two: training and test.
    path
        A PNG, PDF or SVG file.
    """
    with drawn(path, (10.0, 3.2)) as figure:
        panels = figure.subplots(1, 3)
        panels[0].set_title("Loss (eV²)")
        positive = np.where(np.array(history) > 0.0, history, np.nan)
        panels[0].plot(np.arange(1, len(history) + 1), positive, color=BLUE, lw=1.2)
        if np.isfinite(positive).any():
            panels[0].set_yscale("log")
        panels[0].set_xlabel("iteration")
        _draw_parities(panels[1:], potential, data)


def _draw_parities(
    panels: Sequence[Axes], potential: SitePotential, data: Mapping[str, Sequence[Atoms]]
) -> None:
    """Draw predicted against labelled energies and forces in two panels."""
    points = {name: _points(potential, frames) for name, frames in data.items()}
    _draw_parity(panels[0], {k: v[0] for k, v in points.items()}, "Energy (eV/atom)")
    _draw_parity(panels[1], {k: v[1] for k, v in points.items()}, "Force component (eV/Å)")


def _draw_errors(axes: Axes, history: Sequence[Mapping[str, float]], key: str, title: str) -> None:
    from matplotlib.ticker import LogLocator, NullFormatter

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
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0), numticks=20))
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("iteration")
    axes.legend()


def _points(
    potential: SitePotential, frames: Sequence[Atoms]
) -> tuple[tuple[Floats, Floats], tuple[Floats, Floats]]:
    """Labels and errors of energies per atom, and of force components."""
    found = training_set(frames, potential.species, potential.cutoff)
    delta = residuals(potential, found)
    energies = found.energies / found.sizes, delta.energies / found.sizes
    return energies, (found.forces.ravel(), delta.forces.ravel())


def _draw_parity(axes: Axes, points: Mapping[str, tuple[Floats, Floats]], title: str) -> None:
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
