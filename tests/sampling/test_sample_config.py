import pytest

from pescape.cli import main
from pescape.config import load_config
from pescape.errors import ConfigError
from pescape.sampling import SampleConfig


@pytest.fixture
def load(tmp_path, tiny, write):
    def changed(old, new):
        assert old in tiny
        return load_config(write(tmp_path, tiny.replace(old, new, 1)), SampleConfig)

    return changed


def test_defaults_are_those_of_the_paper(load):
    config = load("calls = 12", "")
    assert config.relaxation.steps == 3
    assert config.test_fraction == 0.5
    md, contour, dimer = config.samplers
    assert (md.calls, md.every, md.timestep, md.thermostat) == (200, 4, 1.0, "nose-hoover")
    assert md.temperatures == (200.0, 2000.0)
    assert (contour.every, contour.energies, contour.drift) == (2, (0.001, 1.0), 0.2)
    assert (contour.maxstep, contour.step_cap) == (0.8, "norm")
    assert (dimer.every, dimer.displacement, dimer.separation, dimer.fmax) == (4, 1.2, 0.01, 1e-5)
    assert dimer.guards.build().max_force == 100.0
    assert load("[relaxation]\nsteps = 3", "").relaxation.steps == 10


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("calls = 12", "cals = 12", "unknown key 'samplers[1].cals'; did you mean 'calls'?"),
        (
            'method = "md"',
            'method = "mc"',
            "samplers[1]: method has to be 'md', 'contour' or 'dimer'",
        ),
        ("calls = 12", "energies = [0.1, 0.2]", "unknown key 'samplers[1].energies'"),
        (
            "calls = 12",
            "[samplers.guards]\nmax_forces = 3",
            "unknown key 'samplers[1].guards.max_forces'; did you mean 'max_force'?",
        ),
        (
            "calls = 12",
            "temperatures = [300, 200]",
            "samplers[1]: temperatures = [300, 200] is not a range of positive numbers",
        ),
        ("calls = 12", "calls = 0", "samplers[1].calls: input should be greater than 0"),
        ('method = "contour"', 'method = "md"', "two samplers are called 'md'"),
        ("[relaxation]", "[relaxtion]", "unknown key 'relaxtion'; did you mean 'relaxation'?"),
        ("seed = 3", "test_fraction = 1.5", "test_fraction: input should be less than or equal"),
        ("[relaxation]", "[limits]\n[relaxation]", "limits: give multiple = 2.0, file = "),
        ("[relaxation]", "[limits]\nenergy = 1.0\n[relaxation]", "give atom_energies"),
        (
            "[relaxation]",
            '[limits]\nforce = 9.0\npairs = [["Cu", "Cu"]]\n[relaxation]',
            "pairs goes with multiple or file",
        ),
        ('calculator = "calc.py:counted"', "", "give exactly one of eam = 'FILE', a table"),
        (
            'lattice = "fcc"',
            'builder = "file"',
            "'rattled', 'polymorph', 'packing', 'files' or 'solid_solution'",
        ),
    ],
)
def test_mistakes_are_named_with_what_is_allowed(load, old, new, message):
    with pytest.raises(ConfigError) as caught:
        load(old, new)
    assert message in str(caught.value)
    assert all("sample.toml: " in line for line in str(caught.value).splitlines())


def test_a_dry_run_tells_the_plan_and_makes_nothing(tmp_path, tiny, write, capsys):
    with pytest.raises(SystemExit) as end:
        main(["sample", str(write(tmp_path, tiny)), "--dry-run"])
    assert not end.value.code
    out = capsys.readouterr().out
    assert "2 starts of 4 to 4 atoms (Cu); 96 force calls at most" in out
    for sampler in ("md", "contour", "dimer"):
        assert sampler in out
    assert not (tmp_path / "sampled").exists()
    assert not (tmp_path / "calls").exists()


def test_the_status_is_told_without_disturbing_anything(whole, tmp_path, tiny, write, capsys):
    folder, _ = whole
    for config, finished, calls in (
        (folder / "sample.toml", 6, 96),
        (write(tmp_path, tiny), 0, 0),
    ):
        with pytest.raises(SystemExit) as end:
            main(["sample", str(config), "--status"])
        assert not end.value.code
        out = capsys.readouterr().out
        assert f"{finished} of 6 trajectories finished, 0 of them failed" in out
        assert f"{calls} force calls made, at most 96" in out
    assert not (tmp_path / "sampled").exists()
