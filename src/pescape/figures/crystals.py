"""Elastic constants beside those of the references.

Energy-volume curves of all phases, a panel for each potential.

Phases against the first one, and what holds them together.

Dispersion of phonons along the path, and their density of states beside it.
"""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING

import numpy as np

from pescape.figures.bars import draw_bars
from pescape.figures.base import WIDTH, Drawing, legend, panels, panels_size, plain, stem
from pescape.figures.curves import draw_curves
from pescape.figures.style import COLORS, GREY, INK

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from pescape.figures.base import Scene
    from pescape.validation.property import Curve

    Floats = NDArray[np.float64]


_MODULI = {"bulk_modulus": "bulk", "shear_modulus": "shear"}


def draw_elastic(scene: Scene) -> list[Drawing]:
    """Draw the constants and the moduli of a polycrystal."""
    labels = {name: name for name in scene.units if re.fullmatch(r"C\d\d", name)}
    return draw_bars(scene, labels | _MODULI, what="elastic constant (GPa)", name="constants")


def draw_eos(scene: Scene) -> list[Drawing]:
    """Draw what tells which phase is stable at which volume, as by everyone."""
    return [
        Drawing(
            stem(scene.title, "curves"),
            "Energy against volume of each phase, above the lowest of the first one, as found by "
            + ", ".join(one.name for one in scene.series),
            panels_size(len(scene.series)),
            functools.partial(_draw, scene=scene),
        )
    ]


def _draw(figure: Figure, scene: Scene) -> None:
    axes = panels(figure, len(scene.series))
    colors = {phase: COLORS[index % len(COLORS)] for index, phase in enumerate(scene.curve_names)}
    for panel, one in zip(axes, scene.series, strict=True):
        base = min(float(curve.y.min()) for curve in list(one.result.curves.values())[:1])
        for phase, curve in one.result.curves.items():
            panel.plot(
                curve.x,
                1000.0 * (curve.y - base),
                "o-",
                ms=2.5,
                lw=1.2,
                color=colors[phase],
                label=plain(phase),
            )
            panel.set_xlabel(plain(curve.x_label))
        panel.set_title(plain(one.name, 26))
        panel.set_ylabel("energy (meV/atom)")
    for panel in axes[1:]:
        panel.sharey(axes[0])
    axes[0].autoscale()
    legend(figure, axes)


_SHOWN = {
    "relative": "energy above the first phase (meV/atom)",
    "cohesive": "cohesive energy (eV/atom)",
}


def draw_lattice(scene: Scene) -> list[Drawing]:
    """Draw relative and cohesive energies of the phases."""
    drawings = []
    for name, what in _SHOWN.items():
        labels = {
            full: full.removesuffix(f".{name}") for full in scene.units if full.endswith(f".{name}")
        }
        # The first phase's energy above itself says nothing.
        shown = list(labels.items())[1 if name == "relative" else 0 :]
        drawings += draw_bars(scene, dict(shown), what=what, name=name)
    return drawings


# Modes that are less imaginary (THz) are noise about zero.
_REAL = 0.05
_BAND = re.compile(r"(.+)\.band_\d+")


def draw_phonons(scene: Scene) -> list[Drawing]:
    """Draw the bands of each phase, imaginary ones below zero."""
    names = scene.curve_names
    phases = list(dict.fromkeys(found[1] for name in names if (found := _BAND.fullmatch(name))))
    drawings = [
        Drawing(
            stem(scene.title, "bands", phase),
            f"Phonons of {phase}: dispersion and density of states; imaginary frequencies are "
            "drawn below zero",
            (WIDTH, 3.6),
            functools.partial(_draw_phonons, scene=scene, phase=phase),
        )
        for phase in phases
    ]
    others = [n for n in names if not _BAND.fullmatch(n) and not n.endswith(".dos")]
    return drawings + draw_curves(scene, others, name="others")


def _draw_phonons(figure: Figure, scene: Scene, phase: str) -> None:
    bands, density = figure.subplots(1, 2, sharey=True, width_ratios=(4, 1))
    names = [name for name in scene.curve_names if name.startswith(f"{phase}.band_")]
    shared = scene.curves(names[0])[0][1]
    for name in names:
        for one, curve in scene.curves(name):
            bands.plot(
                _aligned(curve, shared),
                curve.y,
                color=one.style.color,
                ls=one.style.line,
                lw=1.1,
                label=plain(one.name),
            )
    for one, curve in scene.curves(f"{phase}.dos"):
        density.plot(curve.y, curve.x, color=one.style.color, ls=one.style.line, lw=1.1)
        density.set_xlabel("DOS (1/THz/atom)")
    bands.set_ylabel(plain(shared.y_label))
    bands.set_xlim(shared.x[0], shared.x[-1])
    bands.set_xticks([x for x, _ in shared.marks], [plain(name) for _, name in shared.marks])
    for x, _ in shared.marks:
        bands.axvline(x, color=GREY, lw=0.6, zorder=0)
    low = min(float(curve.y.min()) for name in names for _, curve in scene.curves(name))
    for axes in (bands, density):
        _shade_imaginary(axes, 1.1 * low if low < -_REAL else 0.0)
    density.set_xlim(left=0.0)
    legend(figure, [bands], scene.order)


def _aligned(curve: Curve, shared: Curve) -> Floats:
    """Stretch a path so that its special points are where another's are.

    Paths of potentials with other lattice parameters have other lengths.
    """
    own, others = ([x for x, _ in one.marks] for one in (curve, shared))
    return np.interp(curve.x, own, others) if len(own) == len(others) > 1 else curve.x


def _shade_imaginary(axes: Axes, low: float) -> None:
    axes.axhline(0.0, color=INK, lw=0.7, zorder=1)
    axes.axhspan(low, 0.0, color="#fbeae8", lw=0, zorder=-2)
    axes.set_ylim(bottom=low)
