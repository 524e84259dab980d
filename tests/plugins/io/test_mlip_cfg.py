import io

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111
from ase.calculators.singlepoint import SinglePointCalculator
from ase.constraints import FixAtoms
from ase.io.formats import filetype

FOREIGN = """\
BEGIN_CFG
 Size
    2
 Supercell
         4.000000      0.000000      0.000000
         1.000000      4.500000      0.000000
         0.000000      0.500000      5.000000
 AtomData:  id type       cartes_x      cartes_y      cartes_z           fx          fy          fz
             1    0       0.000000      0.000000      0.000000     0.100000   -0.200000    0.300000
             2    1       1.000000      2.000000      2.500000    -0.100000    0.200000   -0.300000
 Energy
        -12.345678901234
 PlusStress:  xx          yy          zz          yz          xz          xy
     9.00000     1.80000     2.70000     0.90000    -0.90000     0.45000
 Feature   EFS_by       VASP 6.4
 Feature   mindist\t2.5
 Feature   selected_eqn_inds\t178,208
END_CFG

"""


def read(text, index=-1, **keywords):
    return ase.io.read(io.StringIO(text), index=index, format="mlip-cfg", **keywords)


def write(frames, **keywords):
    buffer = io.StringIO()
    ase.io.write(buffer, frames, format="mlip-cfg", **keywords)
    return buffer.getvalue()


def cycle(frames, **keywords):
    single = isinstance(frames, Atoms)
    return read(write(frames, **keywords), index=-1 if single else ":")


def labelled(atoms, **results):
    atoms = atoms.copy()
    atoms.calc = SinglePointCalculator(atoms, **results)
    return atoms


def crystal(seed=1):
    atoms = bulk("Zr") * (2, 1, 1)
    atoms.symbols[1] = "O"
    atoms.rattle(0.1, seed=seed)
    return atoms


def slab(layers):
    atoms = fcc111("Al", (1, 1, layers), vacuum=8.0)
    atoms.info.clear()
    return atoms


def assert_same_frame(a, b):
    """Compare everything, stresses up to the last bit (they pass through the volume)."""
    assert a == b
    assert set(a.arrays) == set(b.arrays)
    for name, values in b.arrays.items():
        assert a.arrays[name].dtype.kind == values.dtype.kind, name
        assert (a.arrays[name] == values).all(), name
    assert list(a.info) == list(b.info)
    for name, value in b.info.items():
        assert type(a.info[name]) is type(value), name
        assert np.array_equal(a.info[name], value), name
    results = [{} if x.calc is None else x.calc.results for x in (a, b)]
    assert set(results[0]) == set(results[1])
    for name, value in results[1].items():
        tolerance = 1e-15 if name == "stress" else 0
        np.testing.assert_allclose(results[0][name], value, rtol=tolerance, atol=tolerance)


def test_ase_knows_the_format(tmp_path):
    assert "mlip-cfg" in ase.io.formats.ioformats
    path = tmp_path / "train.cfg"
    path.write_text(FOREIGN)
    assert filetype(str(path)) == "mlip-cfg"
    assert str(ase.io.read(path, species=["Zr", "O"]).symbols) == "ZrO"


def test_other_programs_files_are_read():
    atoms = read(FOREIGN, species=["Zr", "O"])
    assert str(atoms.symbols) == "ZrO"
    assert atoms.pbc.all()
    assert atoms.cell[1].tolist() == [1.0, 4.5, 0.0]
    assert atoms.positions[1].tolist() == [1.0, 2.0, 2.5]
    assert atoms.get_potential_energy() == -12.345678901234
    assert atoms.get_forces()[1].tolist() == [-0.1, 0.2, -0.3]
    # PlusStress is the virial, of opposite sign and times the volume of 90 Å^3.
    expected = -np.array([9.0, 1.8, 2.7, 0.9, -0.9, 0.45]) / 90.0
    np.testing.assert_allclose(atoms.get_stress(), expected, rtol=1e-12)
    features = {"EFS_by": "VASP 6.4", "mindist": 2.5, "selected_eqn_inds": "178,208"}
    assert atoms.info == features


def test_frames_are_picked_by_index():
    frames = [labelled(crystal(seed), energy=float(seed)) for seed in range(5)]
    text = write(frames)
    assert len(read(text, ":")) == 5
    assert read(text, 0).get_potential_energy() == 0.0
    assert read(text).get_potential_energy() == 4.0
    assert [a.get_potential_energy() for a in read(text, "1::2")] == [1.0, 3.0]


@pytest.mark.parametrize(
    "frame",
    [
        crystal(),
        labelled(crystal(), energy=-1.0 / 3.0),
        labelled(
            crystal(),
            energy=-1.0 / 3.0,
            free_energy=-0.4,
            forces=np.random.default_rng(1).normal(size=(4, 3)),
            stress=np.random.default_rng(2).normal(size=6),
            energies=np.array([1.0, 2.0, 3.0, 1.0 / 7.0]),
            charges=np.array([0.1, -0.1, 0.2, -0.2]),
        ),
        labelled(crystal(), magmoms=np.arange(12.0).reshape(4, 3) / 7),
        labelled(crystal(), magmoms=np.arange(4.0) / 7, dipole=np.array([0.1, 0.2, 0.3])),
        slab(3),
        labelled(slab(2), energy=1.0, stress=np.arange(6) / 7),
        Atoms("H2O", positions=[[0, 0, 0], [0, 0, 1], [0, 1, 0.1]]),
        labelled(Atoms("O", positions=[[1e-9, -1 / 3, 1e9]]), energy=-2.0, forces=[[0.0, 0, 0]]),
        Atoms("ZrO", positions=[[0, 0, 0], [0, 0, 2]], cell=[0, 7, 0], pbc=[False, True, False]),
        Atoms("ZrO", positions=[[0, 0, 0], [0, 0, 2]], cell=[5, 6, 7], pbc=[True, False, True]),
        Atoms("ZrO", positions=[[0, 0, 0], [0, 0, 2]], cell=[5, 6, 7], pbc=False),
    ],
    ids=str,
)
def test_nothing_is_lost(frame, tmp_path):
    assert_same_frame(cycle(frame), frame)
    # ... and nothing on a detour through extxyz.
    ase.io.write(tmp_path / "x.xyz", cycle(frame), format="extxyz")
    ase.io.write(tmp_path / "y.xyz", frame, format="extxyz")
    assert_same_frame(ase.io.read(tmp_path / "x.xyz"), ase.io.read(tmp_path / "y.xyz"))


def test_info_survives_with_its_types():
    atoms = crystal()
    atoms.info = {
        "config_type": "bulk hcp",
        "number": 3,
        "energy_sigma": 1e-5,
        "converged": True,
        "code": "007",
        "exponent": "1e5",
        "truth": "true",
        "empty": "",
        "padded": "  two  spaces ",
        "lines": "one\ntwo\ttabbed",
        "quoted": '"so"',
        "list": np.array([1, 2, 3]),
        "matrix": np.eye(3) / 3,
        "words": np.array(["a", "b c"]),
        "key with spaces": "x",
        "Å": "Å³",
    }
    assert_same_frame(cycle(atoms), atoms)


def test_per_atom_arrays_survive():
    atoms = crystal()
    atoms.set_array("nbh_grades", np.array([0.1, 2.5, 1.0 / 3.0, 7.0]))
    atoms.set_array("tags", np.array([1, 2, 3, 4]))
    atoms.set_array("selected", np.array([True, False, True, False]))
    atoms.set_array("label", np.array(["a", "b", "c", "dd"]))
    atoms.set_velocities(np.random.default_rng(1).normal(size=(4, 3)))
    assert "nbh_grades" in write(atoms).split("AtomData:")[1].split("\n")[0]
    assert_same_frame(cycle(atoms), atoms)


def test_columns_come_in_any_order():
    text = """BEGIN_CFG
 Size
 2
 Supercell
 2 0 0
 0 4 0
 0 0 8
 AtomData: type direct_z direct_y direct_x site_en nbh_grades ghost magmom_x id charge
 1 0.5 0.25 0.75 -1.5 0.25 0 0.1 7 0.5
 0 0 0 0 -2.5 1.5 1 0.2 3 -0.5
END_CFG"""
    atoms = read(text, species=["Zr", "O"])
    assert str(atoms.symbols) == "OZr"
    assert atoms.positions.tolist() == [[1.5, 1.0, 4.0], [0, 0, 0]]
    assert atoms.calc.results["energies"].tolist() == [-1.5, -2.5]
    assert atoms.calc.results["charges"].tolist() == [0.5, -0.5]
    assert atoms.arrays["nbh_grades"].tolist() == [0.25, 1.5]
    assert atoms.arrays["ghost"].tolist() == [0, 1]
    assert atoms.arrays["id"].tolist() == [7, 3]
    assert atoms.arrays["magmom_x"].tolist() == [0.1, 0.2]
    assert_same_frame(cycle(atoms), atoms)


def test_line_ends_of_windows_and_virial_are_read():
    atoms = read(FOREIGN.replace("\n", "\r\n").replace("PlusStress", "Virial"), species=["Zr", "O"])
    expected = read(FOREIGN, species=["Zr", "O"])
    assert_same_frame(atoms, expected)


@pytest.mark.parametrize(("rows", "pbc"), [(0, [0, 0, 0]), (1, [1, 0, 0]), (2, [1, 1, 0])])
def test_fewer_rows_of_the_supercell_are_fewer_periodic_directions(rows, pbc):
    lines = FOREIGN.splitlines()
    atoms = read("\n".join(lines[: 4 + rows] + lines[7:]), species=["Zr", "O"])
    assert atoms.pbc.tolist() == [bool(p) for p in pbc]
    assert atoms.cell.rank == rows
    # Without a volume there is no stress, but the virial is kept.
    assert "stress" not in atoms.calc.results
    assert atoms.info["PlusStress"].tolist() == [9.0, 1.8, 2.7, 0.9, -0.9, 0.45]
    assert_same_frame(cycle(atoms), atoms)


def test_species_number_the_types():
    atoms = crystal()
    text = write(atoms, species=["H", "O", "Zr"])
    types = [line.split()[1] for line in text.splitlines()[8:12]]
    assert types == ["2", "1", "2", "2"]
    assert str(read(text).symbols) == str(atoms.symbols)
    assert str(read(text, species=["H", "O", "Zr"]).symbols) == str(atoms.symbols)
    with pytest.raises(ValueError, match="its species are H O Zr, in this order, not Zr O"):
        read(text, species=["Zr", "O"])
    with pytest.raises(ValueError, match="configuration 0 has O, which is not among"):
        write(atoms, species=["Zr"])


def test_species_are_the_same_in_all_frames_of_a_file():
    frames = [bulk("Cu"), bulk("NaCl", "rocksalt", 5.6), bulk("Cu")]
    again = cycle(frames)
    assert [str(a.symbols) for a in again] == ["Cu", "NaCl", "Cu"]


def test_files_that_name_no_elements_need_them():
    with pytest.raises(ValueError, match=r"line 8: .* name them .* species=\['Zr', 'O'\]"):
        read(FOREIGN)


def test_constraints_do_not_hide_forces():
    atoms = labelled(crystal(), forces=np.ones((4, 3)))
    atoms.set_constraint(FixAtoms([0, 1]))
    assert (cycle(atoms).get_forces() == 1.0).all()


WRONG = [
    ("BEGIN_CFG", "BEGIN", 1, "BEGIN_CFG expected, found 'BEGIN'"),
    ("BEGIN_CFG", "BEGIN_CFG\nBEGIN_CFG", 2, "BEGIN_CFG before the END_CFG of line 1's"),
    ("END_CFG", "", 1, "BEGIN_CFG without END_CFG: is the file truncated"),
    ("END_CFG", "END_CFG\nEND_CFG", 19, "END_CFG without BEGIN_CFG"),
    (" Size\n    2", " Size\n    two", 3, "a whole number expected, found 'two'"),
    (
        " Size\n    2",
        " Size\n    20000000000000",
        8,
        "20000000000000 atoms are announced, but only",
    ),
    (" Size\n    2", " Size\n    -2", 3, "a whole number expected"),
    (" Size\n    2", " Size\n    3", 11, "numbers expected, found 'Energy'"),
    (" Size\n    2", " Size\n    1", 10, "unknown section '2'"),
    (" Size\n    2\n", "", 6, "AtomData before Size"),
    ("Supercell\n", "Supercell\n 1 2 3\n", 8, "at most 3 rows"),
    ("4.500000      0.000000", "4.500000", 6, "3 numbers expected, found 2"),
    ("4.500000", "nan", 6, "numbers must be finite"),
    ("type  ", "kind  ", 8, "must have the column 'type'"),
    ("fy  ", "fx  ", 8, "no column twice"),
    ("cartes_x", "cartesian", 8, "must have the columns cartes_x"),
    ("-0.200000", "", 9, "8 numbers expected, found 7"),
    ("-0.200000", "x", 9, "numbers expected"),
    ("1    0  ", "1  0.5  ", 9, "column 'type' must hold whole numbers"),
    ("2    1  ", "2    2  ", 10, "type 2, but there are 2 species: Zr O"),
    ("2    1  ", "2   -1  ", 10, "type -1, but there are 2 species"),
    ("-12.345678901234", "", 12, "1 numbers expected, found 0"),
    ("-12.345678901234", "inf", 12, "numbers must be finite"),
    ("PlusStress", "Stress", 13, "'Stress:' has no agreed sign or unit"),
    ("xx          yy", "xx          xx", 13, "the columns xx yy zz yz xz xy expected"),
    ("9.00000 ", "", 14, "6 numbers expected, found 5"),
    ("Feature   EFS_by       VASP 6.4", "Feature", 15, "Feature without a name"),
    ("EFS_by ", '"EFS_by ', 15, "the name in quotes does not end"),
    ("EFS_by       VASP 6.4", "pescape.array.tags [1]", 2, "must hold one entry per atom"),
    ("EFS_by       VASP 6.4", "pescape.pbc [1, 0, 0]", 2, "does not fit the Supercell"),
    ("EFS_by       VASP 6.4", "pescape.species Zr Q", 2, "its species are Zr Q"),
    (" Energy", " Enemy", 11, "unknown section 'Enemy'"),
]


@pytest.mark.parametrize(("old", "new", "line", "message"), WRONG)
def test_what_is_wrong_and_where_is_said(old, new, line, message, tmp_path):
    assert old in FOREIGN
    path = tmp_path / "train.cfg"
    path.write_text(FOREIGN.replace(old, new, 1))
    with pytest.raises(ValueError, match=rf"train\.cfg, line {line}: .*{message}"):
        ase.io.read(path, index=":", format="mlip-cfg", species=["Zr", "O"])


def test_nested_info_is_kept():
    atoms = fcc111("Al", (1, 1, 2), vacuum=8.0)
    sites = cycle(atoms).info["adsorbate_info"]["sites"]
    assert set(sites) == set(atoms.info["adsorbate_info"]["sites"])


def test_unwritable_info_is_an_error():
    atoms = crystal()
    atoms.info["object"] = object()
    with pytest.raises(ValueError, match="a value of type object cannot be written"):
        write(atoms)
