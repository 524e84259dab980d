import pickle

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from pescape.errors import DataError, TaskError
from pescape.files import extend_file
from pescape.fits.task import LabelledData, identified


def frames(count, seed=0):
    """Labelled configurations."""
    chance = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        atoms = Atoms("Zr2", positions=chance.uniform(0, 3, (2, 3)), cell=[3.0] * 3, pbc=True)
        atoms.calc = SinglePointCalculator(
            atoms, energy=chance.uniform(), forces=chance.normal(size=(2, 3))
        )
        made.append(identified(atoms))
    return made


def test_pickled_data_is_the_name_of_its_file(tmp_path):
    data = LabelledData(frames(50), tmp_path / "train.traj")
    pickled = pickle.dumps(data)
    assert len(pickled) < 500
    with data.on_disk():
        again = pickle.loads(pickled)
    assert again.ids == data.ids
    for one, other in zip(again.frames, data.frames, strict=True):
        assert (one.positions == other.positions).all()
        assert (one.get_forces() == other.get_forces()).all()
    assert not list(tmp_path.iterdir())


def test_a_task_reads_what_the_file_held_when_the_task_was_made(tmp_path):
    path = tmp_path / "train.xyz"
    ase.io.write(path, frames(6), format="extxyz")
    data = LabelledData(ase.io.read(path, ":4"), path)
    pickled = pickle.dumps(data)
    assert pickle.loads(pickled).ids == data.ids
    ase.io.write(path, frames(6, seed=1), format="extxyz")
    with pytest.raises(TaskError, match="is not what it was"):
        pickle.loads(pickled)


def test_what_has_no_labels_is_no_data():
    with pytest.raises(DataError, match="has no labels"):
        identified(Atoms("Zr"))


def test_a_file_grows_and_forgets_what_a_kill_left_unfinished(tmp_path):
    path = tmp_path / "train.xyz"
    assert extend_file(path, 0, b"one\n") == 4
    assert extend_file(path, 4, b"two\n") == 8
    path.write_bytes(b"one\ntw")
    assert extend_file(path, 0, b"one\n") == 4
    assert path.read_bytes() == b"one\ntw"
    extend_file(path, 4, b"two\n")
    assert path.read_bytes() == b"one\ntwo\n"
    extend_file(path, 0, b"1\n")
    assert path.read_bytes() == b"1\n"
