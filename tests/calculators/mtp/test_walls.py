"""What keeps atoms apart where a fit has no data: walls that the data chooses, fading energies."""

import warnings
from dataclasses import replace

import ase.build
import numpy as np
import pytest
from ase import Atoms
from ase.calculators.emt import EMT
from ase.calculators.fd import calculate_numerical_forces, calculate_numerical_stress

from pescape.calculators import MTP
from pescape.calculators.mtp import MTPotential
from pescape.calculators.mtp.fit import FitSettings, fit_mtp, training_set
from pescape.calculators.mtp.fit.settings import Repulsion
from pescape.calculators.zbl import ZBL
from tests.conftest import strained_and_rattled

SETTINGS = FitSettings(iterations=60, starts=1)


def labelled(count, rattle=(0.05, 0.2)):
    """Copper and silver near their crystals."""
    parents = [ase.build.bulk("Cu", cubic=True), ase.build.bulk("Ag", cubic=True)]
    mixed = ase.build.bulk("Cu", a=3.85, cubic=True)
    mixed.symbols[:2] = "Ag"
    frames = strained_and_rattled([*parents, mixed], count, rattle=rattle, strain=0.03, seed=4)
    for atoms in frames:
        atoms.calc = EMT()
        label_with(atoms)
    return frames


def label_with(atoms):
    """Keep what the calculator says."""
    from ase.calculators.singlepoint import SinglePointCalculator

    found = {
        "energy": atoms.get_potential_energy(),
        "forces": atoms.get_forces(),
        "stress": atoms.get_stress(),
    }
    atoms.calc = SinglePointCalculator(atoms, **found)


@pytest.fixture(scope="module")
def data():
    return labelled(18)


@pytest.fixture(scope="module")
def fitted(data):
    start = MTPotential.untrained(8, ["Cu", "Ag"], 5.0, 2.0, 6)
    return fit_mtp(start, data, SETTINGS).potential


def crowded(scale):
    atoms = ase.build.bulk("Cu", a=3.85 * scale, cubic=True)
    atoms.symbols[:2] = "Ag"
    atoms.rattle(0.05, seed=1)
    return atoms


def test_walls_are_chosen_from_the_data(fitted, data):
    nearest, densest = training_set(data, ["Cu", "Ag"], 5.0).extent(2, 5.0)
    np.testing.assert_array_equal(fitted.nearest, nearest)
    np.testing.assert_array_equal(fitted.densest, densest)
    inner, outer = ZBL.WALL
    low, high = fitted.repulsion.tables(["Cu", "Ag"])
    np.testing.assert_allclose(low, inner * fitted.nearest)
    np.testing.assert_allclose(high, outer * fitted.nearest)


def test_nothing_fades_within_the_training_data(fitted, data):
    unfaded = MTP(fitted.with_extent(fitted.nearest))
    for atoms in data:
        copy = atoms.copy()
        copy.calc = MTP(fitted)
        expected = unfaded.get_forces(atoms.copy())
        np.testing.assert_allclose(copy.get_forces(), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("scale", [0.97, 0.94, 0.9, 0.75])
def test_forces_and_stresses_of_fading_energies_are_their_derivatives(fitted, scale):
    atoms = crowded(scale)
    atoms.calc = MTP(fitted)
    bare = atoms.copy()
    bare.calc = MTP(fitted.with_extent(fitted.nearest))
    if scale < 0.93:
        assert atoms.get_potential_energy() > bare.get_potential_energy() + 0.1
    size = np.abs(atoms.get_forces()).max()
    numbers = calculate_numerical_forces(atoms, 1e-5)
    np.testing.assert_allclose(atoms.get_forces(), numbers, rtol=0, atol=1e-6 * max(size, 1.0))
    stress = atoms.get_stress()
    numerical = calculate_numerical_stress(atoms, 1e-6)
    np.testing.assert_allclose(stress, numerical, rtol=0, atol=1e-6 * max(abs(stress).max(), 1.0))


def test_single_precision_agrees(fitted):
    double, single = crowded(0.92), crowded(0.92)
    double.calc, single.calc = MTP(fitted), MTP(fitted, precision="single")
    scale = np.abs(double.get_forces()).max()
    np.testing.assert_allclose(single.get_forces(), double.get_forces(), rtol=0, atol=2e-4 * scale)


def test_the_energy_rises_however_a_crystal_is_compressed(fitted):
    energies = []
    for scale in np.arange(1.0, 0.4, -0.02):
        atoms = crowded(scale)
        atoms.calc = MTP(fitted)
        energies.append(atoms.get_potential_energy())
    assert (np.diff(energies[2:]) > 0.0).all()


@pytest.mark.parametrize("pair", ["CuCu", "CuAg", "AgAg"])
def test_pairs_pushed_together_rise_in_vacuum(fitted, pair):
    nearest = fitted.nearest.min()
    dimer = Atoms(pair, [[0, 0, 0], [0, 0, 2]])
    dimer.calc = MTP(fitted)
    energies = []
    for distance in np.arange(nearest, 0.5, -0.01):
        dimer.positions[1, 2] = distance
        energies.append(dimer.get_potential_energy())
    assert (np.diff(energies) > 0.0).all()


def test_files_hold_what_is_known_of_the_data(fitted, tmp_path):
    fitted.write(tmp_path / "x.mtp")
    read = MTPotential.read(tmp_path / "x.mtp")
    assert read.repulsion == fitted.repulsion
    for name in ("nearest", "densest", "summits"):
        np.testing.assert_array_equal(getattr(read, name), getattr(fitted, name))
    atoms, same = crowded(0.9), crowded(0.9)
    atoms.calc, same.calc = MTP(fitted), MTP(read)
    assert atoms.get_potential_energy() == same.get_potential_energy()


def test_a_chosen_wall_of_one_element_is_read_as_one_and_chosen_anew(data, tmp_path):
    copper = [atoms for atoms in data if set(atoms.symbols) == {"Cu"}]
    start = MTPotential.untrained(4, ["Cu"], 5.0, 2.0, 4)
    far = [atoms for atoms in copper if training_set([atoms], ["Cu"], 5.0).shortest > 2.2]
    assert 0 < len(far) < len(copper)
    first = fit_mtp(start, far, SETTINGS).potential
    first.write(tmp_path / "x.mtp")
    read = MTPotential.read(tmp_path / "x.mtp")
    assert read.repulsion == first.repulsion
    later = fit_mtp(Repulsion().beside(read), copper, SETTINGS).potential
    assert later.nearest[0, 0] < first.nearest[0, 0]
    assert later.repulsion.outer < first.repulsion.outer


def test_numbers_with_exponents_are_no_pairs(tmp_path):
    plain = MTPotential.untrained(4, ["Cu"], 5.0, 2.0, 4).with_repulsion(ZBL(0.8, 1.8))
    plain.write(tmp_path / "x.mtp")
    text = (tmp_path / "x.mtp").read_text().replace("zbl: 0.8 1.8", "zbl: 8.0e-01 1.8")
    (tmp_path / "x.mtp").write_text(text)
    assert MTPotential.read(tmp_path / "x.mtp").repulsion == ZBL(0.8, 1.8)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("nearest: Cu-Cu", "nearest: Cu-Au", "line 6: potential_tag: nearest: .*called 'Au'"),
        ("summits: Cu", "summits: Ag", "line 6: potential_tag: summits: .*Cu should follow"),
        ("densest: Cu-Cu", "densest: Cu-Ag", "line 6: potential_tag: densest: .*appears twice"),
    ],
)
def test_wrong_entries_are_named(fitted, tmp_path, old, new, message):
    fitted.write(tmp_path / "x.mtp")
    text = (tmp_path / "x.mtp").read_text()
    assert old in text
    (tmp_path / "x.mtp").write_text(text.replace(old, new, 1))
    with pytest.raises(ValueError, match=message):
        MTPotential.read(tmp_path / "x.mtp")


def test_a_pair_nearer_than_the_data_is_warned_of_once(fitted):
    atoms = Atoms("CuAg", [[0, 0, 0], [0, 0, 1.2]])
    atoms.calc = MTP(fitted)
    with pytest.warns(UserWarning, match=r"atoms 0 and 1 \(Cu-Ag\) are 1.200 Å apart, nearer than"):
        atoms.get_potential_energy()
    atoms.positions[1, 2] = 1.3
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        atoms.get_potential_energy()


def test_pairs_that_are_not_in_the_data_get_a_core(data):
    pure = [atoms for atoms in data if len(set(atoms.symbols)) == 1]
    start = MTPotential.untrained(4, ["Cu", "Ag"], 5.0, 2.0, 4)
    potential = fit_mtp(start, pure, SETTINGS).potential
    assert potential.nearest[0, 1] == 5.0
    _, outer = potential.repulsion.tables(["Cu", "Ag"])
    assert 2.0 < outer[0, 1] < 3.5
    dimer = Atoms("CuAg", [[0, 0, 0], [0, 0, 2]])
    dimer.calc = MTP(potential)
    energies = []
    for distance in (4.0, 3.0, 2.0, 1.0, 0.5):
        dimer.positions[1, 2] = distance
        energies.append(dimer.get_potential_energy())
    assert (np.diff(energies) > -1e-3).all()


def test_a_fit_without_wall_is_plain(data):
    start = MTPotential.untrained(4, ["Cu", "Ag"], 5.0, 2.0, 4)
    potential = fit_mtp(start, data, SETTINGS, wall=False).potential
    assert potential.repulsion is None
    assert potential.densest is None
    assert potential.nearest is not None


def test_a_repulsion_of_ones_own_is_kept(data):
    own = MTPotential.untrained(4, ["Cu", "Ag"], 5.0, 2.0, 4).with_repulsion(ZBL(0.8, 1.8))
    assert fit_mtp(own, data, SETTINGS).potential.repulsion == ZBL(0.8, 1.8)


def test_distances_of_pairs_are_checked():
    with pytest.raises(ValueError, match="0 < inner < outer must hold"):
        ZBL.of_pairs({("Cu", "Ag"): (2.0, 1.0)})
    with pytest.raises(ValueError, match="the pair Cu-Cu are missing"):
        ZBL.of_pairs({("Cu", "Ag"): (1.0, 2.0)}).tables(["Cu", "Ag"])
    wide = MTPotential.untrained(4, ["Cu", "Ag"], 5.0, 2.0, 4)
    with pytest.raises(ValueError, match="beyond the potential's cutoff"):
        replace(wide, repulsion=ZBL(1.0, 5.5))
