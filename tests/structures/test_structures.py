import ase.io
import numpy as np
import pytest
from ase.build import bulk

from pescape.config import load_config, validate
from pescape.data.configurations import as_stored, read_configurations, write_configurations
from pescape.errors import ConfigError
from pescape.plugins.structures import replay
from pescape.structures import StructuresConfig, build_all

GOOD = """
seed = 3
[[structures]]
element = "Zr"
lattice = "hcp"
a = 3.23
count = 2
[[structures]]
builder = "polymorph"
crystals = [{ element = "Zr", lattice = "hcp", a = 3.23 }]
files = ["zirconia.cif"]
elements = ["Zr", "O"]
count = 4
mutations = { deletion = 0.1 }
[[structures]]
builder = "packing"
boxes = [6.0, 8.0]
composition = { Zr = [0.0, 1.0], O = [0.0, 0.7] }
radii = { Zr = 1.123, O = 0.613 }
count = 4
"""


@pytest.fixture
def config(tmp_path):
    ase.io.write(tmp_path / "zirconia.cif", bulk("ZrO2", "fluorite", a=5.08))

    def load(old="", new=""):
        path = tmp_path / "structures.toml"
        path.write_text(GOOD.replace(old, new, 1) if old else GOOD)
        return load_config(path, StructuresConfig)

    return load


def test_builders_share_one_file_and_take_turns(config, tmp_path):
    settings = config()
    built = build_all(settings.structures, settings.seed, tmp_path)
    assert [atoms.info.get("parent") for atoms in built[2:6]] == ["hcp Zr2", "zirconia.cif"] * 2
    edges = [atoms.cell.lengths()[0] for atoms in built[6:]]
    assert edges == [6.0, 8.0, 6.0, 8.0]
    assert built[2].info["record"]["arguments"]["deletion"] == 0.1
    again = build_all(settings.structures, settings.seed, tmp_path)
    other = build_all(settings.structures, 4, tmp_path)
    assert again == built
    assert all(a != b for a, b in zip(built, other, strict=True))


def test_each_recipe_has_chance_of_its_own(config, tmp_path):
    few = build_all(config().structures, 3, tmp_path)
    many = build_all(config("count = 2", "count = 5").structures, 3, tmp_path)
    assert many[5:] == few[2:]


def test_stored_structures_are_replayed(config, tmp_path):
    write_configurations(tmp_path / "start.xyz", build_all(config().structures, 3, tmp_path))
    for atoms in read_configurations(tmp_path / "start.xyz")[2:]:
        again = as_stored(replay(atoms.info["record"]))
        np.testing.assert_array_equal(again.positions, atoms.positions)
        np.testing.assert_array_equal(again.cell.array, atoms.cell.array)
        assert again.info["configuration_id"] == atoms.info["configuration_id"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"packing"', '"paking"', "structures[3]: builder has to be 'rattled', 'polymorph', "),
        ("radii", "radi", "unknown key 'structures[3].radi'; did you mean 'radii'?"),
        ("boxes", "xyzzy", "unknown key 'structures[3].xyzzy'; known here: boxes, builder, comp"),
        ("deletion", "delation", "'structures[2].mutations.delation'; did you mean 'dilation'?"),
        ("deletion = 0.1", "deletion = 2.1", "structures[2].mutations: deletion = 2.1 is not bet"),
        ('hcp", a = 3.23 }', 'hpc", a = 3.23 }', "structures[2].crystals[1].lattice: input"),
        ('element = "Zr"\n', "", "key 'structures[1].element' is missing"),
        ('elements = ["Zr", "O"]\ncount = 4', "", "key 'structures[2].count' is missing"),
        ("O = [0.0, 0.7]", 'O = "much"', "structures[3].composition.O: "),
    ],
)
def test_mistakes_are_named_with_what_is_allowed(config, old, new, message):
    with pytest.raises(ConfigError) as caught:
        config(old, new)
    assert message in str(caught.value)


def test_polymorphs_need_a_phase(config):
    phases = GOOD[GOOD.index("crystals") : GOOD.index("elements")]
    with pytest.raises(ConfigError, match="give crystals = "):
        config(phases, "")


def test_a_builder_of_parents_is_a_table_by_its_signature(tmp_path):
    table = {
        "builder": "solid_solution",
        "crystals": [{"element": "Cu", "lattice": "fcc", "a": 3.6, "repeat": [[2, 2, 2]]}],
        "composition": {"Ni": 0.5, "Al": 0.5},
        "volume": [0.9, 1.1],
        "count": 3,
    }
    config = validate({"structures": [table]}, StructuresConfig, "x.toml")
    assert config.structures[0].elements_named == {"Ni", "Al"}
    built = build_all(config.structures, 7, tmp_path)
    assert [atoms.get_chemical_formula() for atoms in built] == ["Al4Ni4"] * 3
    assert len({atoms.info["configuration_id"] for atoms in built}) == 3
    assert all(as_stored(replay(atoms.info["record"])) == atoms for atoms in built)
    with pytest.raises(ConfigError, match=r"unknown key 'structures\[1\].shell'; .* 'shells'"):
        validate({"structures": [table | {"shell": 1}]}, StructuresConfig, "x.toml")
    wrong = table | {"composition": {"Ni": 0.7}}
    config = validate({"structures": [wrong]}, StructuresConfig, "x.toml")
    with pytest.raises(ConfigError, match=r"structures\[1\] \(solid_solution\): composition: "):
        build_all(config.structures, 7)
