"""The ``pescape`` command."""

from __future__ import annotations

import sys

_INTERRUPTED = 130


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
    from pescape.cli.app import build_app

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
