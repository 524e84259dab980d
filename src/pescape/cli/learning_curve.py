"""``pescape learning-curve``."""

from __future__ import annotations

import dataclasses
from pathlib import Path  # noqa: TC003 (typer reads the annotations)
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from pescape.ensemble.learning_curve import LearningCurve


def learning_curve(
    train: Annotated[Path, typer.Argument(metavar="TRAIN", help="Labelled configurations.")],
    test: Annotated[Path, typer.Argument(metavar="TEST", help="Others, never fitted to.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder to write to.")],
    levels: Annotated[str, typer.Option(help="Of the potentials, with commas.")] = "8,12,16",
    sizes: Annotated[
        str | None,
        typer.Option(help="Of the parts, with commas; all, half, … a sixteenth if unset."),
    ] = None,
    cutoff: Annotated[float, typer.Option(help="Å.")] = 5.0,
    min_dist: Annotated[float, typer.Option(help="Å.")] = 2.0,
    radial_basis_size: Annotated[int, typer.Option(help="Polynomials.")] = 8,
    iterations: Annotated[int, typer.Option(help="Most iterations on the last level.")] = 1000,
    starts: Annotated[int, typer.Option(help="Random starts; the best goes on.")] = 4,
    seed: Annotated[int, typer.Option(help="Of parts and random starts.")] = 0,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 1,
) -> None:
    """Fit potentials of some levels to growing parts of a data set.

    Each part holds the smaller ones. Leaves curve.json and curve.png in the output folder.
    Killed at any moment and started again, the command goes on where it was.

    Example: `pescape learning-curve train.xyz test.xyz -o curve --levels 8,16 --workers 2`
    """
    from pescape.calculators.mtp.fit import FitSettings
    from pescape.cli.output import progress_bar, say
    from pescape.data.configurations import read_configurations
    from pescape.ensemble import learning_curve as curve
    from pescape.figures.learning import draw_learning_curve
    from pescape.files import write_json
    from pescape.fits.task import FitStart
    from pescape.tasks.pool import exclusive, worker_pool
    from pescape.tasks.store import TaskStore

    chosen = _numbers("--levels", levels)
    parts = None if sizes is None else _numbers("--sizes", sizes)
    frames, tested = read_configurations(train), read_configurations(test)
    species = tuple(sorted({symbol for atoms in frames for symbol in atoms.symbols}))
    begin = [FitStart(one, species, cutoff, min_dist, radial_basis_size) for one in chosen]
    settings = FitSettings(iterations=iterations, starts=starts, seed=seed)
    output = output.resolve()
    with exclusive(output), worker_pool(workers) as executor, progress_bar() as bar:
        shown = bar.add_task("fits", total=None, note="")
        found = curve.learning_curve(
            frames,
            tested,
            begin,
            settings,
            TaskStore(output / "tasks"),
            executor,
            output / "checkpoints",
            sizes=parts,
            seed=seed,
            on_finished=lambda done, total: bar.update(shown, completed=done, total=total),
        )
    write_json(output / "curve.json", dataclasses.asdict(found))
    draw_learning_curve(found, output / "curve.png")
    _print_curve(found)
    for name in ("curve.json", "curve.png"):
        say(f"{output / name}")


def _numbers(option: str, text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError as error:
        raise typer.BadParameter(
            f"{option} {text!r}: whole numbers with commas between them, such as 8,16"
        ) from error


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
