"""``pescape sample`` and ``pescape diversity``."""

from __future__ import annotations

import time
from pathlib import Path  # noqa: TC003 (typer reads the annotations)
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from pescape.cli.options import ConfigFile  # noqa: TC001 (typer reads the annotations)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    from ase import Atoms

    from pescape.sampling.campaign import SampleResult
    from pescape.sampling.config import Plan, PlannedTrajectory, SampleConfig
    from pescape.sampling.diversity.measure import Comparison, Diversity
    from pescape.sampling.sets import TrajectoryRecord
    from pescape.sampling.trajectory import TrajectoryOutcome


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
    from pescape.sampling.diversity.measure import DiversitySettings

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


#: Most rows of a table, and what the progress bar takes of the terminal's width.
_ROWS, _BAR = 40, 56


def sample(
    config: Annotated[
        ConfigFile, typer.Argument(help="TOML file with [[structures]], [[samplers]].")
    ],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Folder, instead of the one in CONFIG.")
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Instead of the seed in CONFIG.")] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes.")] = None,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Run again the trajectories that failed.")
    ] = False,
    status: Annotated[bool, typer.Option("--status", help="Show what is finished.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done.")] = False,
) -> None:
    """Evolve structures by MD, contour exploration or dimer searches; write data sets.

    Every structure is relaxed a little and goes with every sampler for so many force calls.
    Leaves in the output folder train.xyz, test.xyz (split by trajectory, thinned, every
    image with its provenance), rejected.xyz, starts.xyz, the table of trajectories
    (trajectories.json) and a figure (sample.png). Killed at any moment and started again, the
    command goes on where it was and ends with the same data sets.

    Example: `pescape sample sample.toml`, where sample.toml holds

    ```toml
    seed = 1
    workers = 2

    [reference]
    calculator = "ase.calculators.emt:EMT"   # or "dft.py:calculator", a function of yours

    [[structures]]                # as for pescape structures; or builder = "files"
    builder = "packing"
    boxes = [8.0]
    composition = { Cu = 1.0 }
    volume_fraction = [0.3, 0.5]
    count = 4

    [[samplers]]
    method = "md"                 # calls = 200, every = 4, temperatures = [200, 2000]

    [[samplers]]
    method = "contour"            # every = 2, energies = [0.001, 1.0] eV/atom

    [[samplers]]
    method = "dimer"              # every = 4, displacement = 1.2 Å, scheme = "ritz"

    [limits]
    multiple = 2.0                # of the binding energies of pairs; or force = 100.0
    ```
    """
    from pescape.cli.output import say
    from pescape.sampling.config import SampleConfig

    settings = config.load(SampleConfig, seed=seed, workers=workers)
    folder = output or config.folder / settings.output
    if dry_run or status:
        from pescape.sampling.config import make_plan

        plan = make_plan(settings, folder.resolve(), config.folder)
        if dry_run:
            _describe(settings, plan, folder)
        if status:
            _print_progress(plan, folder)
        return
    begin = time.perf_counter()
    result = _sample_with_progress(settings, folder, config.path, retry_failed=retry_failed)
    _print_records(result.records)
    say(
        f"{result.train} images to train, {result.test} to test, {result.rejected} rejected  "
        f"({time.perf_counter() - begin:.0f} s)"
    )
    for name in ("train.xyz", "test.xyz", "sample.png"):
        say(f"{folder / name}")
    _tell_failures(result)


def _sample_with_progress(
    settings: SampleConfig, folder: Path, config: Path, *, retry_failed: bool
) -> SampleResult:
    from pescape.cli.output import console, progress_bar
    from pescape.sampling.campaign import Watcher
    from pescape.sampling.campaign import sample as run

    with progress_bar() as bar:
        shown = bar.add_task("start", total=1, note="")

        class Screen(Watcher):
            """Shows a campaign's progress."""

            def stage(self, what: str, done: int, total: int) -> None:
                bar.update(shown, description=what, completed=done, total=total, note="")

            def calls(self, running: dict[str, int]) -> None:
                now = ", ".join(f"{title}: {calls}" for title, calls in sorted(running.items()))
                bar.update(shown, note=f"[dim]{now[: max(0, console.width - _BAR)]}[/]")

            def trajectory(self, planned: PlannedTrajectory, outcome: TrajectoryOutcome) -> None:
                console.print(_sentence(planned, outcome), highlight=False, soft_wrap=True)

        return run(
            settings,
            folder,
            base=config.parent,
            watcher=Screen(),
            retry_failed=retry_failed,
            command=f"pescape sample {config.name}",
        )


def _sentence(planned: PlannedTrajectory, outcome: TrajectoryOutcome) -> str:
    replayed = f", {outcome.replayed} of them before" if outcome.replayed else ""
    calls = outcome.relaxation_calls + outcome.sampling_calls
    head = f"[bold]{planned.title}[/]: "
    colour = {"failed": "red", "stopped": "yellow"}.get(outcome.status, "default")
    return f"{head}[{colour}]{outcome.message}[/]; {calls} force calls{replayed}"


def _print_records(records: Sequence[TrajectoryRecord]) -> None:
    """Print the trajectories; if many, those that are complete in one line."""
    from pescape.cli.output import say, table

    shown = [r for r in records if r.status != "complete"] if len(records) > _ROWS else records
    rows = []
    for record in shown:
        calls = record.relaxation_calls + record.sampling_calls
        rows.append(
            (
                f"{record.builder} {record.start}",
                record.sampler,
                record.set,
                record.kind,
                f"{calls} ({record.replayed})" if record.replayed else calls,
                f"{record.kept} ({record.rejected})" if record.rejected else record.kept,
                _fixed(record.lowest),
                _fixed(record.highest),
                f"{record.cpu:.1f}",
            )
        )
    columns = [
        "start",
        "sampler",
        "set",
        "ended",
        "force\ncalls",
        "images\nkept",
        "eV/atom\nfrom",
        "above\nto",
        "CPU\ns",
    ]
    table("trajectories (in parentheses: calls replayed, images rejected)", columns, rows)
    if len(shown) < len(records):
        say(f"and {len(records) - len(shown)} more that are complete, see trajectories.json")


def _tell_failures(result: SampleResult) -> None:
    from pescape.cli.output import warn

    told: dict[str, list[str]] = {}
    for record in result.failed:
        title = f"{record.builder} {record.start} {record.sampler}"
        told.setdefault(record.message, []).append(title)
    for message, titles in told.items():
        others = f" and {len(titles) - 1} more" if len(titles) > 1 else ""
        warn(f"{titles[0]}{others}: {message}")
    if result.failed:
        warn(
            f"{len(result.failed)} of {len(result.records)} trajectories failed; what they had "
            "is kept. Once the cause is mended, --retry-failed lets them go on."
        )
    if len(result.failed) == len(result.records):
        raise typer.Exit(1)


def _fixed(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _describe(settings: SampleConfig, plan: Plan, folder: Path) -> None:
    from pescape.cli.output import say, table

    say(f"{folder}: every start with every sampler, labelled by {plan.reference.name}")
    rows = []
    for sampler in settings.samplers:
        own = [one for one in plan.trajectories if one.sampler is sampler and one.task is not None]
        tests = sum(one.start.test for one in own)
        calls = len(own) * (sampler.calls + settings.relaxation.steps + 1)
        images = len(own) * (sampler.calls // sampler.every)
        rows.append(
            (sampler.name or sampler.method, len(own) - tests, tests, calls, images),
        )
    columns = ["sampler", "trajectories\nto train", "\nto test", "force calls\nat most", "images"]
    table("plan", columns, rows)
    atoms = [len(start.atoms) for start in plan.starts if start.atoms is not None]
    say(
        f"{len(atoms)} starts of {min(atoms)} to {max(atoms)} atoms "
        f"({' '.join(plan.elements)}); {plan.calls} force calls at most"
    )
    for start in plan.starts:
        if start.atoms is None:
            say(f"{start.builder} {start.index} cannot be built: {start.failure}")
    if settings.limits is not None and settings.limits.multiple is not None:
        pairs = len(plan.elements) * (len(plan.elements) + 1) // 2
        say(f"limits: about 35 force calls for each of {pairs} pairs of elements")


def _print_progress(plan: Plan, folder: Path) -> None:
    from pescape.cli.output import say, table
    from pescape.sampling.campaign import read_progress

    found = read_progress(plan, folder.resolve())
    rows = []
    for planned, outcome, calls in found:
        if planned.task is None:
            state = "cannot be built"
        elif outcome is not None:
            state = outcome.kind
        else:
            state = "not finished" if calls else "not begun"
        start = f"{planned.start.builder} {planned.start.index}"
        rows.append((start, planned.name, state, calls, planned.max_calls))
    columns = ["start", "sampler", "state", "force\ncalls", "at\nmost"]
    if len(rows) <= _ROWS:
        table(str(folder), columns, rows)
    ended = sum(outcome is not None for _, outcome, _ in found)
    failed = sum(outcome is not None and outcome.status == "failed" for _, outcome, _ in found)
    calls = sum(calls for *_, calls in found)
    say(f"{ended} of {len(found)} trajectories finished, {failed} of them failed")
    say(f"{calls} force calls made, at most {plan.calls}")
