import pytest

from pescape.config import load_config
from pescape.errors import ConfigError
from pescape.learning.config import LearnConfig

GOOD = """
[reference]
eam = "Zr_mm.eam.fs"
[potential]
species = ["Zr"]
[[structures]]
element = "Zr"
lattice = "bcc"
a = 3.58
count = 4
[md]
temperatures = [300]
[[md.start]]
element = "Zr"
lattice = "bcc"
a = 3.58
"""


def load(tmp_path, text):
    path = tmp_path / "learn.toml"
    path.write_text(text)
    return load_config(path, LearnConfig)


def fails(tmp_path, text):
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text)
    message = str(caught.value)
    assert all(line.startswith(f"{tmp_path / 'learn.toml'}: ") for line in message.splitlines())
    return message


def test_a_short_configuration_has_sensible_defaults(tmp_path):
    config = load(tmp_path, GOOD)
    assert config.potential.levels == (8, 12)
    assert config.guard.select == 2.1
    assert config.fit.settings(seed=0).weights.force == 0.01


def test_learning_starts_from_structures_of_any_builder(tmp_path):
    packing = '[[structures]]\nbuilder = "packing"\ncomposition = { Zr = 1.0 }\ncount = 2\n'
    files = '[[structures]]\nbuilder = "files"\nfiles = ["mine.xyz"]\n'
    config = load(tmp_path, GOOD + packing + files)
    assert [recipe.kind for recipe in config.structures] == ["rattled", "packing", "files"]
    message = fails(tmp_path, GOOD + packing.replace("Zr = 1.0", "Zr = 0.5, O = 0.5"))
    assert "element 'O' of a structure is not among the potential's species ['Zr']" in message


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[md]", "[md]\ntemperature = 3", "unknown key 'md.temperature'; did you mean 'temper"),
        (
            "count = 4",
            "count = 4\nrattel = [0, 1]",
            "'structures[1].rattel'; did you mean 'rattle'",
        ),
        (
            "[md]",
            "xyzzy = 1\n[md]",
            "unknown key 'structures[1].xyzzy'; known here: a, builder, c_",
        ),
        ("[reference]", "sede = 1\n[reference]", "unknown key 'sede'; did you mean 'seed'?"),
        ("count = 4\n", "", "key 'structures[1].count' is missing"),
        ("count = 4", "count = 0", "structures[1].count: input should be greater than 0 (it is 0)"),
        ("count = 4", 'count = "x"', "structures[1].count: input should be a valid integer"),
        ("[300]", "[300, -1]", "md.temperatures[2]: input should be greater than 0"),
        ("[300]", "[]", "md.temperatures: "),
        ('"bcc"', '"hpc"', "structures[1].lattice: input should be 'bcc', 'diamond'"),
        ('["Zr"]', '["Zx"]', "'Zx' is no chemical symbol"),
        (
            '["Zr"]',
            '["Zr"]\nlevels = [8, 9]',
            "potential.levels[2]: level 9 is not an even number from 2 to 28",
        ),
        ('["Zr"]', '["Zr"]\nlevels = [12, 8]', "levels [12, 8] do not rise"),
        ('["Zr"]', '["O"]', "element 'Zr' of a structure is not among the potential's species"),
        ('eam = "Zr_mm.eam.fs"', "", "give exactly one of eam = 'FILE', a table"),
        ("[md]", "[guard]\nselect = 5\nstop = 3\n[md]", "stop = 3.0 is below select = 5.0"),
        ("count = 4", "count = 4\nvolume = [1.1, 0.9]", "volume = [1.1, 0.9] is not a range"),
    ],
)
def test_mistakes_are_named_with_what_is_allowed(tmp_path, old, new, message):
    assert message in fails(tmp_path, GOOD.replace(old, new, 1))


def test_all_mistakes_are_told_at_once(tmp_path):
    text = GOOD.replace("count = 4", "count = 0").replace("[300]", '["hot"]')
    assert len(fails(tmp_path, text).splitlines()) == 2


def test_broken_toml_is_told_with_its_place(tmp_path):
    assert "not valid TOML" in fails(tmp_path, GOOD + "\nseed = = 1")
    assert "line" in fails(tmp_path, GOOD + "\nseed = = 1")


def test_missing_files_are_told(tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere\.toml: cannot be read"):
        load_config(tmp_path / "nowhere.toml", LearnConfig)


def test_the_example_is_valid():
    from pathlib import Path

    example = Path(__file__).resolve().parents[1] / "examples" / "zirconium" / "learn.toml"
    config = load_config(example, LearnConfig)
    assert config.potential.levels == (8, 12)
    assert config.md.temperatures == (300.0, 800.0, 1300.0, 1800.0, 2300.0)
    assert config.guard.select == 2.1
    sizes = [len(atoms) for recipe in config.structures for atoms in recipe.build()]
    assert min(sizes) >= 2
    assert max(sizes) <= 16
