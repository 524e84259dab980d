import json
import os
import subprocess
import sys

import ase.io
import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.morse import MorsePotential
from ase.calculators.singlepoint import SinglePointCalculator

from pescape._mpi import mpich_file
from pescape.calculators.fit.shards import (
    DataShard,
    OrderedSum,
    SerialComm,
    SharedError,
    agreed,
    block_edges,
    rank_edges,
    world,
)

_FIT = ("-c", "from pescape.cli import main; main()", "fit", "mtp")


def morse(count, seed):
    """Rattled copper with the labels of a pair potential."""
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        atoms = bulk("Cu", "fcc", a=3.6 * rng.uniform(0.96, 1.05), cubic=True)
        atoms.positions += 0.1 * rng.normal(size=atoms.positions.shape)
        atoms.calc = MorsePotential(epsilon=0.5, r0=2.6, rho0=4.0, rcut1=3.5, rcut2=4.5)
        results = {
            "energy": atoms.get_potential_energy(),
            "forces": atoms.get_forces(),
            "stress": atoms.get_stress(),
        }
        atoms.calc = SinglePointCalculator(atoms, **results)
        made.append(atoms)
    return made


def fitted(folder, name, ranks, *more):
    """Run ``pescape fit mtp`` on some ranks."""
    small = ("--level", "6", "--cutoff", "4.5", "--radial-basis-size", "4", "--iterations", "12")
    started = [mpich_file("mpiexec"), "-n", str(ranks)] if ranks > 1 else []
    command = [*started, sys.executable, *_FIT, folder / "train.xyz", "-o", folder / name]
    return subprocess.run(
        [*command, *small, "--starts", "1", "--no-plot", "--no-check", *more],
        env=os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize("count", [1, 2, 5, 8, 13])
def test_a_sum_over_blocks_is_the_same_whoever_holds_them(count):
    rng = np.random.default_rng(count)
    values = rng.normal(size=(count, 3)) * 10.0 ** rng.integers(-8, 8, size=(count, 1))
    totals = set()
    for holders in (1, 2, 3, 7):
        owner = np.sort(rng.integers(0, holders, size=count))
        whole = OrderedSum(count)
        for rank in range(holders):
            part = OrderedSum(count)
            for index in rng.permutation(np.flatnonzero(owner == rank)):
                part.add(0, int(index), values[index])
            for (level, index), value in part.nodes.items():
                whole.add(level, index, value)
        totals.add(whole.total().tobytes())
    assert len(totals) == 1
    np.testing.assert_allclose(np.frombuffer(totals.pop()), values.sum(axis=0), rtol=1e-6)


@pytest.mark.parametrize("rows", [[5], [7] * 3, [1000, 10, 10, 10], [160] * 200])
def test_blocks_hold_all_configurations_and_none_is_empty(rows):
    edges = block_edges(np.array(rows))
    assert edges[0] == 0
    assert edges[-1] == len(rows)
    assert (np.diff(edges) > 0).all()
    for ranks in (1, 2, 3, 50):
        shares = rank_edges(np.ones(len(edges) - 1), ranks)
        assert shares[0] == 0
        assert shares[-1] == len(edges) - 1
        assert (np.diff(shares) >= 0).all()
    halves = rank_edges(np.ones(len(edges) - 1), 2)
    assert abs(np.diff(halves)[0] - np.diff(halves)[1]) <= 1


def test_a_share_counts_each_configuration_over_all_of_them():
    frames = morse(10, seed=0)
    part = DataShard.of(frames, ["Cu"], 4.5, SerialComm())
    assert sum(len(data) for _, data in part.blocks) == len(frames)
    np.testing.assert_allclose(part.data.factors, 1.0 / len(frames))


def test_a_process_without_a_launcher_is_alone(monkeypatch):
    for name in ("PMI_RANK", "OMPI_COMM_WORLD_RANK", "PMIX_RANK"):
        monkeypatch.delenv(name, raising=False)
    assert isinstance(world(), SerialComm)


def test_an_error_on_another_rank_is_raised_here_too():
    class Second(SerialComm):
        rank, size = 1, 2

        def allgather(self, value):
            return ["frame 3 has no energy", value]

    with pytest.raises(SharedError, match="frame 3 has no energy"):
        agreed(Second(), lambda: 1)


def test_any_number_of_ranks_gives_the_numbers_of_one(tmp_path):
    ase.io.write(tmp_path / "train.xyz", morse(6, seed=0), format="extxyz")
    histories = []
    for ranks in (1, 2, 3):
        run = fitted(tmp_path, f"{ranks}.mtp", ranks)
        assert run.returncode == 0, run.stderr
        assert run.stdout.count("training") == 1
        histories.append(json.loads((tmp_path / f"{ranks}.mtp.json").read_text())["history"])
    assert len(histories[0]) >= 3
    assert histories[1] == histories[0]
    assert histories[2] == histories[0]
    assert (tmp_path / "2.mtp").read_text() == (tmp_path / "1.mtp").read_text()


def test_a_bad_frame_of_one_rank_ends_all_with_one_message(tmp_path):
    frames = morse(4, seed=0)
    frames[-1].calc.results["forces"][0, 0] = np.nan
    ase.io.write(tmp_path / "train.xyz", frames, format="extxyz")
    run = fitted(tmp_path, "x.mtp", 2)
    assert run.returncode == 1
    assert (run.stdout + run.stderr).count("forces is not finite") == 1
    assert "frame 3" in run.stderr
    assert not (tmp_path / "x.mtp").exists()
