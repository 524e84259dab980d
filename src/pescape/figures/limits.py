"""The figure of energy and force limits: wells, and the beak of energy against force."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from pescape.plugins.structures.limits import EnergyForceLimits, PairLimits

_COLOURS = (
    *("#2f6db3", "#e07b39", "#3a8f5c", "#9a5fb5", "#b23b3b"),
    *("#6b7280", "#c2a12b", "#2aa5a0", "#d46a9f", "#7a5230"),
)


def plot_limits(limits: EnergyForceLimits, path: Path | str | None = None) -> Figure:
    """Draw energy against distance and, beside it, energy against force.

    Dashed lines lead from the height on each pair's wall to the force there.

    Parameters
    ----------
    limits
        From `force_energy_limits`.
    path
        A PNG, PDF or SVG file to write.

    Returns
    -------
    Figure
        Of matplotlib, bound to no window.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.6, 3.8), dpi=160, layout="constrained")
    FigureCanvasAgg(figure)
    wells, beak = figure.subplots(1, 2, sharey=True)
    bound = [pair for pair in limits.pairs if pair.binding_energy is not None]
    for index, pair in enumerate(bound):
        _draw_pair(wells, beak, pair, _COLOURS[index % len(_COLOURS)])
    depths = [pair.binding_energy or 0.0 for pair in bound] or [1.0]
    forces = [pair.force_limit for pair in bound if pair.force_limit is not None] or [1.0]
    wells.set_ylim(-1.15 * max(depths), 1.5 * max(limits.multiple - 1.0, 0.3) * max(depths))
    wells.set_xlim(0.4, 2.5)
    beak.set_xlim(-0.02 * max(forces), 1.25 * max(forces))
    wells.set_xlabel("Distance / equilibrium distance")
    wells.set_ylabel("Energy relative to isolated atoms (eV)")
    beak.set_xlabel("Magnitude of the force (eV/Å)")
    if bound:
        figure.legend(loc="outside right upper", frameon=False, fontsize=8)
    for axes in (wells, beak):
        axes.axhline(0.0, color="#b9bec6", lw=0.8, zorder=0)
        axes.spines[["top", "right"]].set_visible(False)
    if path is not None:
        figure.savefig(path)
    return figure


def _draw_pair(wells: Axes, beak: Axes, pair: PairLimits, colour: str) -> None:
    from scipy.interpolate import CubicHermiteSpline

    curve = CubicHermiteSpline(pair.distances, pair.energies, -np.array(pair.forces))
    fine = np.linspace(pair.distances[0], pair.distances[-1], 1000)
    equilibrium, depth = pair.equilibrium_distance or 1.0, pair.binding_energy or 0.0
    label = f"{pair.name}  {depth:.2f} eV, {equilibrium:.3f} Å"
    if pair.force_limit is not None:
        label += f", {pair.force_limit:.1f} eV/Å"
    wells.plot(fine / equilibrium, curve(fine), color=colour, lw=1.5, label=label)
    beak.plot(np.abs(curve.derivative()(fine)), curve(fine), color=colour, lw=1.5)
    if pair.force_limit is None or pair.energy_limit is None or pair.distance_limit is None:
        return
    height, force = pair.energy_limit, pair.force_limit
    for axes, across, up in (
        (wells, [pair.distance_limit / equilibrium, 2.5], [height, height]),
        (beak, [0.0, force, force], [height, height, -depth]),
    ):
        axes.plot(across, up, color=colour, lw=0.9, ls="--")
