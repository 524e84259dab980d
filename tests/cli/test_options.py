"""Options made of settings models, and configuration files of commands."""

import json
import re

import pytest

from pescape.calculators.mtp.fit import FitSettings
from pescape.cli import COMMANDS
from pescape.cli.options import ConfigFile
from pescape.config import Strict
from pescape.errors import ConfigError

from .conftest import run


def strip_ansi(text):
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


STRUCTURES = """
seed = 1
[[structures]]
element = "Cu"
lattice = "fcc"
a = 3.6
cubic = true
count = 2
rattle = [0.05, 0.1]
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A folder with a few labelled configurations of copper."""
    from ase.build import bulk
    from ase.calculators.emt import EMT
    from ase.calculators.singlepoint import SinglePointCalculator

    from pescape.data.configurations import write_configurations

    folder = tmp_path_factory.mktemp("options")
    frames = []
    for seed in range(4):
        atoms = bulk("Cu", "fcc", 3.6, cubic=True)
        atoms.rattle(0.1, seed=seed)
        atoms.calc = EMT()
        names = ("energy", "forces", "stress")
        found = {name: atoms.calc.get_property(name, atoms) for name in names}
        atoms.calc = SinglePointCalculator(atoms, **found)
        frames.append(atoms)
    write_configurations(folder / "train.xyz", frames)
    return folder


def fit(capsys, folder, text, *arguments):
    (folder / "fit.toml").write_text(text)
    return run(capsys, "fit", "mtp", "--config", folder / "fit.toml", *arguments)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda one: one.name)
def test_helps_are_whole_at_80_columns(command, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    code, out, _ = run(capsys, *command.name.split(), "--help")
    assert code == 0
    text = strip_ansi(out)
    assert max(map(len, text.splitlines())) <= 80
    assert not re.findall(r"--[\w-]*…", text)
    if command.name != "lammps":
        assert "--config" in text


def test_every_option_of_a_model_has_a_description_and_its_default(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    _, out, _ = run(capsys, "fit", "mtp", "--help")
    text = " ".join(strip_ansi(out).split())
    for name, field in FitSettings.model_fields.items():
        assert field.description, name
        assert f"--{name.replace('_', '-')}" in text
        if not isinstance(field.default, bool):
            assert f"[default: {field.default}]" in text, name


def test_a_file_gives_options_and_flags_win(capsys, data):
    text = """
    train = "train.xyz"
    output = "cu.almtp"
    level = 2
    iterations = 30
    starts = 1
    species = ["Cu"]
    zbl = [0.8, 1.6]
    plot = false
    """
    code, _, err = fit(capsys, data, text, "--iterations", 5, "--force-weight", 0.02)
    assert code == 0, err
    found = json.loads((data / "cu.almtp.json").read_text())
    assert found["level"] == 2
    assert found["settings"]["iterations"] == 5
    assert found["settings"]["starts"] == 1
    assert found["settings"]["weights"]["force"] == 0.02
    assert not (data / "cu.almtp.png").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lvel = 2", "fit.toml: unknown key 'lvel'; did you mean 'level'?"),
        ('level = "x"', "fit.toml: level: input should be a valid integer"),
        ("cutoff = -1.0", "fit.toml: cutoff: input should be greater than 0"),
        ("level = 7", "fit.toml: level: level 7 is not an even number from 2 to 28"),
        ("level = ", "fit.toml: not valid TOML"),
    ],
)
def test_mistakes_in_a_file_name_file_and_key(capsys, data, text, message):
    code, _, err = fit(capsys, data, text, data / "train.xyz", "-o", data / "x.almtp")
    assert code == 1
    assert message in err


def test_mistakes_in_flags_name_the_flag(capsys, data):
    given = ("fit", "mtp", data / "train.xyz", "-o", data / "x.almtp")
    code, _, err = run(capsys, *given, "--min-dist", "-2")
    assert code == 1
    assert "--min-dist -2.0: input should be greater than 0" in err


def test_a_configuration_is_named_either_way_and_changed_by_set(capsys, tmp_path):
    config = tmp_path / "structures.toml"
    config.write_text(STRUCTURES)
    out = tmp_path / "out.xyz"
    for given in ((config,), ("--config", config)):
        code, printed, _ = run(capsys, "structures", *given, "-o", out)
        assert code == 0
        assert "2 structures" in printed
    code, printed, _ = run(
        capsys, "structures", config, "-o", out, "--set", "structures[1].count=3"
    )
    assert code == 0
    assert "3 structures" in printed
    for given, message in (
        ((), "a TOML file is missing"),
        ((config, "--config", config), "two TOML files"),
        ((config, "--set", "seed"), "KEY=VALUE expected"),
    ):
        code, _, err = run(capsys, "structures", *given, "-o", out)
        assert code == 2
        assert message in " ".join(err.split())
    code, _, err = run(capsys, "structures", config, "-o", out, "--set", "sede=2")
    assert code == 1
    assert "unknown key 'sede'; did you mean 'seed'?" in err


def test_values_are_set_by_dotted_keys(tmp_path):
    class Inner(Strict):
        number: int = 1

    class Outer(Strict):
        inner: Inner = Inner()
        parts: tuple[Inner, ...] = ()

    file = tmp_path / "x.toml"
    file.write_text("[[parts]]\nnumber = 2\n[[parts]]\nnumber = 3\n")
    changes = {"inner.number": 5, "parts[2].number": 7}
    found = ConfigFile(file, changes).load(Outer)
    assert (found.inner.number, [one.number for one in found.parts]) == (5, [2, 7])
    for key in ("parts[3].number", "parts.number", "inner[1]"):
        with pytest.raises(ConfigError, match="there is no such place"):
            ConfigFile(file, {key: 1}).load(Outer)
