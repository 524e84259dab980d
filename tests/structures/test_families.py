from collections import Counter
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase.build import bulk

from pescape.config import Strict, load_config, validate
from pescape.data.configurations import as_stored, read_configurations, write_configurations
from pescape.errors import ConfigError, DataError
from pescape.plugins.structures import replay, shortest_distance
from pescape.structures import StartConfig, StructuresConfig, build_all

TABLE_1 = Path(__file__).resolve().parents[2] / "examples" / "zirconium" / "table1.toml"
HCP = {"element": "Zr", "lattice": "hcp", "a": 3.234, "c_over_a": 1.598}
BCC = {"element": "Zr", "lattice": "bcc", "a": 3.58}

ONE_OF_EACH = [
    HCP,
    {"family": "deformed", **HCP},
    {"family": "vacancy", **HCP, "sizes": [16]},
    {"family": "divacancy", **HCP, "sizes": [16]},
    {"family": "interstitial", **HCP, "sizes": [16], "min_distance": 2.0},
    {"family": "surface", **HCP, "sizes": [12]},
    {"family": "stacking_fault", **HCP, "planes": ["basal"], "sizes": [12], "grid": 3},
    {"family": "dislocation_dipole", **HCP, "sizes": [128]},
    {"family": "files", "files": ["zirconia.cif"]},
]


class Start(Strict):
    start: tuple[StartConfig, ...]


class Learning(Strict):
    md: Start


def start(**table):
    return validate({"start": [table]}, Start, "x.toml").start[0]


def refusal(**table):
    with pytest.raises(ConfigError) as caught:
        start(**table)
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.fixture
def folder(tmp_path):
    ase.io.write(tmp_path / "zirconia.cif", bulk("ZrO2", "fluorite", a=5.08))
    return tmp_path


@pytest.fixture(scope="module")
def table_1():
    tables = load_config(TABLE_1, Learning).md.start
    return [atoms for table in tables for atoms in table.build()]


@pytest.mark.slow
def test_table_1_of_luo_et_al_is_built_as_it_stands(table_1):
    small = {
        "deformed": {2: 32, 4: 39 + 98},
        "interstitial": {5: 8, 9: 8},
        "vacancy": {3: 2, 7: 2},
        "divacancy": {6: 1, 14: 1},
        "surface": {12: 8},
        "stacking_fault": {2: 882, 12: 441},
    }
    medium = {
        "interstitial": {17: 8, 33: 8},
        "vacancy": {15: 2, 31: 2},
        "divacancy": {30: 1},
        "surface": {16: 8, 20: 8, 24: 11, 28: 11, 32: 11},
        "stacking_fault": {16: 882, 24: 882},
    }
    large = {
        "interstitial": {65: 8, 129: 8},
        "vacancy": {63: 2, 127: 2},
        "divacancy": {62: 1, 126: 1, 254: 1},
        "dislocation_dipole": {512: 2},
        "surface": {40: 3, 44: 3},
        "stacking_fault": {64: 882},
    }
    expected = Counter(
        {
            (family, size): count
            for column in (small, medium, large)
            for family, sizes in column.items()
            for size, count in sizes.items()
        }
    )
    assert Counter((atoms.info["family"], len(atoms)) for atoms in table_1) == expected
    sizes = np.array([len(atoms) for atoms in table_1])
    # The article's text counts 1552 small ones; its table adds up to 1522.
    assert (sizes < 15).sum() == 1522
    assert ((sizes >= 15) & (sizes <= 38)).sum() == 1834
    assert (sizes > 38).sum() == 913


def test_structures_of_table_1_have_names_of_their_own_and_are_periodic(table_1):
    names = Counter(atoms.info["name"] for atoms in table_1)
    assert names.most_common(1)[0][1] == 1
    assert all(atoms.pbc.all() and set(atoms.symbols) == {"Zr"} for atoms in table_1)


def test_structures_of_table_1_keep_their_distance(table_1):
    chosen = [atoms for atoms in table_1 if len(atoms) < 33][::20]
    assert min(shortest_distance(atoms, 2.5) for atoms in chosen) >= 2.1


@pytest.mark.parametrize("table", ONE_OF_EACH, ids=lambda table: table.get("family", "crystal"))
def test_every_family_builds_named_structures_that_can_be_built_again(folder, table):
    family = start(**table)
    built = family.build(folder)
    assert built
    assert {atoms.info["family"] for atoms in built} == {table.get("family", "crystal")}
    assert family.elements_named == ({"Zr"} if "element" in table else set())
    for atoms in built:
        assert atoms.info["name"].endswith(", volume × 1")
        if "record" in atoms.info:
            assert replay(atoms.info["record"]) == atoms
    assert [a.info["name"] for a in family.build(folder)] == [a.info["name"] for a in built]


@pytest.mark.parametrize("table", ONE_OF_EACH, ids=lambda table: table.get("family", "crystal"))
def test_every_family_has_volumes(folder, table):
    table = {"count": 1, **table, "volumes": [1.0, 1.2]}
    first, second = start(**table).build(folder)
    assert len(first) == len(second)
    ratio = second.get_volume() / first.get_volume()
    if table.get("family") == "surface":  # the vacuum stays
        assert 1.0 < ratio < 1.2
    else:
        assert ratio == pytest.approx(1.2)


def test_tables_without_family_are_crystals_as_ever():
    one, two = start(**HCP, repeat=[[1, 1, 1], [2, 2, 1]]).build()
    assert [len(one), len(two)] == [2, 8]
    assert one.info["name"] == "hcp Zr2, volume × 1"
    np.testing.assert_allclose(one.cell.lengths(), [3.234, 3.234, 3.234 * 1.598])


def test_counts_spread_over_what_there_is():
    few = start(family="deformed", **HCP, count=8).build()
    modes = [atoms.info["record"]["arguments"]["mode"] for atoms in few]
    assert len(few) == 8
    assert len(set(modes)) >= 6
    faults = start(
        family="stacking_fault", **HCP, planes=["basal", [1, 0, -1, 0]], sizes=[2, 4], count=10
    ).build()
    assert len(faults) == 2 * 2 * 10


def test_other_elements_go_into_interstitial_sites():
    family = start(family="interstitial", **HCP, sizes=[32], sites=["O", "T"], extra_element="O")
    assert family.elements_named == {"Zr", "O"}
    assert [atoms.get_chemical_formula() for atoms in family.build()] == ["OZr32", "OZr32"]


def test_pairs_and_terminations_can_be_chosen():
    pairs = start(family="divacancy", **HCP, repeat=[[3, 2, 2]], within=4.6).build()
    kinds = [atoms.info["record"]["arguments"]["kind"] for atoms in pairs]
    assert kinds == ["out_of_basal", "basal", "out_of_basal_2"]
    slabs = start(
        family="surface", **HCP, planes=["prismatic"], layers=[4, 6], terminations=[1]
    ).build()
    assert [len(atoms) for atoms in slabs] == [8, 12]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"family": "vacncy", **HCP}, "start[1]: family has to be one of crystal, deformed, "),
        ({"family": ["vacancy"], **HCP}, "start[1]: family has to be one of crystal, "),
        ({**HCP, "familly": "x"}, "unknown key 'start[1].familly'; did you mean 'family'?"),
        ({"family": "vacancy", **HCP, "size": [4]}, "'start[1].size'; did you mean 'sizes'?"),
        ({"family": "vacancy", **HCP}, "start[1]: give either sizes = [16, 32] or repeat"),
        ({"family": "vacancy", **HCP, "sizes": [10]}, "has 10 atoms: the cell has 4; possible"),
        ({"family": "vacancy", **HCP, "sizes": []}, "start[1]: sizes = [] is empty"),
        ({**HCP, "element": "Zx"}, "start[1]: 'Zx' is no chemical symbol"),
        ({"family": "deformed", **HCP, "element": "Zx"}, "start[1]: 'Zx' is no chemical symbol"),
        ({"family": "deformed", **BCC, "c_over_a": 1.6}, "c_over_a belongs to hcp and omega"),
        ({"family": "deformed", **HCP, "modes": ["bend"]}, "deformation 'bend' is not one of"),
        ({"family": "deformed", **HCP, "count": 40}, "count = 40, but there are 39 structures"),
        ({"family": "divacancy", **HCP, "sizes": [8], "kinds": ["x"]}, "divacancy 'x' of hcp"),
        (
            {"family": "divacancy", **HCP, "sizes": [8], "kinds": ["basal"], "within": 4.0},
            "give kinds or within, not both",
        ),
        ({"family": "divacancy", **HCP, "sizes": [8], "within": 1.0}, "no two atoms are within 1"),
        ({"family": "interstitial", **HCP, "sizes": [8], "sites": ["OO"]}, "site 'OO' of hcp is"),
        (
            {"family": "interstitial", **HCP, "sizes": [8], "extra_element": "Ox"},
            "extra_element 'Ox' is no chemical symbol",
        ),
        ({"family": "surface", **HCP}, "give either sizes = [12, 24] or layers = [6, 12]"),
        ({"family": "surface", **HCP, "sizes": [12], "in_plane": [1, 1]}, "in_plane goes with lay"),
        ({"family": "surface", **HCP, "sizes": [13]}, "has 13 atoms: a layer"),
        (
            {"family": "surface", **HCP, "sizes": [12], "planes": [[1, 0, 0, 0]]},
            "do not sum to 0",
        ),
        (
            {"family": "surface", **HCP, "sizes": [12], "planes": ["bazal"]},
            "start[1].planes[1]: plane is not one of basal, prismatic, pyramidal, ",
        ),
        (
            {"family": "surface", **HCP, "sizes": [12], "terminations": [1]},
            "terminations: plane [0, 0, 0, 1] has 1, counted from 0",
        ),
        (
            {"family": "surface", "element": "Si", "lattice": "diamond", "a": 5.4, "layers": [2]},
            "give planes = [[0, 0, 1]]: diamond has none of its own",
        ),
        ({"family": "stacking_fault", **HCP, "sizes": [4]}, "'start[1].planes' is missing"),
        (
            {"family": "stacking_fault", **HCP, "planes": ["basal"], "sizes": [4], "count": 442},
            "count = 442, but there are 441 displacements",
        ),
        (
            {"family": "stacking_fault", **HCP, "planes": ["basal"], "layers": [1], "vacuum": 9},
            "layers = 1: a fault needs 2 at least",
        ),
        (
            {
                "family": "stacking_fault",
                **HCP,
                "planes": ["basal"],
                "layers": [1],
                "displacements": [[0.5, 0.5]],
                "count": 1,
            },
            "count thins the grid: leave it out beside displacements",
        ),
        ({"family": "dislocation_dipole", **BCC}, "dislocation dipoles are built in hcp, not in b"),
        ({"family": "dislocation_dipole", **HCP, "sizes": [100]}, "give a multiple of 8"),
        ({"family": "files"}, "key 'start[1].files' is missing"),
        ({"family": "files", "files": ["x.cif"], "element": "Zr"}, "unknown key 'start[1].eleme"),
    ],
)
def test_mistakes_are_told_in_one_line_while_the_table_is_read(table, message):
    assert message in refusal(**table)


def test_what_has_no_room_is_told_when_it_is_built(folder):
    crowded = start(family="interstitial", **HCP, sizes=[4], sites=["O"], min_distance=3.3)
    with pytest.raises(ConfigError, match=r"family interstitial: Zr5 in 93.6 Å³ has no room"):
        crowded.build()
    with pytest.raises(DataError, match=r"missing\.cif: no such file"):
        start(family="files", files=["missing.cif"]).build(folder)
    with pytest.raises(ConfigError, match="family files: count = 2, but there are 1 structures"):
        start(family="files", files=["zirconia.cif"], count=2).build(folder)


def test_families_stand_among_the_recipes_of_structures(folder):
    (folder / "structures.toml").write_text(
        """
[[structures]]
family = "vacancy"
element = "Zr"
lattice = "bcc"
a = 3.58
sizes = [16, 54]

[[structures]]
element = "Zr"
lattice = "hcp"
a = 3.23
count = 2

[[structures]]
family = "files"
files = ["zirconia.cif"]
"""
    )
    settings = load_config(folder / "structures.toml", StructuresConfig)
    assert [recipe.kind for recipe in settings.structures] == ["vacancy", "rattled", "files"]
    built = build_all(settings.structures, 1, folder)
    assert [len(atoms) for atoms in built] == [15, 53, 2, 2, 3]
    write_configurations(folder / "start.xyz", built)
    for atoms in read_configurations(folder / "start.xyz")[:2]:
        assert as_stored(replay(atoms.info["record"])) == as_stored(atoms)


def test_mistakes_in_families_among_recipes_are_named():
    table = {"structures": [{"family": "vacancy", **BCC, "sizs": [16]}]}
    with pytest.raises(ConfigError, match=r"unknown key 'structures\[1\].sizs'; did you mean 'siz"):
        validate(table, StructuresConfig, "x.toml")
    table = {"structures": [{"family": "vacncy", **BCC}]}
    with pytest.raises(ConfigError, match=r"structures\[1\]: family has to be one of crystal, "):
        validate(table, StructuresConfig, "x.toml")
