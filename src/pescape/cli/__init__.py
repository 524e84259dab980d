"""The ``pescape`` command: its commands and their order, and how errors are shown.

The module of a command is imported when the command is called.
"""

from __future__ import annotations

import dataclasses
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Annotated, Any

import typer

import pescape

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


_INTERRUPTED = 130


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
    Command("learning-curve", "ensemble", "Fit to growing parts of a data set."),
    Command("structures", "data", "Build initial structures."),
    Command("sample", "sampling", "Evolve structures by MD, contour exploration, dimer searches."),
    Command("diversity", "sampling", "Measure how diverse data sets are."),
    Command("label", "data", "Label configurations with reference energies and forces."),
    Command("fit mtp", "fit_mtp", "Fit a moment tensor potential."),
    Command("fit bpnn", "fit_bpnn", "Fit a Behler-Parrinello network."),
    Command("evaluate", "evaluation", "Errors of a potential on labelled configurations."),
    Command("check", "check", "Check a potential's health: holes, elasticity, smoothness."),
    Command("grade", "grading", "Extrapolation grades of configurations."),
    Command("select", "grading", "Select the candidates that teach a potential most."),
    Command("validate", "validation", "Compute properties and compare them with references."),
    Command("report", "validation", "Make the report of a validation again."),
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


def main(argv: list[str] | None = None) -> None:
    """Run the command line; errors that are the user's to mend are told in one line.

    Parameters
    ----------
    argv
        The arguments; those of the process if None. ``--debug``, anywhere before a ``--``, shows
        where an error came from.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    own = arguments[: arguments.index("--")] if "--" in arguments else arguments
    debug = "--debug" in own
    if debug:
        arguments.remove("--debug")
    try:
        build_app(arguments)(arguments, prog_name="pescape")
    except KeyboardInterrupt:
        _say("stopped")
        sys.exit(_INTERRUPTED)
    except Exception as error:
        if debug or not _is_users(error):
            raise
        _say(_message(error))
        sys.exit(1)


def _is_users(error: Exception) -> bool:
    from pescape.errors import PescapeError

    return isinstance(error, (PescapeError, ValueError, OSError))


def _message(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{error.filename}: {error.strerror}"
    return str(error) or type(error).__name__


def _say(message: str) -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console(stderr=True, soft_wrap=True)
    for line in message.splitlines():
        console.print("[bold red]Error:[/]", Text(line), highlight=False)
