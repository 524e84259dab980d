"""``pescape fit bpnn``."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path  # noqa: TC003 (typer reads the annotations)
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from pescape.calculators.bpnn.fit.settings import (  # noqa: TC001 (they become options)
    BPNNArchitecture,
    BPNNFitOptions,
    Preset,
)

if TYPE_CHECKING:
    from ase import Atoms

    from pescape.calculators.bpnn import BPNNPotential
    from pescape.calculators.bpnn.fit import CacheSettings, FitResult, FitSettings
    from pescape.calculators.committee.model import ErrorModel
    from pescape.calculators.fit.errors import Differences


def fit_bpnn(
    train: Annotated[Path, typer.Argument(help="Labelled configurations, any ASE format.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The .bpnn file to write.")],
    architecture: BPNNArchitecture,
    options: BPNNFitOptions,
    preset: Annotated[
        Preset,
        typer.Option(help="paper: as Waters and Rondinelli trained (Amp's loss, BFGS, table I)."),
    ] = "default",
    seed: Annotated[int, typer.Option(help="Of first weights and of the data for validation.")] = 0,
    start: Annotated[Path | None, typer.Option(help="Go on from this trained network.")] = None,
    members: Annotated[
        int,
        typer.Option(min=1, help="Networks with other first weights: POT.bpnn, POT-1.bpnn, …"),
    ] = 1,
    test: Annotated[Path | None, typer.Option(help="Labelled data to test the result on.")] = None,
    limits: Annotated[
        Path | None,
        typer.Option(help="limits.json of `pescape sample`: leave out what exceeds them."),
    ] = None,
    active_set: Annotated[
        Literal["inputs", "output", "all", "none"],
        typer.Option(help="What grades are about: inputs and layers behind, output layer, all."),
    ] = "inputs",
    committee: Annotated[
        int, typer.Option(min=0, help="Members that predict errors (POT.bpnn.errors); 0: none.")
    ] = 4,
    precision: Annotated[
        Literal["double", "single"], typer.Option(help="single: half the memory for derivatives.")
    ] = "double",
    memory_limit: Annotated[
        float, typer.Option(help="GB of derivatives held in memory; beyond: read from files.")
    ] = 4.0,
    cache: Annotated[
        Path | None, typer.Option(help="Keep derivatives here for other fits to the same data.")
    ] = None,
    plot: Annotated[bool, typer.Option(help="Draw POT.bpnn.png.")] = True,
    check: Annotated[
        bool, typer.Option(help="Check the result (the first network), as pescape check does.")
    ] = True,
    resume: Annotated[bool, typer.Option("--resume", help="Go on after a kill.")] = False,
) -> None:
    """Fit a Behler-Parrinello network to energies, forces and stresses.

    Symmetry functions and their derivatives are computed once; then every iteration is a few
    matrix products. By default the weights are found by Levenberg-Marquardt, until configurations
    kept out of the fit get no better; large networks or data sets take Adam, then L-BFGS.
    Trains on free energies where the data has them, because forces are their derivatives.
    A configuration with `fit_weight=10` in its header counts tenfold.

    Writes the potential, with its active set, and beside it the committee that predicts errors,
    the errors as JSON and a figure.

    Examples: `pescape fit bpnn train.xyz -o mo.bpnn --cutoff 4.8 --test test.xyz`;
    `pescape fit bpnn train.xyz -o zro.bpnn --preset paper`; `pescape fit bpnn train.xyz -o
    mo.bpnn --members 4` for networks whose mean and disagreement are those of
    `Committee([BPNN("mo.bpnn"), BPNN("mo-1.bpnn"), …])` in Python.
    """
    from pescape.calculators.bpnn import BPNNPotential
    from pescape.calculators.bpnn.fit import CacheSettings
    from pescape.data.configurations import read_configurations, species_of

    if output.suffix != ".bpnn":
        raise ValueError(f"{output}: a network is written to a .bpnn file (then pescape convert)")
    settings = options.settings(preset, seed)
    settings = dataclasses.replace(settings, **_limits(limits, options.force_limit))
    frames = read_configurations(train)
    tested = None if test is None else read_configurations(test)
    if start is not None:
        potential = BPNNPotential.read(start)
    else:
        potential = architecture.untrained(species_of(frames), preset)
    folder = cache or output.with_name(f"{output.name}.cache")
    stored = CacheSettings(folder, memory_limit, precision)
    results = _fit_with_progress(
        potential, frames, settings, stored, output, members=members, resume=resume
    )
    models = [
        _error_model(one.potential, frames, settings, committee, stored, seed) for one in results
    ]
    if cache is None:
        shutil.rmtree(folder, ignore_errors=True)
    inputs = [path for path in (train, test, start) if path is not None]
    for member, (result, model) in enumerate(zip(results, models, strict=True)):
        path = output.with_stem(f"{output.stem}-{member}") if member else output
        one_seed = {"seed": seed, "member": member}
        written = _finish(
            result, model, frames, tested, path, active_set, settings, one_seed, inputs, plot
        )
        if check and member == 0:
            from pescape.cli.check import check_fit

            check_fit(written, frames, path, train, settings.threads)


def _limits(path: Path | None, force: float | None) -> dict[str, Any]:
    """Read limits of force and energy from what `pescape sample` computed."""
    if path is None:
        return {"force_limit": force}
    import json

    from pescape.errors import DataError
    from pescape.plugins.structures import EnergyForceLimits

    try:
        found = EnergyForceLimits.from_dict(json.loads(path.read_text(encoding="utf-8")))
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path} holds no limits as pescape sample writes them: {error}") from error
    return {
        "force_limit": found.force_limit() if force is None else force,
        "energy_limit": found.energy_limit(),
        "atom_energies": found.atom_energies,
    }


def _fit_with_progress(
    potential: BPNNPotential,
    frames: list[Atoms],
    settings: FitSettings,
    cache: CacheSettings,
    output: Path,
    *,
    members: int,
    resume: bool,
) -> tuple[FitResult, ...]:
    from pescape.calculators.bpnn.fit import Progress, fit_ensemble
    from pescape.cli.output import progress_bar, say

    output.parent.mkdir(parents=True, exist_ok=True)
    checkpoint = output.with_name(f"{output.name}.checkpoint.npz")
    files = [
        checkpoint,
        *(checkpoint.with_name(f"{checkpoint.name}.{k}") for k in range(1, members)),
    ]
    if not resume:
        for file in files:
            file.unlink(missing_ok=True)
    with progress_bar() as bar:
        shown = bar.add_task("symmetry functions", total=None, note="")

        def report(now: Progress) -> None:
            energy, force = now.validation_energy_rmse, now.validation_force_rmse
            kept = "" if energy is None else f" (validation {energy:.2f}, {force:.3f})"
            bar.update(
                shown,
                description=now.stage + (f", network {now.member + 1}" if members > 1 else ""),
                completed=now.iteration,
                total=now.iterations,
                note=f"{now.energy_rmse:.2f} meV/atom, {now.force_rmse:.3f} eV/Å{kept}",
            )

        results = fit_ensemble(
            potential,
            frames,
            settings,
            members=members,
            cache=cache,
            checkpoint=checkpoint,
            on_progress=report,
            report=say,
        )
    for file in files:
        file.unlink(missing_ok=True)
    return results


def _error_model(
    potential: BPNNPotential,
    frames: list[Atoms],
    settings: FitSettings,
    members: int,
    cache: CacheSettings,
    seed: int,
) -> ErrorModel | None:
    """Make the committee of a network; None if none is wanted, or possible."""
    from pescape.calculators.bpnn.fit.committee import error_model

    if not members:
        return None
    return error_model(potential, frames, settings, members=members, seed=seed, cache=cache)


def _finish(
    result: FitResult,
    model: ErrorModel | None,
    frames: list[Atoms],
    tested: list[Atoms] | None,
    output: Path,
    active_set: str,
    settings: FitSettings,
    seeds: dict[str, int],
    inputs: list[Path],
    plot: bool,
) -> BPNNPotential:
    """Write one network with all that goes with it, and print its errors."""
    from pescape.calculators.doptimality.active_set import build_active_set
    from pescape.calculators.fit.errors import compare, errors_from
    from pescape.cli.output import errors_table, save_json, say
    from pescape.cli.predicted import write_error_model

    potential, threads = result.potential, settings.threads
    say(f"trained on {result.energy_kind.replace('_', ' ')} values and forces")
    if active_set != "none":
        named: Any = potential.with_active_set(None, active_set)  # type: ignore[arg-type]
        active = build_active_set(named, frames, threads=threads)
        potential = named.with_active_set(active)
        say(f"active set: {active.filled} of {active.size} rows")
    potential.write(output)
    predicted = write_error_model(output, model)
    errors = {"training": result.errors}
    if result.validation_errors is not None:
        errors["validation"] = result.validation_errors
    found: dict[str, Differences] = {}
    if plot:
        found["training"] = compare(potential, frames, threads=threads)
    if tested is not None:
        found["test"] = compare(potential, tested, threads=threads)
        errors["test"] = errors_from(found["test"])
    errors_table(f"{output}: {potential.parameter_count} parameters", errors)
    if plot:
        from pescape.figures.evaluation import draw_fit

        draw_fit(result.history, found, output.with_name(f"{output.name}.png"))
    content = result.summary() | {
        **seeds,
        "parameters": potential.parameter_count,
        "settings": dataclasses.asdict(settings),
        "errors": {name: dataclasses.asdict(one) for name, one in errors.items()},
        **predicted,
    }
    save_json(output.with_name(f"{output.name}.json"), content, inputs)
    return potential
