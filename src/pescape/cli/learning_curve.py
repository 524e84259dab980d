"""``pescape learning-curve``."""

from __future__ import annotations

import dataclasses
from pathlib import Path  # noqa: TC003 (typer reads the annotations)
from typing import TYPE_CHECKING, Annotated

import typer

from pescape.fits.config import CurveConfig  # noqa: TC001 (it becomes options)

if TYPE_CHECKING:
    from pescape.ensemble.learning_curve import LearningCurve


def learning_curve(
    train: Annotated[Path, typer.Argument(metavar="TRAIN", help="Labelled configurations.")],
    test: Annotated[Path, typer.Argument(metavar="TEST", help="Others, never fitted to.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder to write to.")],
    potentials: CurveConfig,
    seed: Annotated[int, typer.Option(help="Of parts and random starts.")] = 0,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 1,
) -> None:
    """Fit potentials of some levels, or networks, to growing parts of a data set.

    Each part holds the smaller ones. Leaves curve.json and curve.png in the output folder.
    Killed at any moment and started again, the command goes on where it was.

    Example: `pescape learning-curve train.xyz test.xyz -o curve --levels 8,16 --workers 2`
    """
    from pescape.cli.output import progress_bar, say
    from pescape.data.configurations import read_configurations, species_of
    from pescape.ensemble import learning_curve as curve
    from pescape.figures.learning import draw_learning_curve
    from pescape.files import write_json
    from pescape.tasks.pool import worker_pool
    from pescape.tasks.store import TaskStore, exclusive

    frames, tested = read_configurations(train), read_configurations(test)
    starts, settings = potentials.starts_and_settings(tuple(sorted(species_of(frames))), seed)
    output = output.resolve()
    with exclusive(output), worker_pool(workers) as executor, progress_bar() as bar:
        shown = bar.add_task("fits", total=None, note="")
        found = curve.learning_curve(
            frames,
            tested,
            starts,
            settings,
            TaskStore(output / "tasks"),
            executor,
            output / "checkpoints",
            sizes=potentials.sizes,
            seed=seed,
            on_finished=lambda done, total: bar.update(shown, completed=done, total=total),
        )
    write_json(output / "curve.json", dataclasses.asdict(found))
    draw_learning_curve(found, output / "curve.png")
    _print_curve(found)
    for name in ("curve.json", "curve.png"):
        say(f"{output / name}")


def _print_curve(found: LearningCurve) -> None:
    from pescape.cli.output import table

    columns = ("level", "params", "configurations", "meV/atom", "eV/Å", "test meV/atom", "eV/Å")
    rows = [
        (
            str(one.level),
            one.parameters,
            one.configurations,
            one.energy_rmse,
            one.force_rmse,
            one.test_energy_rmse,
            one.test_force_rmse,
        )
        for one in found.points
    ]
    table("Errors (RMSE) on the training data and on the test set", columns, rows)
