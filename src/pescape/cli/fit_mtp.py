"""``pescape fit``."""

from __future__ import annotations

import dataclasses
from pathlib import Path  # noqa: TC003 (typer reads the annotations)
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from pescape.cli.fit_bpnn import fit_bpnn

if TYPE_CHECKING:
    from ase import Atoms

    from pescape.calculators.doptimality.design_matrix import Mode
    from pescape.calculators.fit.shards import Communicator
    from pescape.calculators.mtp import MTPotential
    from pescape.calculators.mtp.fit import FitResult, FitSettings

app = typer.Typer(
    help="Fit a potential to labelled configurations.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)


@app.callback()
def _group() -> None:
    """Fit a potential to labelled configurations."""


@app.command("mtp")
def fit_mtp(
    train: Annotated[Path, typer.Argument(help="Labelled configurations, any ASE format.")],
    output: Annotated[
        Path,
        typer.Option("-o", "--output", help=".almtp (with its active set) or .mtp (without)."),
    ],
    level: Annotated[int, typer.Option(help="Even, 2 to 28: how flexible the potential is.")] = 16,
    species: Annotated[
        str | None, typer.Option(help="Elements in order, e.g. Zr,O (those of TRAIN).")
    ] = None,
    cutoff: Annotated[float, typer.Option(help="Å")] = 5.0,
    min_dist: Annotated[
        float | None, typer.Option(help="Å (just below the shortest distance in TRAIN).")
    ] = None,
    radial_basis_size: Annotated[int, typer.Option(help="Chebyshev polynomials.")] = 8,
    zbl: Annotated[
        tuple[float, float] | None,
        typer.Option(
            metavar="INNER OUTER",
            help="Å: add a short-range (ZBL) repulsion, switched off from INNER to OUTER, to the "
            "potential and subtract it from the labels; best where the data ends, e.g. 0.8 1.8 "
            "(that of --start).",
        ),
    ] = None,
    start: Annotated[
        Path | None, typer.Option(help="Start from this potential, of this level or a lower one.")
    ] = None,
    test: Annotated[Path | None, typer.Option(help="Labelled data to test the result on.")] = None,
    energy_weight: Annotated[float, typer.Option(help="In the loss; MLIP has 1.")] = 10.0,
    force_weight: Annotated[float, typer.Option(help="In the loss; MLIP has 0.01.")] = 0.01,
    stress_weight: Annotated[float, typer.Option(help="In the loss; MLIP has 0.001.")] = 1e-4,
    weighting: Annotated[
        Literal["vibrations", "molecules", "structures"],
        typer.Option(
            help="How configurations of N atoms count. Errors of energy and stress are squared "
            "and divided by N, 1, N²; those of forces by 1, 1, N."
        ),
    ] = "vibrations",
    method: Annotated[
        Literal["auto", "bfgs", "projection"],
        typer.Option(help="All parameters, or the linear ones solved for at each step."),
    ] = "auto",
    ladder: Annotated[bool, typer.Option(help="Fit lower levels first and raise them.")] = True,
    iterations: Annotated[int, typer.Option(help="Most iterations on the last level.")] = 2000,
    tolerance: Annotated[float, typer.Option(help="Least relative gain of 60 iterations.")] = 1e-3,
    ridge: Annotated[
        float, typer.Option(help="Of linear solves, relative to the largest singular value.")
    ] = 1e-6,
    starts: Annotated[int, typer.Option(help="Random starts; the best goes on.")] = 4,
    mode: Annotated[
        Literal["neighborhood", "configuration"], typer.Option(help="Of the active set.")
    ] = "neighborhood",
    seed: Annotated[int, typer.Option(help="Of the random starts.")] = 0,
    threads: Annotated[int, typer.Option(min=1, help="OpenMP threads.")] = 1,
    plot: Annotated[bool, typer.Option(help="Draw POT.almtp.png.")] = True,
    resume: Annotated[bool, typer.Option("--resume", help="Go on after a kill.")] = False,
) -> None:
    """Fit a moment tensor potential to energies, forces and stresses.

    Trains on free energies where the data has them, because forces are their derivatives.
    A configuration with `fit_weight=10` in its header counts tenfold.
    Writes the potential, with its active set, the errors as JSON and a figure beside it.
    `mpiexec -n 8 pescape fit mtp …` shares the work among ranks and ends with the same numbers.

    Examples: `pescape fit mtp train.xyz -o zr.almtp --level 16 --test test.xyz`, then
    `pescape fit mtp train.xyz -o zr20.almtp --level 20 --start zr.almtp`
    """
    from pescape.calculators.fit.shards import agreed, ending_together, world
    from pescape.calculators.mtp.fit import FitSettings, Weights
    from pescape.calculators.zbl import ZBL
    from pescape.data.configurations import read_configurations

    ranks = world()

    def prepared() -> tuple[MTPotential, FitSettings, list[Atoms], list[Atoms] | None]:
        settings = FitSettings(
            weights=Weights(energy_weight, force_weight, stress_weight, weighting),
            method="variable projection" if method == "projection" else method,
            ladder=ladder,
            iterations=iterations,
            tolerance=tolerance,
            ridge=ridge,
            starts=starts,
            seed=seed,
            threads=threads,
        )
        frames = read_configurations(train)
        tested = None if test is None else read_configurations(test)
        given = None if species is None else tuple(part.strip() for part in species.split(","))
        potential = _starting_point(
            frames, start, level, given, cutoff, min_dist, radial_basis_size, seed
        )
        if zbl is not None:
            potential = potential.with_repulsion(ZBL(*zbl))
        return potential, settings, frames, tested

    with ending_together(ranks):
        potential, settings, frames, tested = agreed(ranks, prepared)
        result = _fit_with_progress(potential, frames, settings, output, ranks, resume=resume)
    if ranks.rank:
        return
    inputs = [path for path in (train, test, start) if path is not None]
    _finish(result, frames, tested, output, settings, level, mode, inputs, plot=plot)


def _finish(
    result: FitResult,
    frames: list[Atoms],
    tested: list[Atoms] | None,
    output: Path,
    settings: FitSettings,
    level: int,
    mode: Mode,
    inputs: list[Path],
    *,
    plot: bool,
) -> None:
    """Write the potential with all that goes with it, and print its errors."""
    from pescape.calculators.mtp.fit import evaluate
    from pescape.cli.output import errors_table, save_json, say

    potential = result.potential
    say(f"trained on {result.energy_kind.replace('_', ' ')} values, forces and stresses")
    _write(result, frames, output, mode, settings.threads)
    errors, data = {"training": result.errors}, {"training": frames}
    if tested is not None:
        errors["test"] = evaluate(potential, tested, threads=settings.threads)
        data["test"] = tested
    errors_table(f"{output}: level {level}, {potential.parameter_count} parameters", errors)
    if plot:
        from pescape.calculators.fit.loss import parity
        from pescape.figures.evaluation import draw_loss

        parities = {name: parity(potential, some) for name, some in data.items()}
        draw_loss(result.history, parities, output.with_name(f"{output.name}.png"))
    content = result.summary() | {
        "level": level,
        "parameters": potential.parameter_count,
        "history": list(result.history),
        "settings": dataclasses.asdict(settings),
        "errors": {name: dataclasses.asdict(one) for name, one in errors.items()},
    }
    save_json(output.with_name(f"{output.name}.json"), content, inputs)


def _starting_point(
    frames: list[Atoms],
    start: Path | None,
    level: int,
    species: tuple[str, ...] | None,
    cutoff: float,
    min_dist: float | None,
    radial_basis_size: int,
    seed: int,
) -> MTPotential:
    from pescape.calculators.mtp import MTPotential
    from pescape.calculators.mtp.fit import raised
    from pescape.data.configurations import species_of

    if start is None:
        return MTPotential.untrained(
            level,
            species or species_of(frames),
            cutoff,
            _min_dist(frames, cutoff) if min_dist is None else min_dist,
            radial_basis_size,
        )
    potential = MTPotential.read(start)
    if not potential.species:
        potential = potential.with_species(species or species_of(frames))
    wanted = MTPotential.untrained(
        level, potential.species, potential.cutoff, potential.min_dist, potential.radial_basis_size
    )
    if wanted.parameter_count == potential.parameter_count:
        return potential
    return raised(potential, level, seed=seed)


def _min_dist(frames: list[Atoms], cutoff: float) -> float:
    """Shortest distance in the data, rounded down to a tenth of an Ångström."""
    import math

    from pescape.calculators.fit.data import shortest_distance
    from pescape.errors import frame_name

    found = [
        shortest_distance(atoms, cutoff, frame_name(atoms, index))
        for index, atoms in enumerate(frames)
    ]
    return math.floor(10.0 * min(found)) / 10.0 if math.isfinite(min(found)) else 1.0


def _fit_with_progress(
    potential: MTPotential,
    frames: list[Atoms],
    settings: FitSettings,
    output: Path,
    ranks: Communicator,
    *,
    resume: bool,
) -> FitResult:
    from pescape.calculators.mtp.fit import Progress, fit_mtp
    from pescape.cli.output import progress_bar

    if ranks.rank:
        return fit_mtp(potential, frames, settings, ranks=ranks)
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
            potential, frames, settings, checkpoint=checkpoint, on_progress=report, ranks=ranks
        )
    checkpoint.unlink(missing_ok=True)
    return result


def _write(result: FitResult, frames: list[Atoms], output: Path, mode: Mode, threads: int) -> None:
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


app.command("bpnn")(fit_bpnn)
