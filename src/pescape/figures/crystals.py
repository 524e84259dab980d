"""Figures of crystals: lattices, elasticity, phonons, defects, surfaces, melting."""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING

import numpy as np

from pescape.figures.bars import draw_bars
from pescape.figures.curves import draw_curves
from pescape.figures.style import (
    COLORS,
    GRAY,
    INK,
    WIDTH,
    Drawing,
    legend,
    panels,
    panels_size,
    plain,
    stem,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from pescape.figures.style import Scene, Series
    from pescape.validation.property import Curve

    Floats = NDArray[np.float64]

# Labels of values, and of axes.
_MODULI = {"bulk_modulus": "bulk", "shear_modulus": "shear"}
_LATTICE_ENERGIES = {
    "relative": "energy above the first phase (meV/atom)",
    "cohesive": "cohesive energy (eV/atom)",
}
# Modes that are less imaginary (THz) are noise about zero.
_MIN_IMAGINARY = 0.05
_BAND = re.compile(r"(.+)\.band_\d+")
_MELTING_RUN = re.compile(r"(.+)\.solid_\d+_(\d+)K")


def draw_elastic(scene: Scene) -> list[Drawing]:
    """Draw elastic constants and the moduli of a polycrystal.

    Parameters
    ----------
    scene
        The property.
    """
    labels = {name: name for name in scene.units if re.fullmatch(r"C\d\d", name)}
    return draw_bars(scene, labels | _MODULI, what="elastic constant (GPa)", name="constants")


def draw_eos(scene: Scene) -> list[Drawing]:
    """Draw energy against volume of all phases, a panel for each potential.

    Parameters
    ----------
    scene
        The property.
    """
    return [
        Drawing(
            stem(scene.title, "curves"),
            "Energy against volume of each phase, above the lowest of the first one, as found by "
            + ", ".join(one.name for one in scene.series),
            panels_size(len(scene.series)),
            functools.partial(_draw_eos, scene=scene),
        )
    ]


def _draw_eos(figure: Figure, scene: Scene) -> None:
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


def draw_lattice(scene: Scene) -> list[Drawing]:
    """Draw relative and cohesive energies of the phases.

    Parameters
    ----------
    scene
        The property.
    """
    drawings = []
    for name, what in _LATTICE_ENERGIES.items():
        labels = {
            full: full.removesuffix(f".{name}") for full in scene.units if full.endswith(f".{name}")
        }
        # The first phase's energy above itself says nothing.
        shown = list(labels.items())[1 if name == "relative" else 0 :]
        drawings += draw_bars(scene, dict(shown), what=what, name=name)
    return drawings


def draw_phonons(scene: Scene) -> list[Drawing]:
    """Draw dispersion and density of states of each phase, imaginary modes below zero.

    Parameters
    ----------
    scene
        The property.
    """
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
        bands.axvline(x, color=GRAY, lw=0.6, zorder=0)
    low = min(float(curve.y.min()) for name in names for _, curve in scene.curves(name))
    for axes in (bands, density):
        _shade_imaginary(axes, 1.1 * low if low < -_MIN_IMAGINARY else 0.0)
    density.set_xlim(left=0.0)
    legend(figure, [bands], scene.labels)


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


def draw_formation(scene: Scene) -> list[Drawing]:
    """Draw energies of defects in the largest cell as bars by site, and the way there as curves.

    Parameters
    ----------
    scene
        The property.
    """
    drawings = []
    for part, what in (("", "formation energy"), ("binding", "binding energy")):
        labels = {
            name: name.removesuffix(".formation").removesuffix(".binding").replace("_", " ")
            for name in _defect_energies(scene)
            if name.endswith("binding") is bool(part)
        }
        # A single number stands in the table.
        if len(labels) > 1:
            drawings += draw_bars(scene, labels, what=f"{what} (eV)", name=what.replace(" ", "-"))
    return drawings + draw_curves(scene)


def _defect_energies(scene: Scene) -> list[str]:
    """Names of the energies of the largest cell, without the lowest, which is one of them."""
    return [
        name
        for name, unit in scene.units.items()
        if unit == "eV"
        and name != "lowest"
        and not name.endswith("_freed")
        and not name.rsplit("_", 1)[-1].isdigit()  # in a cell of that size
    ]


def draw_surfaces(scene: Scene) -> list[Drawing]:
    """Draw surface energies as bars, with their spread over sizes, and against the thickness.

    Parameters
    ----------
    scene
        The property.
    """
    planes = [name.removesuffix(".energy") for name in scene.units if name.endswith(".energy")]
    labels = {f"{plane}.energy": plane_label(plane) for plane in planes}
    spreads = {f"{plane}.energy": f"{plane}.spread" for plane in planes}
    bars = draw_bars(scene, labels, what="surface energy (J/m²)", name="energy", spreads=spreads)
    return bars + draw_curves(scene, label=plane_label)


def plane_label(title: str) -> str:
    """Plane as people write it: (10-10) for ``10m10``; other titles stay.

    Parameters
    ----------
    title
        Of a surface, within the names of values.
    """
    return f"({title.replace('m', '-')})" if re.fullmatch(r"[m\d]+", title) else title


def draw_melting(scene: Scene) -> list[Drawing]:
    """Draw the velocity of the interface against temperature, and the solid fraction in every run.

    Parameters
    ----------
    scene
        The property.
    """
    phases = [n.removesuffix(".velocity") for n in scene.curve_names if n.endswith(".velocity")]
    if not phases:
        return []
    drawings = [
        Drawing(
            stem(scene.title, "velocity"),
            "Velocity of the interface between crystal and liquid against temperature; the "
            "crystal melts where it is zero",
            panels_size(len(phases), height=3.0),
            functools.partial(_draw_velocities, scene=scene, phases=phases),
        )
    ]
    runs = [
        (phase, one)
        for phase in phases
        for one in scene.series
        if any(name.startswith(f"{phase}.solid_") for name in one.result.curves)
    ]
    if runs:
        drawings.append(
            Drawing(
                stem(scene.title, "runs"),
                "Solid fraction in every run, from the coldest (dark) to the hottest (light)",
                panels_size(len(runs)),
                functools.partial(_draw_runs, runs=runs),
            )
        )
    return drawings


def _draw_velocities(figure: Figure, scene: Scene, phases: Sequence[str]) -> None:
    axes = panels(figure, len(phases))
    for panel, phase in zip(axes, phases, strict=True):
        for one, curve in scene.curves(f"{phase}.velocity"):
            panel.plot(curve.x, curve.y, one.style.marker, ms=4, color=one.style.color)
            panel.set_xlabel(plain(curve.x_label))
            panel.set_ylabel(plain(curve.y_label))
        for one, curve in scene.curves(f"{phase}.fit"):
            found = one.value(f"{phase}.temperature")
            label = plain(one.name if found is None else f"{one.name}, {found:.0f} K")
            panel.plot(curve.x, curve.y, one.style.line, color=one.style.color, label=label)
            for x, _ in curve.marks:
                panel.plot(x, 0.0, "|", ms=14, mew=1.6, color=one.style.color)
        for reference, values in scene.known.items():
            known = values.get(f"{phase}.temperature")
            if known is not None:
                style = scene.styles[reference]
                label = plain(f"{reference}, {known:.0f} K")
                panel.axvline(known, color=style.color, ls=style.line, lw=1.2, label=label)
        panel.axhline(0.0, color=INK, lw=0.7, zorder=0)
        panel.set_title(plain(phase))
        panel.legend(fontsize=7)


def _draw_runs(figure: Figure, runs: Sequence[tuple[str, Series]]) -> None:
    axes = panels(figure, len(runs))
    for panel, (phase, one) in zip(axes, runs, strict=True):
        _draw_fractions(panel, phase, one)
        panel.set_title(plain(f"{phase}, {one.name}", 30))
    legend(figure, axes)


def _draw_fractions(axes: Axes, phase: str, one: Series) -> None:
    from matplotlib import colormaps

    found = [(name, match) for name in one.result.curves if (match := _MELTING_RUN.fullmatch(name))]
    own = sorted((float(match[2]), name) for name, match in found if match[1] == phase)
    for index, (_, name) in enumerate(own):
        curve = one.result.curves[name]
        color = colormaps["plasma"](0.85 * index / max(len(own) - 1, 1))
        axes.plot(curve.x, curve.y, color=color, lw=1.0)
        axes.set_xlabel(plain(curve.x_label))
        axes.set_ylabel(plain(curve.y_label))
    axes.set_ylim(0.0, 1.0)
