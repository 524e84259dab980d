"""GPAW itself, where Debian's Python has it."""

import subprocess
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk

from pescape.errors import ConfigError
from pescape.labelling import LabelError, label, reference_from
from pescape.labelling.evaluation import evaluate

PYTHON = "/usr/bin/python3"


def has_gpaw():
    if not Path(PYTHON).exists():
        return False
    tried = subprocess.run([PYTHON, "-c", "import gpaw"], capture_output=True, check=False)
    return tried.returncode == 0


needs_gpaw = pytest.mark.skipif(not has_gpaw(), reason="no gpaw in /usr/bin/python3")


@pytest.fixture
def gpaw(tmp_path):
    """Write a configuration of the recipe, coarse enough for tests."""

    def write(table="", top=""):
        path = tmp_path / "gpaw.toml"
        path.write_text(
            f'{top}\n[gpaw]\npython = "{PYTHON}"\ncutoff = 150\nkpoint_density = 200\n'
            f"width = 0.3\ntolerance = 1e-4\n{table}\n"
        )
        return reference_from(str(path))

    return write


@needs_gpaw
def test_gpaw_gives_forces_that_derive_from_its_free_energy(gpaw, tmp_path):
    reference = gpaw()
    reference.check(["Al"])
    atoms = bulk("Al", "fcc", a=4.05) * (2, 1, 1)
    atoms.positions[0] += (0.2, 0.1, 0.0)
    energies = {}
    with reference.session(tmp_path) as calculator:
        for step in (-0.01, 0.0, 0.01):
            moved = atoms.copy()
            moved.positions[0, 0] += step
            moved.calc = calculator
            energies[step] = moved.get_potential_energy(force_consistent=True)
            if step == 0.0:
                forces = moved.get_forces()
                zero = moved.get_potential_energy()
    slope = (energies[0.01] - energies[-0.01]) / 0.02
    assert forces[0, 0] == pytest.approx(-slope, abs=0.02)
    # Fermi-Dirac: the zero-smearing energy is above the free energy, by half of TS.
    assert 0.001 < zero - energies[0.0] < 0.2


@needs_gpaw
def test_gpaw_labels_say_version_and_data_set(gpaw, tmp_path):
    atoms = bulk("Al", "fcc", a=4.05)
    answer = evaluate(atoms, gpaw(), tmp_path)
    assert gpaw().version.startswith("GPAW 2")
    assert answer.results["stress"].shape == (6,)
    # 16.6 Å³: 3 × 3 × 3 points make 448 Å³, 2 × 2 × 2 only 133.
    assert answer.details["kpoints"] == [3, 3, 3]
    assert len(answer.details["setups"]["Al"]) == 32
    assert np.abs(answer.results["forces"]).max() < 1e-3


@needs_gpaw
def test_gpaw_that_does_not_converge_is_told(gpaw):
    with pytest.raises(LabelError) as caught:
        label(bulk("Al", "fcc", a=4.05), gpaw("max_steps = 2", "attempts = 1"))
    assert caught.value.failure.kind == "not_converged"
    assert "iter" in caught.value.failure.tail


@needs_gpaw
def test_what_gpaw_lacks_is_told_before_anything_runs(gpaw):
    with pytest.raises(ConfigError, match=r"finds no data set Pu\.PBE"):
        gpaw().check(["Al", "Pu"])
    with pytest.raises(ConfigError, match=r"finds no data set Al\.soft\.PBE"):
        gpaw('setups = { Al = "soft" }').check(["Al"])
    with pytest.raises(ConfigError, match="GPAW refuses its settings"):
        label(bulk("Al", "fcc", a=4.05), gpaw("options = { no_such = 1 }"))


def test_an_interpreter_without_gpaw_is_told(tmp_path):
    path = tmp_path / "gpaw.toml"
    path.write_text('[gpaw]\npython = "/no/such/python"\n')
    with pytest.raises(ConfigError, match=r"python cannot be run: .*apt-get install gpaw"):
        reference_from(str(path))
