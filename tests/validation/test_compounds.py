import pickle

import pytest
from ase import Atoms
from ase.io import write

from pescape.config import Strict, load_config
from pescape.errors import ConfigError
from pescape.validation.compounds import FREE_PARAMETERS, Prototype, StructureFile
from pescape.validation.crystals import Crystal, Crystals, relaxed_crystal


class Phases(Strict):
    phases: Crystals


MONOCLINIC = """
data_m-ZrO2
_cell_length_a 5.1505
_cell_length_b 5.2116
_cell_length_c 5.3173
_cell_angle_alpha 90
_cell_angle_beta 99.23
_cell_angle_gamma 90
_space_group_name_H-M_alt 'P 1 21/c 1'
_space_group_IT_number 14
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
Zr1 Zr 0.2754 0.0395 0.2083
O1 O 0.0700 0.3317 0.3447
O2 O 0.4496 0.7569 0.4792
"""


def loaded(folder, text):
    (folder / "suite.toml").write_text(text)
    return load_config(folder / "suite.toml", Phases)


@pytest.mark.parametrize(
    ("formula", "prototype", "atoms", "spacegroup"),
    [
        ("NaCl", "rocksalt", 2, 225),
        ("CsCl", "cesiumchloride", 2, 221),
        ("ZnS", "zincblende", 2, 216),
        ("ZnO", "wurtzite", 4, 186),
        ("ZrO2", "fluorite", 3, 225),
        ("Li2O", "fluorite", 3, 225),
        ("TiO2", "rutile", 6, 136),
        ("CuAu", "L1_0", 2, 123),
        ("Cu3Au", "L1_2", 4, 221),
    ],
)
def test_prototypes_have_the_symmetry_of_their_structure_type(
    formula, prototype, atoms, spacegroup
):
    one = Prototype(formula=formula, prototype=prototype, a=4.5)
    cell = one.primitive()
    assert len(cell) == atoms
    assert one.symmetry.number == spacegroup
    assert one.title == f"{formula}_{prototype}"
    assert one.parameters(cell)["a"] == pytest.approx(4.5)
    assert tuple(one.parameters(cell)) == one.parameter_names == FREE_PARAMETERS[one.system]


def test_cations_of_fluorite_have_eight_neighbours_and_its_cube_has_twelve_atoms():
    zirconia = Prototype(formula="ZrO2", prototype="fluorite", a=5.1, name="c-ZrO2")
    assert zirconia.title == "c_ZrO2"
    assert zirconia.composition == {"O": pytest.approx(2 / 3), "Zr": pytest.approx(1 / 3)}
    assert zirconia.formula_units == 1
    cube = zirconia.conventional(zirconia.primitive())
    assert cube.get_chemical_formula() == "O8Zr4"
    assert cube.cell.cellpar() == pytest.approx([5.1, 5.1, 5.1, 90, 90, 90])
    distances = cube.get_distances(cube.symbols.search("Zr")[0], cube.symbols.search("O"), mic=True)
    assert distances == pytest.approx([5.1 * 3**0.5 / 4] * 8)


def test_structures_come_from_files_beside_the_configuration(tmp_path, monkeypatch):
    folder = tmp_path / "suite"
    folder.mkdir()
    (folder / "m-ZrO2.cif").write_text(MONOCLINIC)
    monkeypatch.chdir(tmp_path)
    text = 'phases = [{ file = "m-ZrO2.cif" }, { element = "Zr", lattice = "hcp" }]'
    first, second = loaded(folder, text).phases
    assert isinstance(first, StructureFile)
    assert isinstance(second, Crystal)
    assert first.title == "m_ZrO2"
    assert first.system == "monoclinic"
    found = first.parameters(first.primitive())
    assert found == pytest.approx({"a": 5.1505, "b": 5.2116, "c": 5.3173, "beta": 99.23}, abs=1e-4)
    assert first.formula_units == 4
    # A worker gets the structure, not the path.
    (folder / "m-ZrO2.cif").unlink()
    again = pickle.loads(pickle.dumps(first))
    assert again.primitive() == first.primitive()


def test_what_identifies_a_structure_is_its_content_and_not_where_its_file_is(tmp_path):
    dumps = []
    for folder, text in (
        ("one", MONOCLINIC),
        ("two", "# a comment\n" + MONOCLINIC),
        ("three", MONOCLINIC.replace("0.2754", "0.2755")),
    ):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "m-ZrO2.cif").write_text(text)
        config = loaded(tmp_path / folder, 'phases = [{ file = "m-ZrO2.cif", name = "m" }]')
        dumps.append(config.model_dump(mode="json"))
    assert dumps[0] == dumps[1]
    assert dumps[0] != dumps[2]
    assert str(tmp_path) not in str(dumps[0])
    assert Phases(**dumps[2]).phases[0].primitive() == config.phases[0].primitive()


def test_cells_of_files_are_made_primitive(tmp_path):
    cube = Prototype(formula="ZrO2", prototype="fluorite", a=5.1)
    write(tmp_path / "c.xyz", cube.conventional(cube.primitive()).repeat(2))
    (phase,) = loaded(tmp_path, 'phases = [{ file = "c.xyz" }]').phases
    assert len(phase.primitive()) == 3
    assert phase.parameters(phase.primitive()) == {"a": pytest.approx(5.1)}


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ('{ file = "no.cif" }', r"phases\[1\]: .*no.cif: no such file"),
        ('{ file = "two.xyz" }', "holds 2 structures: choose one by index"),
        ('{ file = "two.xyz", index = 2 }', "holds structures 0 to 1, not 2"),
        ('{ file = "two.xyz", index = 0 }', "holds no crystal"),
        ('{ file = "suite.toml" }', "suite.toml"),
        ('{ file = "two.xyz", indx = 0 }', "choose one by index"),
        ('{ formula = "ZrO2", prototype = "rocksalt", a = 5.1 }', "rocksalt is 1:1, which ZrO2"),
        ('{ formula = "Zq", prototype = "rocksalt", a = 5.1 }', "no chemical formula"),
        ('{ formula = "ZrO2", prototype = "fluorit", a = 5.1 }', "prototype: input should be"),
        ('{ formula = "ZrO2", prototype = "fluorite" }', r"key 'phases\[1\].a' is missing"),
        ('{ element = "Zr", latice = "hcp" }', "did you mean 'lattice'"),
        (
            '{ formula = "ZrO2", prototype = "fluorite", a = 5.1, c_over_a = 1.0 }',
            "c_over_a: fluorite is cubic",
        ),
    ],
)
def test_wrong_tables_are_told_with_their_place(tmp_path, table, message):
    write(tmp_path / "two.xyz", [Atoms("Zr"), Atoms("O")])
    with pytest.raises(ConfigError, match=message):
        loaded(tmp_path, f"phases = [{table}]")


def test_relaxation_keeps_an_unstable_crystal_what_it_is(tmp_path, zr):
    write(
        tmp_path / "bcc.xyz",
        Atoms("Zr2", scaled_positions=[[0] * 3, [0.5] * 3], cell=[3.5] * 3, pbc=True),
    )
    (phase,) = loaded(tmp_path, 'phases = [{ file = "bcc.xyz" }]').phases
    relaxed = relaxed_crystal(phase, zr)
    known = relaxed_crystal(Crystal(element="Zr", lattice="bcc"), zr)
    assert phase.symmetry.symbol == "Im-3m"
    assert phase.parameters(relaxed)["a"] == pytest.approx(
        known.get_volume() ** (1 / 3) * 2 ** (1 / 3), abs=1e-4
    )
    assert relaxed.get_potential_energy() == pytest.approx(known.get_potential_energy(), abs=1e-6)
    assert not relaxed.constraints


def test_cells_and_inner_coordinates_relax_within_the_symmetry(emt):
    tetragonal = Prototype(formula="CuAu", prototype="L1_0", a=2.8, c_over_a=1.3)
    relaxed = relaxed_crystal(tetragonal, emt, fmax=1e-4)
    assert abs(relaxed.get_stress()).max() * relaxed.get_volume() < 2e-4
    assert tetragonal.parameters(relaxed)["c"] / tetragonal.parameters(relaxed)[
        "a"
    ] != pytest.approx(1.3, abs=0.01)
    squeezed = relaxed_crystal(tetragonal, emt, volume=15.0, start=relaxed)
    assert squeezed.get_volume() == pytest.approx(30.0)
    stress = squeezed.get_stress()
    assert stress[0] == pytest.approx(stress[2], abs=1e-4)
