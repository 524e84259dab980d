"""What ``pescape learn`` prints: rounds, levels, the plan, where a campaign stands.

``pescape learn``.
"""

from __future__ import annotations

import time
from pathlib import Path  # noqa: TC003 (typer reads annotations)
from typing import TYPE_CHECKING, Annotated

import typer

from pescape.calculators.fit.errors import stated
from pescape.cli.options import ConfigFile  # noqa: TC001 (typer reads the annotations)
from pescape.cli.output import say, table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pescape.learning.config import LearnConfig
    from pescape.learning.loop import LearnResult
    from pescape.learning.records import LevelSummary, Round
    from pescape.tasks.store import KindSummary


def print_rounds(rounds: Sequence[Round]) -> None:
    """Print the table of rounds.

    Parameters
    ----------
    rounds
        Of a campaign, in order.
    """
    columns = [
        "round",
        "level",
        "stage",
        "runs\nhalted",
        "\nrisky",
        "\nnew",
        "top\ngrade",
        "data\nset",
        "fit\nmeV",
        "\neV/Å",
    ]
    rows = []
    for one in rounds:
        ended = one.halted + one.exploded
        found = (f"{ended}/{one.runs}", one.risky, one.labelled) if one.runs else ("–",) * 3
        errors = _fixed(one.energy_rmse, 1), _fixed(one.force_rmse, 3)
        grade = None if one.largest_grade is None else float(f"{one.largest_grade:.3g}")
        place = str(one.number), one.level, one.stage or "–"
        rows.append((*place, *found, grade, one.configurations, *errors))
    table("rounds (root mean square errors, energies per atom)", columns, rows)
    tested = [
        (str(one.number), one.level, one.stage or "–", *_tested(one))
        for one in rounds
        if one.test_configurations
    ]
    if tested:
        table(_TESTS, ["round", "level", "stage", *_TESTED], tested)


def print_levels(levels: Sequence[LevelSummary]) -> None:
    """Print the table of levels, if any has settled.

    Parameters
    ----------
    levels
        Settled so far.
    """
    if not levels:
        return
    stages = list(dict.fromkeys(stage for one in levels for stage in one.labelled))
    columns = ["level", "size", "runs", *(f"new\n{stage}" for stage in stages)]
    columns += ["data\nset", "fit\nmeV", "\neV/Å"]
    rows = []
    for one in levels:
        counts = [one.labelled.get(stage, 0) for stage in stages]
        errors = _fixed(one.energy_rmse, 1), _fixed(one.force_rmse, 3)
        place = str(one.level), one.parameters, one.runs
        rows.append((*place, *counts, one.configurations, *errors))
    table("levels: number of parameters, runs, labels by stage, errors", columns, rows)
    tested = [(str(one.level), *_tested(one)) for one in levels if one.test_configurations]
    if tested:
        table(_TESTS, ["level", *_TESTED], tested)


_TESTS = "errors (RMSE) on snapshots of safe MD, which are never trained on"
_TESTED = ("snapshots", "meV/atom", "eV/Å")


def _tested(one: Round | LevelSummary) -> tuple[object, ...]:
    """Write errors on snapshots of safe MD with their standard errors."""
    errors = (stated(one, name) for name in ("test_energy_rmse", "test_force_rmse"))
    return one.test_configurations, *errors


def print_status(folder: Path) -> None:
    """Print where a campaign stands.

    Parameters
    ----------
    folder
        Its output folder.
    """
    from pescape.learning.records import read_status

    status = read_status(folder)
    print_rounds(status.rounds)
    print_levels(status.levels)
    _print_tasks(status.tasks)
    if status.settled:
        say("settled")
    else:
        say(f"not settled yet; last seen at {status.stage}: {status.done} of {status.total}")


def _print_tasks(tasks: dict[str, KindSummary]) -> None:
    rows = [
        (kind, one.finished, one.running, one.failed, one.mean, one.seconds / 3600.0)
        for kind, one in tasks.items()
    ]
    columns = ["kind", "finished", "begun", "failed\nattempts", "mean\ns", "total\nh"]
    table("tasks", columns, rows)


def describe(
    config: LearnConfig, folder: Path, base: Path, label_seconds: float | None = None
) -> None:
    """Print the plan of a campaign and what a round would cost.

    Parameters
    ----------
    config
        Of the campaign.
    folder
        Its output folder, whose finished labels say what one costs.
    base
        Folder of the configuration file.
    label_seconds
        Of one label, s; that of finished labels if None.
    """
    from pescape.labelling import reference_from
    from pescape.learning.plan import costs_of, families_of, stages_of
    from pescape.structures import build_structures

    built = build_structures(config.structures, config.seed, base)
    structures = [one.atoms for one in built if one.atoms is not None]
    stages = stages_of(config, base)
    reference = reference_from(config.reference, base)
    sizes = sorted(map(len, structures))
    say(
        f"{folder}: {len(structures)} initial structures of {sizes[0]} to {sizes[-1]} atoms, "
        f"labelled by {reference.name}"
    )
    levels = ", ".join(map(str, config.potential.levels))
    say(f"levels {levels} of {' '.join(config.potential.species)}, {config.workers} processes")
    say(f"risky above grade {config.guard.select:g}, runs end above {config.guard.stop:g}")
    rows: list[tuple[object, ...]] = []
    for one in families_of(stages):
        atoms = f"{one.smallest}–{one.largest}" if one.smallest < one.largest else one.largest
        rows.append((one.stage, one.family, one.starts, atoms, one.runs, f"{one.atom_steps:.3g}"))
    columns = ["stage", "family", "starts", "atoms", "runs\na round", "atom-steps\nof MD"]
    table("what a round runs", columns, rows)
    rows = [
        (str(cost.level), cost.parameters, 1e6 * cost.seconds, *cost.stages)
        for cost in costs_of(config, stages)
    ]
    columns = ["level", "para-\nmeters", "µs/atom\n/step"]
    columns += [f"CPU h\n{stage.name}" for stage in stages]
    table("MD of one round, this machine", columns, rows)
    _say_labels(config, folder, len(structures), label_seconds)


def _say_labels(
    config: LearnConfig, folder: Path, structures: int, label_seconds: float | None
) -> None:
    """Say what labels cost, as far as that is known."""
    from pescape.tasks.store import TaskStore

    made = TaskStore(folder / "tasks", read_only=True).summary().get("label")
    seconds = label_seconds
    if seconds is None and made is not None and made.finished:
        seconds = made.mean
    tests = config.test.configurations * len(config.stages) * len(config.potential.levels)
    count = f"labels: {structures} at the start, at most {tests} to test"
    if seconds is None:
        say(f"{count}, and those of risky configurations; --label-seconds S estimates their cost")
        return
    hours = (structures + tests) * seconds / 3600.0
    say(f"{count} = {hours:.3g} h at {seconds:.3g} s each, and those of risky configurations")


def _fixed(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def learn(
    config: Annotated[
        ConfigFile, typer.Argument(help="TOML file; see examples/zirconium/learn.toml.")
    ],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Folder, instead of the one in CONFIG.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Instead of the seed in CONFIG.")] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes.")] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Insist that there is something to go on with.")
    ] = False,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Try labels again that failed before.")
    ] = False,
    status: Annotated[bool, typer.Option("--status", help="Show where it stands.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the plan and what it would cost.")
    ] = False,
    label_seconds: Annotated[
        float | None,
        typer.Option(min=0.0, help="Of one label, for --dry-run; else from labels made already."),
    ] = None,
) -> None:
    """Learn a potential actively: MD under guard, labels, refits, until nothing is risky.

    Stages go from small starts to large ones; when all are settled the level is raised.
    Leaves in the output folder the potential and that of every level (levels/), the data
    set (train.xyz, every frame with its provenance; train.jsonl, its index), snapshots of
    safe MD that it was tested on (test.xyz), the tables of rounds and levels (.json, .csv)
    and their figures (learn.png, levels.png), and the health of the last potential (check.json,
    check.png), as `pescape check` finds it. Killed at any moment and started again, here
    or, copied, elsewhere, the command goes on where it was and ends with the same result.

    Examples: `pescape learn examples/zirconium/learn.toml`, then
    `pescape learn examples/zirconium/learn.toml --status`
    """
    from pescape.cli.check import print_check
    from pescape.cli.ensemble import print_report
    from pescape.cli.output import say, warn
    from pescape.errors import TaskError
    from pescape.learning.config import LearnConfig
    from pescape.learning.records import read_levels

    settings = config.load(LearnConfig, seed=seed, workers=workers)
    folder = output or config.folder / settings.output
    if dry_run:
        describe(settings, folder, config.folder, label_seconds)
        return
    if (status or resume) and not (folder / "rounds.json").exists():
        raise TaskError(f"{folder}: nothing has been learned here yet")
    if status:
        print_status(folder)
        return
    begin = time.perf_counter()
    result = _learn_with_progress(settings, folder, config.folder, retry_failed=retry_failed)
    print_rounds(result.rounds)
    print_levels(read_levels(result.folder))
    say(f"{result.potential}  ({time.perf_counter() - begin:.0f} s)")
    if result.check is not None:
        print_check(result.check, result.potential)
    if result.ensemble is not None and settings.ensemble is not None:
        print_report(result.ensemble, settings.ensemble.shown)
    for name in (
        "learn.png",
        "levels.png",
        "check.png",
        "ensemble/tree.png",
        "ensemble/histograms.png",
    ):
        if (result.folder / name).exists():
            say(f"{result.folder / name}")
    if not result.settled:
        last = result.rounds[-1]
        warn(
            f"Level {last.level}, stage {last.stage}, still met risky configurations after "
            f"{settings.max_rounds} rounds: raise max_rounds and start again, it goes on."
        )
        raise typer.Exit(1)


def _learn_with_progress(
    settings: LearnConfig, folder: Path, base: Path, *, retry_failed: bool
) -> LearnResult:
    from pescape.cli.output import console, progress_bar
    from pescape.learning.campaign import Watcher
    from pescape.learning.loop import learn as run

    with progress_bar() as bar:
        shown = bar.add_task("start", total=1, note="")

        class Screen(Watcher):
            """Shows a campaign's progress."""

            def stage(self, what: str, done: int, total: int) -> None:
                bar.update(shown, description=what, completed=done, total=total)

            def round(self, one: Round) -> None:
                console.print(_sentence(one), highlight=False, soft_wrap=True)

        return run(settings, folder, base=base, retry_failed=retry_failed, watcher=Screen())


def _sentence(one: Round) -> str:
    fitted = (
        f"{one.configurations} configurations, energy {one.energy_rmse:.1f} meV/atom, "
        f"force {one.force_rmse:.3f} eV/Å"
    )
    place = f"level {one.level}, {one.stage}" if one.stage else f"level {one.level}"
    head = f"[bold]round {one.number}[/] {place}: "
    if not one.runs:
        return f"{head}fitted to {fitted}"
    ended = f", {one.halted} of {one.runs} runs halted" if one.halted else ""
    ended += f", {one.exploded} exploded" if one.exploded else ""
    if not one.risky:
        tested = (
            f"; on {one.test_configurations} snapshots of its MD: energy "
            f"{stated(one, 'test_energy_rmse')} meV/atom, force "
            f"{stated(one, 'test_force_rmse')} eV/Å"
            if one.test_configurations
            else ""
        )
        return f"{head}nothing risky, largest grade {one.largest_grade:.2f}{tested}"
    labelled = f"{one.labelled} labelled"
    labelled += f" ({one.failed} failed)" if one.failed else ""
    return (
        f"{head}{one.risky} risky (grade up to {one.largest_grade:.3g}){ended}, "
        f"{labelled}; now {fitted}"
    )
