"""What ``pescape learn`` prints: rounds, levels, the plan, where a campaign stands."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pescape.cli.output import say, table

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pescape.learning.config import LearnConfig
    from pescape.learning.levels import LevelSummary
    from pescape.learning.rounds import Round
    from pescape.tasks import KindSummary


def print_rounds(rounds: Sequence[Round]) -> None:
    """Print the table of rounds."""
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
        "test\nmeV",
        "\neV/Å",
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
        grade = None if one.largest_grade is None else float(f"{one.largest_grade:.3g}")
        place = str(one.number), one.level, one.stage or "–"
        rows.append((*place, *found, grade, one.configurations, *errors))
    table("rounds (root mean square errors, energies per atom)", columns, rows)


def print_levels(levels: Sequence[LevelSummary]) -> None:
    """Print the table of levels, if any has settled."""
    if not levels:
        return
    stages = list(dict.fromkeys(stage for one in levels for stage in one.labelled))
    columns = ["level", "size", "runs", *(f"new\n{stage}" for stage in stages)]
    columns += ["data\nset", "fit\nmeV", "\neV/Å", "test\nmeV", "\neV/Å"]
    rows = []
    for one in levels:
        counts = [one.labelled.get(stage, 0) for stage in stages]
        errors = (
            _fixed(one.energy_rmse, 1),
            _fixed(one.force_rmse, 3),
            _fixed(one.test_energy_rmse, 1),
            _fixed(one.test_force_rmse, 3),
        )
        place = str(one.level), one.parameters, one.runs
        rows.append((*place, *counts, one.configurations, *errors))
    table("levels: number of parameters, runs, labels by stage, errors", columns, rows)


def print_status(folder: Path) -> None:
    """Print where a campaign stands."""
    from pescape.learning.status import read_status

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
    """Print the plan of a campaign and what a round would cost."""
    from pescape.labelling import reference_from
    from pescape.learning.estimate import costs_of
    from pescape.learning.plan import families_of, stages_of
    from pescape.structures import draw_structures

    drawn = draw_structures(config.structures, config.seed, base)
    structures = [one.atoms for one in drawn if one.atoms is not None]
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
    from pescape.tasks import TaskStore

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
