"""``pescape diversity``."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 (typer reads the annotations)
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    from ase import Atoms

    from pescape.sampling.diversity.results import Comparison, Diversity


def diversity(
    sets: Annotated[
        list[str],
        typer.Argument(
            metavar="SETS", help="Data sets as NAME=FILE or FILE; or one file of several samplers."
        ),
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder to write to.")],
    baseline: Annotated[
        str | None, typer.Option(help="Set of diversity one; 'md' or the first by default.")
    ] = None,
    descriptors: Annotated[
        Literal["paper", "moments"],
        typer.Option(help="Table I of Waters and Rondinelli, or moment tensors."),
    ] = "paper",
    cutoff: Annotated[float, typer.Option(min=0.1, help="Of the descriptors, Å.")] = 7.0,
    scaling: Annotated[
        Literal["minmax", "deviation"], typer.Option(help="What descriptors are scaled to.")
    ] = "minmax",
    resamples: Annotated[int, typer.Option(min=10, help="Bootstrap replicates.")] = 400,
    seed: Annotated[int, typer.Option(min=0, help="Of the bootstrap.")] = 0,
) -> None:
    """Diversity of data sets: spread of the descriptors over that of a baseline.

    At all images, at equal force calls, and at matched energies above the start, by
    histogram and by mean; error bars by bootstrap over trajectories. Beside it stand the
    mean energy above the start, the diversity within starts (around the mean of the images
    from one start) and how many trajectories remain in effect under the weights. Writes
    diversity.json and diversity.png.

    Example: `pescape diversity sampled/train.xyz sampled/test.xyz -o diversity` compares the
    samplers of a campaign; files given as NAME=FILE are a set each.
    """
    from pescape.cli.output import save_json, say
    from pescape.data.configurations import species_of
    from pescape.figures.sampling import draw_diversity
    from pescape.sampling.diversity import measure_diversity
    from pescape.sampling.diversity.data import sampled_sets
    from pescape.sampling.diversity.results import DiversitySettings

    read, files = _read(sets)
    if baseline is None:
        baseline = "md" if "md" in read else next(iter(read))
    describe = _descriptors(descriptors, read, cutoff)
    elements = species_of([atoms for frames in read.values() for atoms in frames])
    say(f"{descriptors} descriptors within {cutoff:g} Å for {' '.join(elements)}")
    settings = DiversitySettings(scaling=scaling, resamples=resamples, seed=seed)
    found = measure_diversity(sampled_sets(read), describe, baseline, settings)
    for comparison in found.comparisons:
        print_comparison(comparison)
    for reason in found.missing:
        say(f"not compared: {reason}")
    _tell_axes(found)
    output.mkdir(parents=True, exist_ok=True)
    told = {"descriptors": descriptors, "cutoff": cutoff}
    save_json(output / "diversity.json", {**told, **found.summary()}, files)
    draw_diversity(found, output / "diversity.png")
    say(f"{output / 'diversity.png'}")


def _read(given: Sequence[str]) -> tuple[dict[str, list[Atoms]], list[Path]]:
    from pescape.cli.output import read_sets
    from pescape.errors import DataError

    read, files = read_sets(given)
    if len(read) < 2:
        raise DataError(
            f"all images are of one data set, {next(iter(read))!r}: diversity compares several "
            "files, or the samplers that images name in their info"
        )
    return read, files


def _descriptors(
    kind: str, read: dict[str, list[Atoms]], cutoff: float
) -> Callable[[Atoms], np.ndarray]:
    import math

    from pescape.data.configurations import species_of
    from pescape.plugins.structures import shortest_distance
    from pescape.sampling.diversity.axes import (
        moment_descriptors,
        waters_rondinelli_descriptors,
    )

    frames = [atoms for some in read.values() for atoms in some]
    if kind == "paper":
        return waters_rondinelli_descriptors(species_of(frames), cutoff=cutoff)
    shortest = min(shortest_distance(atoms) for atoms in frames)
    least = math.floor(10.0 * shortest) / 10.0 if math.isfinite(shortest) else 1.0
    return moment_descriptors(species_of(frames), cutoff=cutoff, min_dist=least)


def print_comparison(comparison: Comparison) -> None:
    """Print the table of a comparison.

    Parameters
    ----------
    comparison
        Of the diversity of several data sets.
    """
    from pescape.cli.output import say, table

    rows = []
    for one in comparison.sets:
        row: list[object] = [one.name, one.images, one.calls]
        row.append(None if one.mean_energy is None else f"{one.mean_energy:.3f}")
        row.append(f"{one.ratio:.2f} ± {one.error:.2f}")
        row.append(f"{one.within_ratio:.2f} ± {one.within_error:.2f}")
        row.append(f"{one.effective_trajectories:.0f}/{one.trajectories}")
        if one.seed_error is not None:
            mean = sum(one.seed_ratios.values()) / len(one.seed_ratios)
            row.append(f"{mean:.2f} ± {one.seed_error:.2f}")
        rows.append(row)
    columns = ["", "images", "calls", "eV/\natom", "diversity", "within\nstarts", "traj."]
    if len(rows[0]) > len(columns):
        columns.append("mean of\nseeds")
    say("")
    table(f"{comparison.kind}: {comparison.statement}", columns, rows)
    if comparison.support is not None:
        names = (one.name for one in comparison.sets)
        shares = zip(names, comparison.support, strict=True)
        say("images within: " + ", ".join(f"{name} {share:.0%}" for name, share in shares))
    if comparison.failed:
        say(f"{comparison.failed} replicates lack an element or matching energies: left out")


def _tell_axes(found: Diversity) -> None:
    from pescape.cli.output import say

    for one in found.elements:
        worst = max(one.axes_difference.values())
        pairs = ", ".join(
            f"{name} {one.captured[name]:.1%} ({one.captured_by_own[name]:.1%})"
            for name in one.captured
        )
        say(
            f"{one.element}: {one.descriptors} descriptors ({one.constant} constant); norms over "
            f"joint and own axes differ by at most {worst:.0e}; the first "
            f"{len(one.joint_variances)} joint axes hold (as many own axes): {pairs}"
        )
