"""``pescape evaluate``."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from ase import Atoms
    from ase.calculators.calculator import BaseCalculator
    from numpy.typing import NDArray

    from pescape.calculators.fit.cross import CrossErrors, CrossEvaluation

_CROSS = "With --cross"


def evaluate(
    given: Annotated[
        list[str],
        typer.Argument(
            metavar="POT DATA | NAME=POT...",
            help="Potential and labelled configurations; with --cross potentials alone.",
        ),
    ],
    cross: Annotated[
        bool, typer.Option("--cross", help="Every potential on every test set, and on all.")
    ] = False,
    test: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=FILE",
            help="A test set; or FILE: a set of each sampler its images name.",
            rich_help_panel=_CROSS,
        ),
    ] = None,
    train: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=FILE",
            help="What the potential NAME was trained on, to compare with.",
            rich_help_panel=_CROSS,
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="Folder to write to.", rich_help_panel=_CROSS),
    ] = None,
    by: Annotated[
        str | None,
        typer.Option(
            metavar="KEY",
            help="Also for each value of this entry of the configurations' info, say group.",
        ),
    ] = None,
    json: Annotated[Path | None, typer.Option(help="Write the errors here too.")] = None,
    figure: Annotated[
        Path | None, typer.Option(help="Draw predicted against true errors of forces here.")
    ] = None,
    species: Annotated[
        str | None, typer.Option(help="Elements in order, for files that name none.")
    ] = None,
    threads: Annotated[int, typer.Option(min=1, help="OpenMP threads.")] = 1,
) -> None:
    """Errors of a potential on labeled configurations.

    Mean absolute (MAE) and root mean square (RMSE) errors: energies per atom, Cartesian
    components of forces, components of stress, and the mean angle between forces. Each with
    its standard error, 2.28 ± 0.31: how much it varies among 1000 test sets that are drawn from
    this one, whole configurations with replacement; a dash for a single configuration. Where a
    committee lies beside the potential: how many errors are below what it predicts.

    With `--cross`, several potentials, say of different samplers' data, are compared on several
    test sets and on all of these together: energies, forces and angles between forces. Bold are
    those that none beats by more than chance explains (95 % confidence, from the differences on
    the same configurations), if some are worse. Writes
    errors.json, the table as heat maps (errors.png), and two-dimensional histograms of the errors
    against the labels (energy_errors.png, force_errors.png, angle_errors.png).

    Examples: `pescape evaluate zr.almtp test.xyz --by group --json errors.json`;
    `pescape evaluate --cross md=md.bpnn dimer=dimer.bpnn --test md=md_test.xyz
    --test dimer=dimer_test.xyz -o errors`
    """
    if cross:
        if by:
            raise typer.BadParameter("--by goes without --cross")
        if figure is not None:
            raise typer.BadParameter("--figure is of one potential, without --cross")
        _evaluate_cross(given, test or [], train or [], output, json, species, threads)
        return
    for name, value in (("--test", test), ("--train", train), ("--output", output)):
        if value:
            raise typer.BadParameter(f"{name} goes with --cross")
    if len(given) != 2:
        raise typer.BadParameter(
            f"expected a potential and a data set, got {' '.join(given)}; several potentials "
            "are compared with --cross"
        )
    _evaluate_one(Path(given[0]), Path(given[1]), by, (json, figure), species, threads)


def _evaluate_one(
    potential: Path,
    data: Path,
    by: str | None,
    written: tuple[Path | None, Path | None],
    species: str | None,
    threads: int,
) -> None:
    """Print errors by group and how predicted ones compare; write JSON and a figure."""
    from pescape.calculators.fit.errors import compare, errors_from
    from pescape.cli.output import errors_table, save_json
    from pescape.cli.potentials import read_potential
    from pescape.cli.predicted import assess_errors
    from pescape.data.configurations import read_configurations

    fitted = read_potential(potential, species)
    frames = read_configurations(data, species=fitted.species)
    found = compare(fitted, frames, threads=threads)
    errors = errors_from(found)
    groups = {
        name: errors_from(found.part(chosen)) for name, chosen in _groups(frames, by, data).items()
    }
    errors_table(f"{potential} on {data}", {data.name: errors} | groups)
    json, figure = written
    predicted = assess_errors(fitted, frames, f"predicted errors on {data}", figure, threads)
    if json is not None:
        content = dataclasses.asdict(errors) | predicted
        if by is not None:
            content["by"] = by
            content["groups"] = {name: dataclasses.asdict(one) for name, one in groups.items()}
        save_json(json, content, [potential, data])


def _groups(frames: Sequence[Atoms], by: str | None, data: Path) -> dict[str, NDArray[np.bool_]]:
    """Tell which configurations have which value of an entry of their info."""
    import numpy as np

    from pescape.errors import DataError

    if by is None:
        return {}
    missing = [index for index, atoms in enumerate(frames) if by not in atoms.info]
    if missing:
        known = ", ".join(sorted(frames[missing[0]].info)) or "none"
        raise DataError(
            f"--by {by}: configuration {missing[0]} of {data} has no such entry; its entries "
            f"are {known}"
        )
    values = np.array([str(atoms.info[by]) for atoms in frames])
    return {f"{value}": values == value for value in dict.fromkeys(values.tolist())}


def _evaluate_cross(
    given: Sequence[str],
    test: Sequence[str],
    train: Sequence[str],
    output: Path | None,
    json: Path | None,
    species: str | None,
    threads: int,
) -> None:
    from pescape.calculators.fit.cross import cross_evaluate
    from pescape.cli.output import progress_bar, read_sets, save_json, say
    from pescape.figures.evaluation import draw_cross_evaluation, draw_error_maps

    if not test:
        raise typer.BadParameter("--cross needs test sets: --test NAME=FILE, once for each")
    potentials = _named_potentials(given)
    models = {name: _calculator(file, species, threads) for name, file in potentials.items()}
    (tests, test_files), (trained, train_files) = read_sets(test), read_sets(train)
    inputs = [*potentials.values(), *test_files, *train_files]
    with progress_bar() as bar:
        total = len(models) * len(tests) + len(trained)
        shown = bar.add_task("evaluate", total=total, note="")

        def report(model: str, on: str) -> None:
            bar.update(shown, advance=1, note=f"{model} on {on}")

        found = cross_evaluate(models, tests, trained, on_done=report)
    print_cross_errors(found)
    if json is not None:
        save_json(json, found.summary(), inputs)
    if output is not None:
        output.mkdir(parents=True, exist_ok=True)
        save_json(output / "errors.json", found.summary(), inputs)
        draw_cross_evaluation(found, output / "errors.png")
        draw_error_maps(found, "energy", output / "energy_errors.png")
        draw_error_maps(found, "force", output / "force_errors.png")
        draw_error_maps(found, "angle", output / "angle_errors.png")
        say(f"{output / 'errors.png'}, energy_errors.png, force_errors.png, angle_errors.png")


def _named_potentials(given: Sequence[str]) -> dict[str, Path]:
    from pescape.cli.output import named_files
    from pescape.errors import DataError

    potentials: dict[str, Path] = {}
    for name, file in named_files(given, "potentials"):
        key = file.stem if name is None else name
        if key in potentials:
            raise DataError(f"two potentials are called {key!r}: tell them apart as NAME=POT")
        potentials[key] = file
    return potentials


def _calculator(file: Path, species: str | None, threads: int) -> BaseCalculator:
    from pescape.calculators.calculator import PotentialCalculator
    from pescape.calculators.potential import potential_kind
    from pescape.cli.potentials import read_potential

    potential = read_potential(file, species if potential_kind(file) == "mtp" else None)
    return PotentialCalculator(potential, threads=threads)


def print_cross_errors(found: CrossEvaluation) -> None:
    """Print errors of every model on every test set, the best on each in bold.

    Parameters
    ----------
    found
        Errors by model and test set.
    """
    from rich.markup import escape

    from pescape.cli.output import table

    rows = [
        (
            escape(one.model),
            f"{escape(one.test)}\n{one.images} images",
            "MAE\nRMSE",
            *(_cell(one, kind) for kind in ("energy", "force", "angle")),
        )
        for one in found.errors
    ]
    columns = ["model", "tested on", "", "energy\nmeV/atom", "force\neV/Å", "angle\ndegrees"]
    table("errors", columns, rows)


def _cell(one: CrossErrors, kind: str) -> str | None:
    """Write the two errors of a kind, in bold where no other model is better."""
    from pescape.calculators.fit.errors import stated

    names = f"{kind}_mae", f"{kind}_rmse"
    if getattr(one, names[0]) is None:
        return None
    texts = [stated(one, name) for name in names]
    return "\n".join(
        f"[bold]{text}[/]" if name in one.best else text
        for name, text in zip(names, texts, strict=True)
    )
