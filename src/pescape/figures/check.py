"""The figure of a potential's check: strained crystals, pushed pairs, constants, packings."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pescape.figures.style import (
    BLUE,
    COLORS,
    GRAY,
    GREEN,
    INK,
    ORANGE,
    RED,
    WIDTH,
    figure_file,
    plain,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from matplotlib.axes import Axes

    from pescape.validation.check.findings import (
        CheckReport,
        CrystalFinding,
        PackingFinding,
        PushFinding,
    )

# Energies of a panel reach this, eV/atom and eV, linear up to the latter's second.
_TOP_ENERGY, _LINEAR = 0.6, 1.0
# Energies (eV/atom) below the data that the packings' panel shows, at most and at least.
_DEEPEST, _SHALLOWEST = 20.0, 1.5
_LEGEND_SIZE = 6.5
_MOST_LABELS = 8


def draw_check(report: CheckReport, path: Path | str) -> None:
    """Draw what a check has found: four panels.

    Parameters
    ----------
    report
        Of the check.
    path
        A PNG, PDF or SVG file.
    """
    with figure_file(path, (WIDTH, 6.4)) as figure:
        axes = figure.subplots(2, 2)
        _draw_volumes(axes[0, 0], report.crystals)
        _draw_pushes(axes[0, 1], report.pushes)
        _draw_constants(axes[1, 0], report.crystals)
        _draw_packings(axes[1, 1], report.packings)


def _empty(axes: Axes, text: str) -> None:
    axes.text(0.5, 0.5, text, ha="center", va="center", color=INK, transform=axes.transAxes)
    axes.set_xticks([])
    axes.set_yticks([])


def _draw_volumes(axes: Axes, crystals: Sequence[CrystalFinding]) -> None:
    axes.set_title("energy against volume")
    drawn = [one for one in crystals if len(one.volumes)]
    if not drawn:
        _empty(axes, "the data holds no crystals")
        return
    top = 0.02
    for one, color in zip(drawn, COLORS, strict=False):
        axes.plot(one.volumes, one.energies, color=color, lw=1.3, label=plain(one.name))
        # Both count from the reference frame, which is not quite at the curve's minimum.
        base = float(np.interp(one.reference_volume, one.volumes, one.energies))
        axes.plot(one.frame_volumes, one.frame_data + base, "o", color=INK, ms=3.2, mfc="none")
        axes.plot(one.frame_volumes, one.frame_energies + base, "+", color=color, ms=4.0)
        top = max(top, float(np.max(one.frame_data, initial=0.0)), float(np.median(one.energies)))
    axes.plot([], [], "o", color=INK, ms=3.2, mfc="none", label="strained frames: data")
    axes.plot([], [], "+", color=INK, ms=4.0, label="strained frames: potential")
    top = min(1.3 * top, _TOP_ENERGY)
    axes.set_ylim(-0.1 * top, top)
    axes.set_xlabel("volume (Å³/atom)")
    axes.set_ylabel("energy (eV/atom)")
    axes.legend(fontsize=_LEGEND_SIZE)


def _draw_pushes(axes: Axes, pushes: Sequence[PushFinding]) -> None:
    axes.set_title("pairs pushed together")
    if not pushes:
        _empty(axes, "nothing could be computed")
        return
    pairs = list(dict.fromkeys(one.pair for one in pushes))
    for one in pushes:
        color = COLORS[pairs.index(one.pair) % len(COLORS)]
        line = ":" if one.where == "vacuum" else "--" if one.where.startswith("frame") else "-"
        label = f"{'–'.join(one.pair)}, {one.where}" if len(pushes) <= _MOST_LABELS else None
        axes.plot(one.distances, one.energies, color=color, ls=line, lw=1.2, label=label)
        if one.falls_at is not None:
            height = float(np.interp(one.falls_at, one.distances, one.energies))
            axes.plot(one.falls_at, height, "v", color=RED, ms=6)
    for pair in pairs:
        color = COLORS[pairs.index(pair) % len(COLORS)]
        nearest = next(one.nearest for one in pushes if one.pair == pair)
        label = "–".join(pair) if len(pushes) > _MOST_LABELS else None
        axes.axvline(nearest, color=color, lw=0.6, alpha=0.6, zorder=0, label=label)
    if any(one.falls_at is not None for one in pushes):
        axes.plot([], [], "v", color=RED, ms=6, ls="none", label="falls inside of this")
    axes.set_yscale("symlog", linthresh=_LINEAR)
    axes.set_ylim(min(2.0 * min(float(one.energies.min()) for one in pushes), -_LINEAR))
    axes.set_xlabel("distance (Å); vertical lines: nearest in the data")
    axes.set_ylabel("energy (eV)")
    axes.legend(fontsize=_LEGEND_SIZE)


def _draw_constants(axes: Axes, crystals: Sequence[CrystalFinding]) -> None:
    axes.set_title("elastic constants")
    rows = [
        (f"{name}\n{plain(one.name)}" if len(crystals) > 1 else name, constant)
        for one in crystals
        for name, constant in one.elastic.items()
        if constant.data is not None or constant.relaxed is not None
    ]
    if not rows:
        _empty(axes, "nothing could be computed")
        return
    places = np.arange(len(rows))
    series = (
        ("data", INK, [c.data for _, c in rows], [c.error for _, c in rows]),
        ("potential, same frames", BLUE, [c.same_frames for _, c in rows], None),
        ("potential, relaxed", ORANGE, [c.relaxed for _, c in rows], None),
    )
    for index, (label, color, values, errors) in enumerate(series):
        heights = np.array([np.nan if one is None else one for one in values])
        bars = None if errors is None else np.array([0.0 if e is None else e for e in errors])
        axes.bar(
            places + 0.28 * (index - 1),
            heights,
            0.26,
            yerr=bars,
            color=color,
            label=label,
            capsize=2,
        )
    axes.axhline(0.0, color=GRAY, lw=0.6)
    axes.set_xticks(places, [name for name, _ in rows], fontsize=8 if len(rows) <= 8 else 5)
    axes.set_ylabel("GPa")
    axes.legend(fontsize=_LEGEND_SIZE)


def _draw_packings(axes: Axes, packings: Sequence[PackingFinding]) -> None:
    axes.set_title("random packings, relaxed")
    known = [one for one in packings if one.energy is not None and np.isfinite(one.energy)]
    if not known:
        _empty(axes, "nothing could be computed")
        return
    highest = max([0.5, *(one.energy or 0.0 for one in known)])
    deepest = min(_DEEPEST, max(_SHALLOWEST, -1.2 * min(one.energy or 0.0 for one in known)))
    for collapsed, color, label in ((False, GREEN, "stays"), (True, RED, "collapses")):
        some = [one for one in known if bool(one.collapsed) == collapsed]
        if some:
            # What is deeper, or has no two atoms near each other, stands at the edge.
            contacts = [min(one.contact, 2.0) for one in some]
            energies = [max(one.energy or 0.0, -deepest) for one in some]
            axes.plot(contacts, energies, "o", color=color, ms=4.5, alpha=0.8, label=label)
    axes.axhline(-1.0, color=GRAY, ls="--", lw=0.9)
    axes.axvline(0.7, color=GRAY, ls="--", lw=0.9)
    axes.set_ylim(-1.08 * deepest, 1.15 * highest)
    axes.set_xlim(0.0, 2.1)
    axes.set_xlabel("closest contact over the nearest distance in the data")
    axes.set_ylabel("energy above the data's lowest (eV/atom)")
    axes.legend(fontsize=_LEGEND_SIZE)
