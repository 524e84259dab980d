"""``pescape check``, and the check after every fit."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 (typer reads the annotations)
from typing import TYPE_CHECKING, Annotated

import typer

from pescape.validation.check.run import CheckSettings  # noqa: TC001 (it becomes options)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ase import Atoms

    from pescape.calculators.potential import Potential
    from pescape.validation.check import CheckReport

_COLORS = {"ok": "green", "look": "yellow", "bad": "bold red", "unchecked": "cyan"}


def check(
    potential: Annotated[Path, typer.Argument(metavar="POT", help="Potential file or folder.")],
    settings: CheckSettings,
    data: Annotated[
        Path | None,
        typer.Argument(
            metavar="DATA", help="What it was fitted to; else what its active set holds."
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", help="Folder for check.json, check.png; else POT.check.json, …"
        ),
    ] = None,
    species: Annotated[
        str | None, typer.Option(help="Elements in order (Zr,O), for files that name none.")
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with 2 if anything is bad.")
    ] = False,
) -> None:
    """Check the health of a potential: what would go wrong for one who trusts it.

    Finds the crystals in the data, strained or not, and compares elastic constants and energies
    against volume with those of the data's own strained frames; pushes every pair of elements
    together to 0.5 Å, in vacuum, in the crystals and where the data has it nearest; relaxes random
    packings; looks at isolated atoms, derivatives, invariances and steps; and says how far all
    that is beyond the active set. A line each: ok; look; bad; or unchecked, where the data holds
    nothing to compare with. `pescape fit mtp` and `fit bpnn` do it by themselves.

    Example: `pescape check mo.almtp train.xyz --strict`
    """
    from pescape.cli.potentials import read_potential
    from pescape.data.configurations import read_configurations

    found = read_potential(potential, species)
    frames = None if data is None else read_configurations(data, species=found.species)
    report = run_check(found, frames, potential, data, settings, output)
    if strict and report.status == "bad":
        raise typer.Exit(2)


def run_check(
    potential: Potential,
    frames: Sequence[Atoms] | None,
    path: Path,
    data: Path | None,
    settings: CheckSettings | None = None,
    folder: Path | None = None,
) -> CheckReport:
    """Check a potential with a progress bar, print the verdicts, write JSON and the figure.

    Parameters
    ----------
    potential
        Trained.
    frames
        Labeled data; None for the configurations of its active set.
    path, data
        Their files.
    settings
        How much is looked at.
    folder
        For check.json and check.png; beside the potential, with its name in theirs, if None.
    """
    from pescape.cli.output import progress_bar, save_json, say
    from pescape.figures.check import draw_check
    from pescape.files import file_sha256
    from pescape.validation.check import check_potential

    with progress_bar() as bar:
        shown = bar.add_task("check", total=None, note="")

        def report_progress(what: str, done: int, total: int) -> None:
            bar.update(shown, description=f"check: {what}", completed=done, total=total)

        report = check_potential(
            potential,
            frames,
            settings,
            name=str(path),
            data="" if data is None else str(data),
            identity=file_sha256(path),
            on_progress=report_progress,
        )
    json, figure = (
        path.with_name(f"{path.name}.check{suffix}")
        if folder is None
        else folder / f"check{suffix}"
        for suffix in (".json", ".png")
    )
    print_check(report, path)
    save_json(json, report.to_json(), [one for one in (path, data) if one is not None])
    draw_check(report, figure)
    say(f"{json}, {figure.name}")
    return report


def check_fit(
    potential: Potential, frames: Sequence[Atoms], path: Path, data: Path, threads: int
) -> None:
    """Check what was just fitted; that cannot spoil the fit.

    Parameters
    ----------
    potential
        As written.
    frames
        It was fitted to.
    path, data
        Their files.
    threads
        OpenMP threads.
    """
    from pescape.cli.output import warn
    from pescape.validation.check import CheckSettings

    try:
        run_check(potential, frames, path, data, CheckSettings(threads=threads))
    except Exception as error:  # noqa: BLE001 (calculators raise anything)
        warn(f"{path} is written, but could not be checked: {str(error) or type(error).__name__}")


def print_check(report: CheckReport, path: Path) -> None:
    """Print the verdicts of a check.

    Parameters
    ----------
    report
        Of the check.
    path
        The potential's file.
    """
    from rich.markup import escape

    from pescape.cli.output import say

    took = f"{report.seconds:.0f} s, {report.cpu_seconds:.0f} s of CPU"
    say(f"check of {path}, with {report.data} ({took})")
    for one in report.verdicts:
        color = _COLORS[one.status]
        say(f"  [{color}]{one.status:9}[/] [bold]{escape(one.check)}[/]: {escape(one.text)}")
        if one.advice and one.status != "ok":
            say(f"            → {escape(one.advice)}")
