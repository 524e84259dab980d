"""The commands and their order; the module of a command is imported when it is called."""

from __future__ import annotations

import dataclasses
from importlib import import_module
from typing import TYPE_CHECKING, Annotated, Any

import typer

import pescape

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


@dataclasses.dataclass(frozen=True)
class Command:
    """A command of the program.

    Parameters
    ----------
    name
        As it is typed; ``"fit mtp"`` belongs to the group ``fit``.
    module
        Of `pescape.cli`; it holds a function called as the command.
    summary
        One line for the list of commands.
    settings
        Handed to typer.
    """

    name: str
    module: str
    summary: str
    settings: dict[str, Any] = dataclasses.field(default_factory=dict)

    def function(self) -> Callable[..., None]:
        """Import the command, with its options."""
        from pescape.cli.options import command

        module = import_module(f"pescape.cli.{self.module}")
        return command(getattr(module, self.name.replace(" ", "_").replace("-", "_")))


COMMANDS = (
    Command("learn", "learning", "Learn a potential actively, until nothing is risky."),
    Command("ensemble", "ensemble", "Fit potentials from many seeds and compare them."),
    Command("learning-curve", "learning_curve", "Fit to growing parts of a data set."),
    Command("structures", "data", "Build initial structures."),
    Command("sample", "sampling", "Evolve structures by MD, contour exploration, dimer searches."),
    Command("diversity", "diversity", "Measure how diverse data sets are."),
    Command("label", "data", "Label configurations with reference energies and forces."),
    Command("fit mtp", "fit_mtp", "Fit a moment tensor potential."),
    Command("fit bpnn", "fit_bpnn", "Fit a Behler-Parrinello network."),
    Command("evaluate", "evaluation", "Errors of a potential on labelled configurations."),
    Command("grade", "grading", "Extrapolation grades of configurations."),
    Command("select", "grading", "Select the candidates that teach a potential most."),
    Command("validate", "validation", "Compute properties and compare them with references."),
    Command("report", "reporting", "Make the report of a validation again."),
    Command("convert", "potentials", "Convert between file formats."),
    Command("info", "potentials", "Show what a potential holds."),
    Command(
        "lammps",
        "potentials",
        "Run LAMMPS with the plugin and MPI found.",
        {"context_settings": {"allow_extra_args": True, "ignore_unknown_options": True}},
    ),
)
_GROUPS = {"fit": "Fit a potential to labelled configurations."}


def build_app(arguments: Sequence[str] | None = None) -> typer.Typer:
    """Build the command line.

    Parameters
    ----------
    arguments
        Of the program: the commands that they do not name are listed only, for the sake of a
        fast start. All are imported if None.
    """
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
    app.callback()(_root)
    groups = {name: typer.Typer(no_args_is_help=True) for name in _GROUPS}
    words = None if arguments is None else [one for one in arguments if one[:1] != "-"]
    for one in COMMANDS:
        group, _, name = one.name.rpartition(" ")
        parts = one.name.split()
        function = one.function() if words is None or words[: len(parts)] == parts else _not_called
        owner = groups[group] if group else app
        owner.command(name, short_help=one.summary, **one.settings)(function)
        if group and group not in {info.name for info in app.registered_groups}:
            groups[group].callback()(_group)
            app.add_typer(groups[group], name=group, help=_GROUPS[group])
    return app


def _version(value: bool) -> None:
    if value:
        typer.echo(f"pescape {pescape.__version__}")
        raise typer.Exit


def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """From a potential-energy surface to a trustworthy machine-learned potential."""


def _group() -> None:
    """Keep the group a group when it has one command."""


def _not_called() -> None:
    """Stand for a command in the list of commands."""
