"""``pescape fit mtp``."""

from __future__ import annotations

import dataclasses
from pathlib import Path  # noqa: TC003 (typer reads the annotations)
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from pescape.calculators.mtp.fit.settings import (  # noqa: TC001 (they become options)
    FitSettings,
    MTPArchitecture,
    Repulsion,
)

if TYPE_CHECKING:
    from ase import Atoms

    from pescape.calculators.committee.model import ErrorModel
    from pescape.calculators.doptimality.design_matrix import Mode
    from pescape.calculators.fit.shards import Communicator
    from pescape.calculators.mtp import MTPotential
    from pescape.calculators.mtp.fit import FitResult


def fit_mtp(
    train: Annotated[Path, typer.Argument(help="Labelled configurations, any ASE format.")],
    output: Annotated[
        Path,
        typer.Option("-o", "--output", help=".almtp (with its active set) or .mtp (without)."),
    ],
    architecture: MTPArchitecture,
    repulsion: Repulsion,
    settings: FitSettings,
    start: Annotated[
        Path | None, typer.Option(help="Start from this potential, of this level or a lower one.")
    ] = None,
    test: Annotated[Path | None, typer.Option(help="Labelled data to test the result on.")] = None,
    mode: Annotated[
        Literal["neighborhood", "configuration"], typer.Option(help="Of the active set.")
    ] = "neighborhood",
    committee: Annotated[
        int, typer.Option(min=0, help="Members that predict errors (POT.almtp.errors); 0: none.")
    ] = 4,
    plot: Annotated[bool, typer.Option(help="Draw POT.almtp.png.")] = True,
    check: Annotated[bool, typer.Option(help="Check the result, as pescape check does.")] = True,
    resume: Annotated[bool, typer.Option("--resume", help="Go on after a kill.")] = False,
) -> None:
    """Fit a moment tensor potential to energies, forces and stresses.

    Trains on free energies where the data has them, because forces are their derivatives.
    A configuration with `fit_weight=10` in its header counts tenfold.
    Writes the potential, with its active set, and beside it the committee that predicts errors,
    the errors as JSON and a figure.
    `mpiexec -n 8 pescape fit mtp …` shares the work among ranks and ends with the same numbers.

    Examples: `pescape fit mtp train.xyz -o zr.almtp --level 16 --test test.xyz`, then
    `pescape fit mtp train.xyz -o zr20.almtp --level 20 --start zr.almtp`
    """
    from pescape.calculators.fit.shards import agreed, ending_together, world
    from pescape.data.configurations import read_configurations

    ranks = world()

    def prepared() -> tuple[MTPotential, list[Atoms], list[Atoms] | None]:
        frames = read_configurations(train)
        tested = None if test is None else read_configurations(test)
        potential = _starting_point(frames, start, architecture, settings.seed)
        return repulsion.beside(potential), frames, tested

    with ending_together(ranks):
        potential, frames, tested = agreed(ranks, prepared)
        result = _fit_with_progress(
            potential, frames, settings, output, ranks, resume=resume, wall=not repulsion.no_zbl
        )
    if ranks.rank:
        return
    inputs = [path for path in (train, test, start) if path is not None]
    model = None
    if committee:
        from pescape.calculators.mtp.fit.committee import error_model

        model = error_model(
            result.potential,
            frames,
            settings.weights,
            stress_offset=result.stress_offset,
            members=committee,
            seed=settings.seed,
            threads=settings.threads,
        )
    potential = _finish(
        result, model, frames, tested, output, settings, architecture.level, mode, inputs, plot=plot
    )
    if check:
        from pescape.cli.check import check_fit

        check_fit(potential, frames, output, train, settings.threads)


def _finish(
    result: FitResult,
    model: ErrorModel | None,
    frames: list[Atoms],
    tested: list[Atoms] | None,
    output: Path,
    settings: FitSettings,
    level: int,
    mode: Mode,
    inputs: list[Path],
    *,
    plot: bool,
) -> MTPotential:
    """Write the potential with all that goes with it, and print its errors."""
    from pescape.calculators.fit.errors import compare, errors_from
    from pescape.cli.output import errors_table, save_json, say
    from pescape.cli.predicted import write_error_model

    potential = result.potential
    say(f"trained on {result.energy_kind.replace('_', ' ')} values, forces and stresses")
    written = _write(result, frames, output, mode, settings.threads)
    predicted = write_error_model(output, model)
    found = {"training": result.differences}
    if tested is not None:
        found["test"] = compare(potential, tested, threads=settings.threads)
    errors = {name: errors_from(one) for name, one in found.items()}
    errors_table(f"{output}: level {level}, {potential.parameter_count} parameters", errors)
    if plot:
        from pescape.figures.evaluation import draw_loss

        draw_loss(result.history, found, output.with_name(f"{output.name}.png"))
    content = result.summary() | {
        "level": level,
        "parameters": potential.parameter_count,
        "history": list(result.history),
        "settings": settings.as_record(),
        "errors": {name: dataclasses.asdict(one) for name, one in errors.items()},
        **predicted,
    }
    save_json(output.with_name(f"{output.name}.json"), content, inputs)
    return written


def _starting_point(
    frames: list[Atoms], start: Path | None, wanted: MTPArchitecture, seed: int
) -> MTPotential:
    from pescape.calculators.mtp import MTPotential
    from pescape.calculators.mtp.fit import raised
    from pescape.data.configurations import species_of

    species = wanted.species or species_of(frames)
    if start is None:
        return wanted.untrained(species, frames)
    potential = MTPotential.read(start)
    if not potential.species:
        potential = potential.with_species(species)
    same = MTPotential.untrained(
        wanted.level,
        potential.species,
        potential.cutoff,
        potential.min_dist,
        potential.radial_basis_size,
    )
    if same.parameter_count != potential.parameter_count:
        potential = raised(potential, wanted.level, seed=seed)
    return potential


def _fit_with_progress(
    potential: MTPotential,
    frames: list[Atoms],
    settings: FitSettings,
    output: Path,
    ranks: Communicator,
    *,
    resume: bool,
    wall: bool,
) -> FitResult:
    from pescape.calculators.mtp.fit import Progress, fit_mtp
    from pescape.cli.output import progress_bar

    if ranks.rank:
        return fit_mtp(potential, frames, settings, ranks=ranks, wall=wall)
    output.parent.mkdir(parents=True, exist_ok=True)
    checkpoint = output.with_name(f"{output.name}.checkpoint.npz")
    if not resume:
        checkpoint.unlink(missing_ok=True)
    with progress_bar() as bar:
        shown = bar.add_task("fit", total=settings.iterations, note="")

        def report(now: Progress) -> None:
            bar.update(
                shown,
                description=now.stage,
                completed=now.iteration,
                total=now.most,
                note=f"loss {now.loss:.4g}",
            )

        result = fit_mtp(
            potential,
            frames,
            settings,
            checkpoint=checkpoint,
            on_progress=report,
            ranks=ranks,
            wall=wall,
        )
    checkpoint.unlink(missing_ok=True)
    return result


def _write(
    result: FitResult, frames: list[Atoms], output: Path, mode: Mode, threads: int
) -> MTPotential:
    from pescape.calculators.doptimality.active_set import build_active_set
    from pescape.cli.output import say

    potential = result.potential
    if output.suffix == ".mtp":
        say("an .mtp file has no active set, hence no grades: name the output .almtp to have them")
    else:
        active = build_active_set(potential, frames, mode, threads=threads)
        potential = potential.with_active_set(active)
        say(
            f"active set: {active.filled} of {active.size} rows, "
            f"from {len(active.configurations)} of {len(frames)} configurations"
        )
    potential.write(output)
    return potential
