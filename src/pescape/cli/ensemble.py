"""``pescape ensemble`` and ``pescape learning-curve``."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path  # noqa: TC003 (typer reads the annotations)
from typing import TYPE_CHECKING, Annotated

import typer

from pescape.cli.options import ConfigFile  # noqa: TC001 (typer reads the annotations)
from pescape.fits.config import CurveConfig  # noqa: TC001 (typer reads the annotations)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pescape.ensemble.learning_curve import LearningCurve
    from pescape.ensemble.results import EnsembleReport, Member, Spread
    from pescape.ensemble.run import EnsembleRunConfig
    from pescape.labelling import Reference


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
    from pescape.calculators.fit.errors import stated
    from pescape.cli.output import table

    columns = ("level", "params", "frames", "meV/atom", "eV/Å", "test meV/atom", "eV/Å")
    rows = []
    for one in found.points:
        tests = [
            f"[bold]{stated(one, name)}[/]" if name in one.best else stated(one, name)
            for name in ("test_energy_rmse", "test_force_rmse")
        ]
        size = str(one.level), one.parameters, one.configurations
        rows.append((*size, one.energy_rmse, one.force_rmse, *tests))
    table("Errors (RMSE) on the training data and on the test set", columns, rows)


#: Most lines of the decision tree, and rows of a table, on the screen.
_LINES = 40


def ensemble(
    training: Annotated[Path, typer.Argument(metavar="TRAIN", help="Labelled configurations.")],
    config: Annotated[
        ConfigFile, typer.Argument(help="TOML file with [potential], [[properties]].")
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder to write to.")],
    reference: Annotated[
        str | None,
        typer.Option(
            "-r",
            "--reference",
            help="What members are compared with: eam:FILE, MODULE:CLASS of an ASE calculator, "
            "FILE.py:FUNCTION that makes one, or a TOML file.",
        ),
    ] = None,
    test: Annotated[
        Path | None, typer.Option(help="Labelled configurations that nothing is fitted to.")
    ] = None,
    members: Annotated[int | None, typer.Option(min=1, help="Instead of those in CONFIG.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Instead of the seed in CONFIG.")] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes.")] = None,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Compute again the properties that failed.")
    ] = False,
    status: Annotated[bool, typer.Option("--status", help="Show what is finished.")] = False,
) -> None:
    """Fit potentials from many seeds and show which of them satisfy which property.

    Leaves in the output folder the decision tree (tree.txt, tree.png), the distributions of
    values (histograms.png), all numbers (ensemble.json, members.csv, values.csv) and the member
    that satisfies most (best.almtp or best.bpnn). Killed at any moment and started again, the
    command goes on where it was.

    Example: `pescape ensemble train.xyz ensemble.toml -o ensemble -r eam:Zr_mm.eam.fs`, where
    ensemble.toml holds

    ```toml
    members = 100
    workers = 2

    [potential]
    species = ["Zr"]
    level = 16
    cutoff = 5.0                  # Å

    [[properties]]
    kind = "lattice"              # also: eos, elastic, vacancy, vacancy_migration, interstitial
    phases = [{ element = "Zr", lattice = "hcp" }, { element = "Zr", lattice = "bcc" }]

    [[properties]]
    kind = "vacancy_migration"
    crystal = { element = "Zr", lattice = "hcp" }

    [predicates]                  # in the order of the tree
    "hcp is stable" = "lattice.bcc.relative > 0"
    "a is right" = "lattice.hcp.a = reference.lattice.hcp.a +- 0.02"
    "jumps in plane" = "vacancy_migration.basal < vacancy_migration.out_of_basal"
    ```
    """
    from pescape.cli.output import say
    from pescape.ensemble.run import EnsembleRunConfig
    from pescape.labelling import reference_from

    settings = config.load(EnsembleRunConfig, members=members, seed=seed, workers=workers)
    known = None if reference is None else reference_from(reference)
    if status:
        _print_status(settings, training, output, known)
        return
    begin = time.perf_counter()
    report = _run_with_progress(settings, training, output, known, test, retry_failed=retry_failed)
    print_report(report, settings.shown)
    for name in ("ensemble.json", "histograms.png", "tree.png", "best.almtp", "best.bpnn"):
        if (output / name).exists():
            say(f"{output / name}")
    say(f"{len(report.members)} members in {time.perf_counter() - begin:.0f} s")


def _run_with_progress(
    settings: EnsembleRunConfig,
    training: Path,
    output: Path,
    reference: Reference | None,
    test: Path | None,
    *,
    retry_failed: bool,
) -> EnsembleReport:
    from pescape.cli.output import progress_bar
    from pescape.ensemble.run import ensemble_of_files

    with progress_bar() as bar:
        shown = bar.add_task("start", total=1, note="")

        class Screen:
            """Shows how far an ensemble is."""

            def stage(self, what: str, done: int, total: int) -> None:
                bar.update(shown, description=what, completed=done, total=total)

        return ensemble_of_files(
            settings,
            training,
            output,
            reference=reference,
            test=test,
            watcher=Screen(),
            retry_failed=retry_failed,
        )


def print_report(report: EnsembleReport, shown: Sequence[str]) -> None:
    """Print some values, the tree and which members are the best.

    Parameters
    ----------
    report
        Of an ensemble.
    shown
        Names of the values.
    """
    from pescape.cli.output import say, table, warn
    from pescape.ensemble.results import tree_text

    spreads = {one.name: one for one in report.spreads}
    rows = [_spread_row(spreads[name]) for name in shown]
    columns = ["value", "members", "mean ± deviation", "from", "to", "reference", "unit"]
    table(f"what {len(report.members)} members predict (all of it: values.csv)", columns, rows)
    if report.satisfied:
        counts = [(one.name, one.alone, one.together, one.unknown) for one in report.satisfied]
        table("predicates", ["satisfied by", "members", "and all\nbefore it", "unknown"], counts)
        lines = tree_text(report.tree).splitlines()
        say("\n".join(lines[:_LINES]))
        if len(lines) > _LINES:
            say(f"… {len(lines) - _LINES} more lines in {report.folder / 'tree.txt'}")
        best = report.members[report.best[0] - 1]
        others = f", as do {len(report.best) - 1} more" if len(report.best) > 1 else ""
        say(
            f"best: member {best.number} (seed {best.seed}) satisfies {best.satisfied} of "
            f"{len(report.satisfied)}{others}{_tested(best)}"
        )
    for name, why in _failures(report).items():
        warn(f"{name} {why}")


def _tested(best: Member) -> str:
    """Say how large errors on the test set are, if there is one."""
    from pescape.calculators.fit.errors import with_error

    errors = best.errors.get("test")
    if errors is None:
        return ""
    energy, force = (
        with_error(errors[name], errors.get(f"{name}_error"))
        for name in ("energy_rmse", "force_rmse")
    )
    return f"; test RMSE {energy} meV/atom, {force} eV/Å"


def _spread_row(one: Spread) -> tuple[object, ...]:
    mean = None if one.mean is None else f"{one.mean:.4g} ± {one.std:.2g}"
    return one.name, one.count, mean, one.least, one.largest, one.reference, one.unit


def _failures(report: EnsembleReport) -> dict[str, str]:
    """Say for each property how many members failed, and why the first did."""
    told: dict[str, str] = {}
    for title in dict.fromkeys(name for m in report.members for name in m.failures):
        failed = [m for m in report.members if title in m.failures]
        why = failed[0].failures[title]
        told[title] = f"failed for {len(failed)} members, for member {failed[0].number}: {why}"
    for one in report.reference:
        if one.failure is not None:
            told[f"{one.title} of the reference"] = f"failed: {one.failure}"
    return told


def _print_status(
    settings: EnsembleRunConfig, training: Path, output: Path, reference: Reference | None
) -> None:
    from pescape.cli.output import say
    from pescape.ensemble.run import ensemble_progress

    fitted, computed, wanted = ensemble_progress(settings, training, output, reference)
    say(f"{fitted} of {settings.members} members fitted")
    say(f"{computed} of {wanted} properties computed")
