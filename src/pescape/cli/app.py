"""The commands and their order; what they do is imported when they run."""

from __future__ import annotations

from typing import Annotated

import typer

import pescape
from pescape.cli import (
    data,
    diversity,
    ensemble,
    evaluation,
    grading,
    learning,
    potentials,
    reporting,
    sampling,
    validation,
)
from pescape.cli import fit_mtp as fitting
from pescape.cli import learning_curve as curve

app = typer.Typer(
    name="pescape",
    help="From a potential-energy surface to a trustworthy machine-learned potential.",
    epilog="Add --debug to any command to see where an error comes from.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(value: bool) -> None:
    if value:
        typer.echo(f"pescape {pescape.__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """From a potential-energy surface to a trustworthy machine-learned potential."""


app.command("learn")(learning.learn)
app.command("ensemble")(ensemble.ensemble)
app.command("learning-curve")(curve.learning_curve)
app.command("structures")(data.structures)
app.command("sample")(sampling.sample)
app.command("diversity")(diversity.diversity)
app.command("label")(data.label)
app.add_typer(fitting.app, name="fit")
app.command("evaluate")(evaluation.evaluate)
app.command("grade")(grading.grade)
app.command("select")(grading.select)
app.command("validate")(validation.validate)
app.command("report")(reporting.report)
app.command("convert")(potentials.convert)
app.command("info")(potentials.info)
app.command("lammps", context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(
    potentials.lammps
)
