"""``pescape fit bpnn``."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path  # noqa: TC003 (typer reads the annotations)
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

if TYPE_CHECKING:
    from ase import Atoms

    from pescape.calculators.bpnn import BPNNPotential
    from pescape.calculators.bpnn.fit import CacheSettings, FitResult, FitSettings
    from pescape.calculators.fit.loss import Weights

_GIVEN = "Loss and stages"
_NETWORK = "Network"
_DATA = "Data"


def fit_bpnn(
    train: Annotated[Path, typer.Argument(help="Labelled configurations, any ASE format.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The .bpnn file to write.")],
    preset: Annotated[
        Literal["default", "paper"],
        typer.Option(help="paper: as Waters and Rondinelli trained (Amp's loss, BFGS, table I)."),
    ] = "default",
    species: Annotated[
        str | None,
        typer.Option(help="Elements, e.g. Zr,O (those of TRAIN).", rich_help_panel=_NETWORK),
    ] = None,
    hidden: Annotated[
        str | None,
        typer.Option(
            help="Nodes of the hidden layers (8,8; paper: 8).",
            rich_help_panel=_NETWORK,
        ),
    ] = None,
    cutoff: Annotated[
        float | None, typer.Option(help="Å (5; paper: 7).", rich_help_panel=_NETWORK)
    ] = None,
    radial: Annotated[
        int, typer.Option(help="G2 for each neighbour element.", rich_help_panel=_NETWORK)
    ] = 8,
    angular: Annotated[
        int, typer.Option(help="G5 for each pair of elements.", rich_help_panel=_NETWORK)
    ] = 16,
    start: Annotated[
        Path | None,
        typer.Option(help="Go on from this trained network.", rich_help_panel=_NETWORK),
    ] = None,
    members: Annotated[
        int,
        typer.Option(min=1, help="Networks with other first weights: POT.bpnn, POT-1.bpnn, …"),
    ] = 1,
    test: Annotated[
        Path | None, typer.Option(help="Labelled data to test on.", rich_help_panel=_DATA)
    ] = None,
    validation: Annotated[
        float | None,
        typer.Option(
            help="Fraction of TRAIN that says when to stop (0.1; paper: 0).", rich_help_panel=_DATA
        ),
    ] = None,
    force_limit: Annotated[
        float | None,
        typer.Option(help="eV/Å; leave out what exceeds it.", rich_help_panel=_DATA),
    ] = None,
    limits: Annotated[
        Path | None,
        typer.Option(
            help="limits.json of `pescape sample`: leave out what exceeds them.",
            rich_help_panel=_DATA,
        ),
    ] = None,
    energy_weight: Annotated[
        float | None, typer.Option(help="(3; paper: 1)", rich_help_panel=_GIVEN)
    ] = None,
    force_weight: Annotated[
        float | None, typer.Option(help="(0.01; paper: 0.1)", rich_help_panel=_GIVEN)
    ] = None,
    stress_weight: Annotated[
        float | None, typer.Option(help="(0.001; paper: none)", rich_help_panel=_GIVEN)
    ] = None,
    method: Annotated[
        Literal["levenberg", "bfgs", "lbfgs", "adam"] | None,
        typer.Option(help="In place of the preset's stages.", rich_help_panel=_GIVEN),
    ] = None,
    iterations: Annotated[
        int | None,
        typer.Option(min=1, help="At most, of each stage.", rich_help_panel=_GIVEN),
    ] = None,
    patience: Annotated[
        int | None,
        typer.Option(min=1, help="Iterations without a gain (20).", rich_help_panel=_GIVEN),
    ] = None,
    penalty: Annotated[
        float, typer.Option(help="With --method: on squared weights.", rich_help_panel=_GIVEN)
    ] = 0.0,
    active_set: Annotated[
        Literal["output", "all", "none"],
        typer.Option(help="What grades are about: the output layer, all weights."),
    ] = "output",
    seed: Annotated[int, typer.Option(help="Of first weights and validation.")] = 0,
    threads: Annotated[int, typer.Option(min=1, help="OpenMP threads.")] = 1,
    device: Annotated[
        Literal["auto", "cpu", "cuda"], typer.Option(help="auto: a GPU if torch sees one.")
    ] = "auto",
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
    resume: Annotated[bool, typer.Option("--resume", help="Go on after a kill.")] = False,
) -> None:
    """Fit a Behler-Parrinello network to energies, forces and stresses.

    Symmetry functions and their derivatives are computed once; then every iteration is a few
    matrix products. By default the weights are found by Levenberg-Marquardt, until configurations
    kept out of the fit get no better; large networks or data sets take Adam, then L-BFGS.
    Trains on free energies where the data has them, because forces are their derivatives.
    A configuration with `fit_weight=10` in its header counts tenfold.

    Writes the potential, with its active set, the errors as JSON and a figure beside it.

    Examples: `pescape fit bpnn train.xyz -o mo.bpnn --cutoff 4.8 --test test.xyz`;
    `pescape fit bpnn train.xyz -o zro.bpnn --preset paper`; `pescape fit bpnn train.xyz -o
    mo.bpnn --members 4` for a committee:
    `Committee([BPNN("mo.bpnn"), BPNN("mo-1.bpnn"), …])` in Python tells where they disagree.
    """
    from pescape.calculators.bpnn.fit import CacheSettings
    from pescape.data.configurations import read_configurations

    if output.suffix != ".bpnn":
        raise ValueError(f"{output}: a network is written to a .bpnn file (then pescape convert)")
    changes = {
        "validation": validation,
        "patience": patience,
        "seed": seed,
        "threads": threads,
        "device": device,
    }
    weights = (energy_weight, force_weight, stress_weight)
    settings = _settings(preset, changes, weights, method, iterations, penalty)
    settings = dataclasses.replace(settings, **_limits(limits, force_limit))
    frames = read_configurations(train)
    tested = None if test is None else read_configurations(test)
    elements = None if species is None else [part.strip() for part in species.split(",")]
    potential = _starting_point(frames, start, preset, elements, hidden, cutoff, radial, angular)
    folder = cache or output.with_name(f"{output.name}.cache")
    stored = CacheSettings(folder, memory_limit, precision)
    results = _fit_with_progress(
        potential, frames, settings, stored, output, members=members, resume=resume
    )
    if cache is None:
        shutil.rmtree(folder, ignore_errors=True)
    inputs = [path for path in (train, test, start) if path is not None]
    for member, result in enumerate(results):
        path = output.with_stem(f"{output.stem}-{member}") if member else output
        one_seed = {"seed": seed, "member": member}
        _finish(result, frames, tested, path, active_set, settings, one_seed, inputs, plot)


def _settings(
    preset: str,
    changes: dict[str, Any],
    weights: tuple[float | None, float | None, float | None],
    method: Any,  # noqa: ANN401 (a name that Stage checks)
    iterations: int | None,
    penalty: float,
) -> FitSettings:
    """Take a preset and change what the user gave."""
    from pescape.calculators.bpnn.fit import FitSettings, Stage, waters_rondinelli_settings

    settings = waters_rondinelli_settings() if preset == "paper" else FitSettings()
    changes = {name: value for name, value in changes.items() if value is not None}
    changes["weights"] = _reweighted(settings.weights, *weights)
    if method is not None:
        changes["stages"] = (Stage(method, iterations or 500, penalty=penalty),)
    elif iterations is not None:
        changes["stages"] = (
            None
            if settings.stages is None
            else tuple(
                dataclasses.replace(stage, iterations=min(stage.iterations, iterations))
                for stage in settings.stages
            )
        )
        changes["most_iterations"] = iterations
    return dataclasses.replace(settings, **changes)


def _reweighted(
    weights: Weights, energy: float | None, force: float | None, stress: float | None
) -> Weights:
    """Change those weights that are given."""
    return dataclasses.replace(
        weights,
        energy=weights.energy if energy is None else energy,
        force=weights.force if force is None else force,
        stress=weights.stress if stress is None else stress,
    )


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


def _starting_point(
    frames: list[Atoms],
    start: Path | None,
    preset: str,
    species: list[str] | None,
    hidden: str | None,
    cutoff: float | None,
    radial: int,
    angular: int,
) -> BPNNPotential:
    from pescape.calculators.bpnn import BPNNPotential, waters_rondinelli_functions
    from pescape.calculators.bpnn.fit import default_functions
    from pescape.data.configurations import species_of

    if start is not None:
        return BPNNPotential.read(start)
    names = species or species_of(frames)
    if preset == "paper":
        functions = waters_rondinelli_functions(names, cutoff or 7.0)
        return BPNNPotential.untrained(
            names, functions, hidden=_nodes(hidden or "8"), output_activation="tanh"
        )
    functions = default_functions(names, cutoff or 5.0, radial=radial, angular=angular)
    return BPNNPotential.untrained(names, functions, hidden=_nodes(hidden or "8,8"))


def _nodes(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise ValueError(f"--hidden {text}: numbers of nodes expected, e.g. 8,8") from None


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


def _finish(
    result: FitResult,
    frames: list[Atoms],
    tested: list[Atoms] | None,
    output: Path,
    active_set: str,
    settings: FitSettings,
    seeds: dict[str, int],
    inputs: list[Path],
    plot: bool,
) -> None:
    """Write one network with all that goes with it, and print its errors."""
    from pescape.calculators.bpnn.fit import evaluate
    from pescape.calculators.doptimality.active_set import build_active_set
    from pescape.cli.output import errors_table, save_json, say

    potential, threads = result.potential, settings.threads
    say(f"trained on {result.energy_kind.replace('_', ' ')} values and forces")
    if active_set != "none":
        named: Any = potential.with_active_set(None, active_set)  # type: ignore[arg-type]
        active = build_active_set(named, frames, threads=threads)
        potential = named.with_active_set(active)
        say(f"active set: {active.filled} of {active.size} rows")
    potential.write(output)
    errors = {"training": result.errors}
    if result.validation_errors is not None:
        errors["validation"] = result.validation_errors
    data = {"training": frames}
    if tested is not None:
        errors["test"] = evaluate(potential, tested, threads=threads)
        data["test"] = tested
    errors_table(f"{output}: {potential.parameter_count} parameters", errors)
    if plot:
        from pescape.calculators.fit.loss import parity
        from pescape.figures.evaluation import draw_fit

        parities = {name: parity(potential, some) for name, some in data.items()}
        draw_fit(result.history, parities, output.with_name(f"{output.name}.png"))
    content = result.summary() | {
        **seeds,
        "parameters": potential.parameter_count,
        "settings": dataclasses.asdict(settings),
        "errors": {name: dataclasses.asdict(one) for name, one in errors.items()},
    }
    save_json(output.with_name(f"{output.name}.json"), content, inputs)
