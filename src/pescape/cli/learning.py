"""``pescape learn``."""

from __future__ import annotations

import time
from pathlib import Path  # noqa: TC003 (typer reads the annotations)
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from pescape.learning.config import LearnConfig
    from pescape.learning.loop import LearnResult
    from pescape.learning.rounds import Round


def learn(
    config: Annotated[Path, typer.Argument(help="TOML file; see examples/zirconium/learn.toml.")],
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
    and their figures (learn.png, levels.png). Killed at any moment and started again, here
    or, copied, elsewhere, the command goes on where it was and ends with the same result.

    Examples: `pescape learn examples/zirconium/learn.toml`, then
    `pescape learn examples/zirconium/learn.toml --status`
    """
    from pescape.cli.ensemble import print_report
    from pescape.cli.learning_tables import describe, print_levels, print_rounds, print_status
    from pescape.cli.output import say, warn
    from pescape.config import load_config
    from pescape.errors import TaskError
    from pescape.learning.config import LearnConfig
    from pescape.learning.levels import read_levels

    settings = load_config(config, LearnConfig)
    changes = {"seed": seed, "workers": workers}
    settings = settings.model_copy(
        update={key: value for key, value in changes.items() if value is not None}
    )
    folder = output or config.parent / settings.output
    if dry_run:
        describe(settings, folder, config.parent, label_seconds)
        return
    if (status or resume) and not (folder / "rounds.json").exists():
        raise TaskError(f"{folder}: nothing has been learned here yet")
    if status:
        print_status(folder)
        return
    begin = time.perf_counter()
    result = _learn_with_progress(settings, folder, config.parent, retry_failed=retry_failed)
    print_rounds(result.rounds)
    print_levels(read_levels(result.folder))
    say(f"{result.potential}  ({time.perf_counter() - begin:.0f} s)")
    if result.ensemble is not None and settings.ensemble is not None:
        print_report(result.ensemble, settings.ensemble.shown)
    for name in ("learn.png", "levels.png", "ensemble/tree.png", "ensemble/histograms.png"):
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
            f"{one.test_energy_rmse:.1f} meV/atom, force {one.test_force_rmse:.3f} eV/Å"
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
