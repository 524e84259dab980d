import ase.io
import numpy as np
import pytest
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator

from pescape.data.configurations import read_configurations, write_configurations
from pescape.errors import DataError


def labelled(atoms, **more):
    atoms.calc = EMT()
    results = {"energy": atoms.get_potential_energy(), "forces": atoms.get_forces()}
    if atoms.pbc.all():
        results["stress"] = atoms.get_stress()
    atoms.calc = SinglePointCalculator(atoms, **results | more)
    return atoms


@pytest.fixture
def alloys():
    frames = []
    for seed in range(3):
        atoms = bulk("Cu", cubic=True)
        atoms.symbols[0] = "Ni"
        strain = 0.05 * np.random.default_rng(seed).normal(size=(3, 3))
        atoms.set_cell(atoms.cell.array @ (np.eye(3) + strain), scale_atoms=True)
        atoms.rattle(0.1, seed=seed)
        frames.append(labelled(atoms))
    return frames


@pytest.fixture
def folder(tmp_path, alloys):
    """One system, as DeePMD-kit has it."""
    write_configurations(tmp_path / "train.deepmd", alloys)
    return tmp_path / "train.deepmd" / "Cu3Ni"


def test_what_is_written_is_read_again_bit_by_bit(tmp_path, alloys):
    alone = labelled(molecule("CO"))
    write_configurations(tmp_path / "train.deepmd", [*alloys, alone])
    found = read_configurations(tmp_path / "train.deepmd")
    assert found[0].info["source_frame"] == f"{tmp_path / 'train.deepmd'} frame 0"
    for atoms, again in zip([alone, *alloys], found, strict=True):
        again.info.clear()
        assert again == atoms
        assert again.get_potential_energy() == atoms.get_potential_energy()
        np.testing.assert_array_equal(again.get_forces(), atoms.get_forces())
    np.testing.assert_allclose(found[1].get_stress(), alloys[0].get_stress(), rtol=1e-14)


def test_arrays_are_those_of_deepmd_kit(folder, alloys):
    assert (folder / "type.raw").read_text().split() == ["0", "1", "1", "1"]
    assert (folder / "type_map.raw").read_text().split() == ["Ni", "Cu"]
    arrays = {path.stem: np.load(path) for path in (folder / "set.000").iterdir()}
    shapes = {"coord": (3, 12), "box": (3, 9), "energy": (3,), "force": (3, 12), "virial": (3, 9)}
    assert {name: values.shape for name, values in arrays.items()} == shapes
    # A compressed crystal pushes outwards: its virial is positive, its stress in ASE negative.
    volume, stress = alloys[0].get_volume(), alloys[0].get_stress(voigt=False)
    np.testing.assert_allclose(arrays["virial"][0].reshape(3, 3), -volume * stress, rtol=1e-14)


def test_ase_reads_and_writes_it(tmp_path, alloys):
    ase.io.write(tmp_path / "made", alloys, format="deepmd-npy")
    assert len(ase.io.read(tmp_path / "made", ":", format="deepmd-npy")) == 3
    assert ase.io.read(tmp_path / "made", 1, format="deepmd-npy") == alloys[1]
    assert ase.io.read(tmp_path / "made" / "Cu3Ni", format="deepmd-npy") == alloys[2]


def test_systems_lie_at_any_depth_and_sets_follow_each_other(tmp_path, folder, alloys):
    (folder / "set.000").rename(folder / "set.001")
    first = folder / "set.000"
    first.mkdir()
    for path in (folder / "set.001").iterdir():
        np.save(first / path.name, np.load(path)[::-1].astype(np.float32))
    found = read_configurations(tmp_path)
    energies = [atoms.get_potential_energy() for atoms in alloys]
    expected = [*energies[::-1], *energies]
    np.testing.assert_allclose([a.get_potential_energy() for a in found], expected, rtol=1e-6)


def test_frames_of_mixed_type_have_elements_of_their_own_and_no_padding(folder, alloys):
    np.save(folder / "set.000" / "real_atom_types.npy", [[1, 0, 1, 1], [0, 0, 0, -1], [0, 1, 1, 1]])
    found = read_configurations(folder)
    assert [str(atoms.symbols) for atoms in found] == ["CuNiCu2", "Ni3", "NiCu3"]
    np.testing.assert_array_equal(found[1].get_forces(), alloys[1].get_forces()[:3])


def test_the_free_energy_goes_with_the_forces(tmp_path, alloys):
    labelled(alloys[0], free_energy=-1.5)
    write_configurations(tmp_path / "one.deepmd", alloys[:1])
    assert read_configurations(tmp_path / "one.deepmd")[0].get_potential_energy() == -1.5


def test_unlabelled_configurations_stay_without_labels(tmp_path):
    write_configurations(tmp_path / "bare.deepmd", [bulk("Cu")])
    (found,) = read_configurations(tmp_path / "bare.deepmd")
    assert found.calc is None


def test_elements_may_be_given_where_the_folder_names_none(folder):
    (folder / "type_map.raw").unlink()
    with pytest.raises(DataError, match=r"Cu3Ni: holds no type_map.raw: .* species="):
        read_configurations(folder)
    assert str(read_configurations(folder, species=["Ni", "Cu"])[0].symbols) == "NiCu3"


def shorten(name):
    def change(folder):
        path = folder / "set.000" / name
        np.save(path, np.load(path)[:2])

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda f: (f / "type.raw").write_text("0\n1\nx\n1\n"),
            r"type.raw, line 3: 'x' is no type",
        ),
        (lambda f: (f / "type.raw").write_text("0 1 1"), r"coord.npy: shape \(3, 12\), .* 3 atoms"),
        (lambda f: (f / "type.raw").write_text("0 1 1 2"), r"set.000 frame 0: type 2, .* Ni Cu"),
        (lambda f: (f / "type_map.raw").write_text("Ni Qq"), r"type_map.raw: 'Qq' is no chemical"),
        (lambda f: (f / "set.000/coord.npy").unlink(), r"set.000: holds no coord.npy"),
        (lambda f: (f / "set.000/box.npy").unlink(), r"no box.npy; without a cell, nopbc"),
        (lambda f: (f / "set.000/force.npy").write_text("?"), r"force.npy: no array of numbers"),
        (shorten("energy.npy"), r"energy.npy: 2 frames, but coord.npy has 3"),
    ],
)
def test_what_is_wrong_is_named(folder, change, message):
    change(folder)
    with pytest.raises(DataError, match=message):
        read_configurations(folder)


def test_numbers_that_are_not_finite_are_named(folder):
    energies = np.load(folder / "set.000" / "energy.npy")
    energies[1] = np.nan
    np.save(folder / "set.000" / "energy.npy", energies)
    with pytest.raises(DataError, match=r"energy.npy: frame 1 holds numbers that are not finite"):
        read_configurations(folder)


@pytest.mark.usefixtures("folder")
def test_what_cannot_be_written_is_refused(tmp_path, alloys):
    with pytest.raises(DataError, match=r"is there already; remove it, or give another name"):
        write_configurations(tmp_path / "train.deepmd", alloys)
    alloys[1].pbc = (True, True, False)
    with pytest.raises(DataError, match=r"configuration 1 is periodic in some directions only"):
        write_configurations(tmp_path / "other.deepmd", alloys)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["train.deepmd"]
