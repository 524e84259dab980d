"""``pescape learn``."""

from __future__ import annotations

import time
from pathlib import Path  # noqa: TC003 (typer reads the annotations)
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Sequence

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
    status: Annotated[bool, typer.Option("--status", help="Show the rounds so far.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done.")] = False,
) -> None:
    """Learn a potential actively: MD under guard, labels, refits, until nothing is risky.

    Leaves in the output folder the potential, the data set (train.xyz, every frame with
    its provenance; train.jsonl, its index), the table of rounds (rounds.json, rounds.csv)
    and a figure (learn.png). Killed at any moment and started again, the command goes on
    where it was and ends with the same result.

    Example: `pescape learn examples/zirconium/learn.toml`
    """
    from pescape.cli.output import say, warn
    from pescape.config import load_config
    from pescape.errors import TaskError
    from pescape.learning.config import LearnConfig
    from pescape.learning.rounds import read_rounds

    settings = load_config(config, LearnConfig)
    changes = {"seed": seed, "workers": workers}
    settings = settings.model_copy(
        update={key: value for key, value in changes.items() if value is not None}
    )
    folder = output or config.parent / settings.output
    if dry_run:
        _describe(settings, folder, config.parent)
        return
    if (status or resume) and not (folder / "rounds.json").exists():
        raise TaskError(f"{folder}: nothing has been learned here yet")
    if status:
        rounds, settled = read_rounds(folder)
        print_rounds(rounds)
        say("settled" if settled else "not settled yet")
        return
    begin = time.perf_counter()
    result = _learn_with_progress(settings, folder, config.parent)
    print_rounds(result.rounds)
    say(f"{result.potential}  ({time.perf_counter() - begin:.0f} s)")
    say(f"{result.folder / 'learn.png'}")
    if not result.settled:
        warn(
            f"Level {result.rounds[-1].level} still met risky configurations after "
            f"{settings.max_rounds} rounds: raise max_rounds and start again, it goes on."
        )
        raise typer.Exit(1)


def _learn_with_progress(settings: LearnConfig, folder: Path, base: Path) -> LearnResult:
    from pescape.cli.output import console, progress_bar
    from pescape.learning.loop import Watcher
    from pescape.learning.loop import learn as run

    with progress_bar() as bar:
        shown = bar.add_task("start", total=1, note="")

        class Screen(Watcher):
            """Shows a campaign's progress."""

            def stage(self, what: str, done: int, total: int) -> None:
                bar.update(shown, description=what, completed=done, total=total)

            def round(self, one: Round) -> None:
                console.print(_sentence(one), highlight=False, soft_wrap=True)

        return run(settings, folder, base=base, watcher=Screen())


def _sentence(one: Round) -> str:
    fitted = (
        f"{one.configurations} configurations, energy {one.energy_rmse:.1f} meV/atom, "
        f"force {one.force_rmse:.3f} eV/Å"
    )
    head = f"[bold]round {one.number}[/] level {one.level}: "
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
    return (
        f"{head}{one.risky} risky (grade up to {one.largest_grade:.3g}){ended}, "
        f"{one.labelled} labelled; now {fitted}"
    )


def print_rounds(rounds: Sequence[Round]) -> None:
    """Print the table of rounds."""
    from pescape.cli.output import table

    columns = [
        "round",
        "level",
        "runs\nhalted",
        "\nrisky",
        "\nlearned",
        "largest\ngrade",
        "data\nset",
        "energy\nmeV",
        "force\neV/Å",
        "tested\nmeV",
        "force\neV/Å",
    ]
    rows = []
    for one in rounds:
        ended = one.halted + one.exploded
        found = (f"{ended}/{one.runs}", one.risky, one.labelled) if one.runs else ("–",) * 3
        errors = (
            _fixed(one.energy_rmse, 1),
            _fixed(one.force_rmse, 3),
            _fixed(one.test_energy_rmse, 1),
            _fixed(one.test_force_rmse, 3),
        )
        grade = _fixed(one.largest_grade, 2)
        rows.append((str(one.number), one.level, *found, grade, one.configurations, *errors))
    table("rounds (root mean square errors, energies per atom)", columns, rows)


def _fixed(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _describe(settings: LearnConfig, folder: Path, base: Path) -> None:
    from pescape.cli.output import say
    from pescape.structures import draw_structures

    structures = len(draw_structures(settings.structures, settings.seed, base))
    crystals = sum(len(start.repeat) * len(start.volumes) for start in settings.md.start)
    runs = crystals * len(settings.md.temperatures)
    length = settings.md.steps * settings.md.timestep / 1000.0
    reference = settings.reference.eam or settings.reference.calculator
    levels = ", ".join(map(str, settings.potential.levels))
    say(f"{folder}: {structures} initial structures labelled by {reference}")
    say(f"levels {levels} of {' '.join(settings.potential.species)}")
    say(f"each round: {runs} MD runs of {length:g} ps in {settings.workers} processes")
    say(f"risky above grade {settings.guard.select:g}, runs end above {settings.guard.stop:g}")
