"""What the commands print: tables, progress and JSON beside them.

Data sets and other files that command lines name.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

import pescape
from pescape.calculators.fit.errors import stated
from pescape.data.configurations import read_configurations
from pescape.errors import DataError
from pescape.files import file_sha256, write_json

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from ase import Atoms

    from pescape.calculators.mtp.fit import Errors


console = Console()


@contextlib.contextmanager
def progress_bar(*, counted: bool = True) -> Iterator[Progress]:
    """Context manager: a progress display on the screen, removed on exit.

    Parameters
    ----------
    counted
        Show how many of how many are done.
    """
    columns: list[Any] = [TextColumn("{task.description}"), BarColumn(bar_width=24)]
    if counted:
        columns.append(MofNCompleteColumn())
    columns += [TextColumn("{task.fields[note]}"), TimeElapsedColumn()]
    with Progress(*columns, console=console, transient=True) as progress:
        yield progress


def say(text: str) -> None:
    """Print a line.

    Parameters
    ----------
    text
        With rich's markup.
    """
    console.print(text, highlight=False, soft_wrap=True)


def warn(text: str) -> None:
    """Print a warning.

    Parameters
    ----------
    text
        With rich's markup.
    """
    console.print(f"[yellow]{text}[/]", highlight=False, soft_wrap=True)


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a table.

    Parameters
    ----------
    title
        Above it.
    columns
        Their headings; the first is aligned to the left, the others to the right.
    rows
        Cells, formatted by `number`.
    """
    shown = Table(title=title, title_justify="left", header_style="bold", box=None, pad_edge=False)
    for index, name in enumerate(columns):
        shown.add_column(name, justify="left" if index == 0 else "right")
    for row in rows:
        shown.add_row(*(number(value) for value in row))
    console.print(shown)


def number(value: object) -> str:
    """Format a cell of a table.

    Parameters
    ----------
    value
        Floats are shown with four significant digits, None as a dash.
    """
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.4g}"
    return str(value)


def errors_table(title: str, errors: Mapping[str, Errors]) -> None:
    """Print errors of one or several data sets, each with its standard error.

    Parameters
    ----------
    title
        Above the table.
    errors
        By data set.
    """
    rows = [
        (
            f"{escape(name)}\n{one.configurations} frames",
            "MAE\nRMSE",
            f"{stated(one, 'energy_mae')}\n{stated(one, 'energy_rmse')}",
            f"{stated(one, 'force_mae')}\n{stated(one, 'force_rmse')}",
            stated(one, "force_angle"),
            f"{stated(one, 'stress_mae')}\n{stated(one, 'stress_rmse')}",
        )
        for name, one in errors.items()
    ]
    columns = ["data", "", "energy\nmeV/atom", "force\neV/Å", "angle\ndegrees", "stress\nGPa"]
    table(title, columns, rows)


def save_json(path: Path, content: Mapping[str, Any], inputs: Sequence[Path] = ()) -> None:
    """Write results as JSON, with the version of pescape and the SHA-256 of the inputs.

    Parameters
    ----------
    path
        The file.
    content
        What JSON can hold.
    inputs
        Files the results were made from.
    """
    files = {str(file): file_sha256(file) for file in inputs if file.is_file()}
    write_json(path, {**content, "inputs": files, "pescape": pescape.__version__})


def named_files(given: Sequence[str], what: str = "data sets") -> list[tuple[str | None, Path]]:
    """Split arguments NAME=FILE.

    Parameters
    ----------
    given
        All with a name, or all without; their names are then None.
    what
        What the files are, for the error.
    """
    named = [one.partition("=") for one in given]
    if len({bool(separator) for _, separator, _ in named}) > 1:
        raise DataError(f"give all {what} as NAME=FILE, or none of them")
    return [
        (name, Path(file)) if separator else (None, Path(name)) for name, separator, file in named
    ]


def read_sets(given: Sequence[str]) -> tuple[dict[str, list[Atoms]], list[Path]]:
    """Read sets that are a file each, or the samplers of files given without names.

    Parameters
    ----------
    given
        Arguments NAME=FILE or FILE.

    Returns
    -------
    dict, list
        The sets by name, and all files.
    """
    read: dict[str, list[Atoms]] = {}
    files = named_files(given)
    for name, file in files:
        for atoms in read_configurations(file):
            key = str(atoms.info.get("sampler", file.stem)) if name is None else name
            read.setdefault(key, []).append(atoms)
    return read, [file for _, file in files]
