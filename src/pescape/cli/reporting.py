"""``pescape report``."""

from __future__ import annotations

import dataclasses
from pathlib import Path  # noqa: TC003 (typer reads the annotations)
from typing import Annotated

import typer


def report(
    study: Annotated[
        Path, typer.Argument(metavar="DIR", help="Folder that pescape validate has written.")
    ],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Folder to write to, instead of DIR.")
    ] = None,
    title: Annotated[str | None, typer.Option(help="Instead of the study's.")] = None,
    ensemble: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Tell about this output of pescape ensemble too."),
    ] = None,
    campaign: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Tell about this output of pescape learn too."),
    ] = None,
    curve: Annotated[
        Path | None,
        typer.Option(
            "--learning-curve",
            metavar="DIR",
            help="Tell about this output of pescape learning-curve too.",
        ),
    ] = None,
) -> None:
    """Make the report of a validation again, from its study.json alone.

    Leaves report.html, one page that needs no other file and no network; its figures as PNG and
    SVG (figures/); the structures (structures/); and all numbers (values.csv, values.json).

    Example: `pescape report results --title "Three potentials of Zr" --ensemble ensemble`
    """
    from pescape.cli.output import progress_bar, say
    from pescape.report import write_report
    from pescape.validation.study_run import read_study

    found = read_study(study)
    if title is not None:
        found = dataclasses.replace(found, title=title)
    with progress_bar() as bar:
        shown = bar.add_task("report", total=None, note="")
        page = write_report(
            found,
            study if output is None else output,
            ensemble=ensemble,
            campaign=campaign,
            curve=curve,
            on_finished=lambda done, parts: bar.update(shown, completed=done, total=parts),
        )
    say(f"{page}")
