"""The check of the potential that a campaign ends with."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from pydantic import ValidationError

from pescape.calculators import load
from pescape.figures.check import draw_check
from pescape.files import file_sha256, write_json
from pescape.validation.check import CheckReport, CheckSettings, check_potential

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from ase import Atoms

#: Names in the output folder.
CHECK_FILE = "check.json"
CHECK_FIGURE = "check.png"


def checked(
    potential: Path,
    training: Sequence[Atoms] | None,
    folder: Path,
    on_progress: Callable[[str, int, int], None] | None = None,
    settings: CheckSettings | None = None,
) -> CheckReport:
    """Check a potential, unless that was done before, and leave the numbers and the figure.

    Parameters
    ----------
    potential
        Its file.
    training
        What it was fitted to; None for what its active set holds.
    folder
        For check.json and check.png.
    on_progress, settings
        As of `check_potential`.
    """
    file, identity = folder / CHECK_FILE, file_sha256(potential)
    report = _kept(file)
    if report is None or report.identity != identity:
        report = check_potential(
            load(potential),
            training,
            settings,
            name=potential.name,
            data="the training set",
            identity=identity,
            on_progress=on_progress,
        )
        write_json(file, report.to_json())
    draw_check(report, folder / CHECK_FIGURE)
    return report


def _kept(file: Path) -> CheckReport | None:
    """Read an earlier check; None if there is none, or of another form."""
    try:
        return CheckReport.from_json(json.loads(file.read_text(encoding="utf-8")))
    except (OSError, json.JSONDecodeError, ValidationError):
        return None
