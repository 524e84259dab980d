"""The files of risky configurations, without LAMMPS: whole frames that ASE reads."""

from __future__ import annotations

import numpy as np
import pytest
from ase import units
from ase.io import read

from pescape.lammps_style.python import guard as frames
from pescape.lammps_style.python.clib import Box


@pytest.fixture
def records() -> frames.AtomRecords:
    rng = np.random.default_rng(0)
    return frames.AtomRecords(
        tags=np.array([7, 3, 5]),
        types=np.array([2, 1, 3], np.int32),
        positions=rng.uniform(-20, 20, size=(3, 3)),
        velocities=rng.normal(size=(3, 3)),
        masses=np.array([107.9, 63.5, 1.0]),
        grades=np.array([0.5, 2.5, 0.0]),
    )


BOX = Box(
    np.array([-1.0, 2.0, 0.5]),
    np.array([[5.0, 0.0, 0.0], [1.0, 6.0, 0.0], [-0.5, 2.0, 7.0]]),
    (True, True, False),
)


def text_of(records: frames.AtomRecords, **more) -> str:
    comment = {"step": 12, "potential": "my potential.almtp"}
    return frames.frame(records, BOX, {1: "Cu", 2: "Ag"}, comment, atom_grades=True, **more)


def test_ase_reads_what_was_written(records, tmp_path):
    ordered = frames.AtomRecords.joined([records])
    frames.add_frame(tmp_path / "f.xyz", text_of(ordered))
    atoms = read(tmp_path / "f.xyz")
    assert list(atoms.symbols) == ["Cu", "X", "Ag"]
    assert list(atoms.arrays["id"]) == [3, 5, 7]
    assert atoms.pbc.tolist() == [True, True, False]
    assert atoms.cell.array == pytest.approx(BOX.cell)
    assert atoms.info["step"] == 12
    assert atoms.info["potential"] == "my potential.almtp"
    assert atoms.arrays["extrapolation_grades"] == pytest.approx([2.5, 0.0, 0.5])
    velocities = atoms.get_velocities() * 1000 * units.fs
    assert velocities == pytest.approx(ordered.velocities, rel=1e-5)
    away = np.linalg.solve(BOX.cell.T, (ordered.positions - BOX.origin - atoms.positions).T).T
    assert away == pytest.approx(np.round(away), abs=1e-8)
    assert np.all(np.round(away[:, 2]) == 0)
    assert np.all((atoms.get_scaled_positions(wrap=False)[:, :2] // 1) == 0)


def test_a_frame_cut_short_is_not_there(records, tmp_path):
    path = tmp_path / "f.xyz"
    frames.add_frame(path, text_of(records))
    whole = path.read_bytes()
    # what a kill leaves: the first line of a new frame is blank until the rest is written
    path.write_bytes(whole + b" " + text_of(records).encode()[1:])
    assert len(read(path, index=":")) == 1
    for end in (1, 2, 30, 120, len(whole) - 1):
        path.write_bytes(whole + whole[:end])
        frames.start_file(path, append=True)
        assert path.read_bytes() == whole


def test_a_failed_write_leaves_what_was_there(records, tmp_path, monkeypatch):
    path = tmp_path / "f.xyz"
    frames.add_frame(path, text_of(records))
    whole = path.read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(frames.os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        frames.add_frame(path, text_of(records))
    assert path.read_bytes() == whole


def test_a_new_file_starts_empty_but_other_files_are_not_continued(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("remember\n")
    with pytest.raises(ValueError, match="something else than XYZ frames"):
        frames.start_file(path, append=True)
    assert path.read_text() == "remember\n"
    frames.start_file(path, append=False)
    assert not path.exists()
