import numpy as np
import pytest
from pydantic import ValidationError

from pescape.labelling import reference_from
from pescape.plugins.structures import shortest_distance
from pescape.validation import PropertyError, PropertyResult
from pescape.validation.crystals import Crystal
from pescape.validation.properties.heat import coexistence
from pescape.validation.properties.heat import coexistence as melting_runs
from pescape.validation.properties.heat import melting as melting_search
from pescape.validation.properties.heat.melting import MeltingConfig, Setting, melting
from pescape.validation.sources import LammpsModel, lammps_model

COPPER = Crystal(element="Cu", lattice="fcc")
CONFIG = MeltingConfig(phases=[COPPER], atoms=500, time=4.5, rounds=1, guess=1300.0, precision=1.0)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return lammps_model(
        reference_from("eam:Cu_mishin1.eam.alloy"), tmp_path_factory.mktemp("model")
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("melting")


@pytest.fixture(scope="module")
def melted(model, folder):
    """Copper in a small cell, for a short time, in one round of runs."""
    return melting(model, CONFIG, folder)


@pytest.fixture
def started(monkeypatch):
    """Names of the LAMMPS runs that were started."""
    names = []

    def counted(folder, script, *, ranks, what):
        names.append(what)
        run(folder, script, ranks=ranks, what=what)

    run = melting_runs.run_lammps
    monkeypatch.setattr(melting_runs, "run_lammps", counted)
    return names


@pytest.mark.slow
def test_copper_melts_where_its_potential_is_known_to(melted):
    # 1327 K: Y. Mishin, M. J. Mehl, D. A. Papaconstantopoulos, A. F. Voter, J. D. Kress,
    # Phys. Rev. B 63, 224106 (2001), by the moving interface; so small a cell tells it roughly.
    values = {name: one.value for name, one in melted.values.items()}
    assert set(values) == set(CONFIG.value_names)
    assert values["fcc.temperature"] == pytest.approx(1327.0, abs=200.0)
    assert 0.0 < values["fcc.uncertainty"] < 200.0
    assert values["fcc.kinetic_coefficient"] > 0.0
    # Copper's measured heat of fusion is 137 meV/atom, its volume grows by some 4.5 %.
    assert values["fcc.heat_of_fusion"] == pytest.approx(130.0, abs=25.0)
    assert values["fcc.volume_change"] == pytest.approx(4.5, abs=1.5)
    assert values["fcc.retained"] > 0.9


@pytest.mark.slow
def test_solid_grows_far_below_and_melts_far_above(melted):
    velocities = melted.curves["fcc.velocity"]
    order = np.argsort(velocities.x)
    assert velocities.y[order[0]] > 0.0 > velocities.y[order[-1]]
    runs = sorted(name for name in melted.curves if name.startswith("fcc.solid_"))
    coldest, hottest = melted.curves[runs[0]], melted.curves[runs[-1]]
    assert coldest.y[-1] > coldest.y[0]
    assert hottest.y[-1] < hottest.y[0]
    energies = [melted.curves[n.replace("solid", "energy")] for n in (runs[0], runs[-1])]
    assert energies[0].y.mean() < energies[1].y.mean()


@pytest.mark.slow
def test_the_picture_of_the_interface_tells_solid_from_liquid(melted):
    (end,) = PropertyResult.from_json(melted.to_json()).structures
    assert end.info["name"] == "fcc_coexistence"
    solid = end.get_tags() == 1
    assert 0.1 < solid.mean() < 0.9
    # The liquid is in one piece: seen from its middle, atoms far along z are solid.
    angles = 2 * np.pi * end.get_scaled_positions()[:, 2]
    middle = np.angle(np.exp(1j * angles[~solid]).sum())
    assert (
        np.cos(angles[solid] - middle).mean() < -0.2 < 0.2 < np.cos(angles[~solid] - middle).mean()
    )


@pytest.mark.slow
def test_errors_larger_than_wanted_are_told(melted):
    assert "fcc: the standard error is above 1 K after 1 rounds" in melted.warnings


@pytest.mark.slow
def test_runs_that_have_ended_are_not_run_again(model, folder, melted, started):
    again = melting(model, CONFIG, folder)
    assert started == []
    assert again.values == melted.values
    lost = next(folder.glob("fcc_0_3_*"))
    (lost / "run.json").unlink()
    again = melting(model, CONFIG, folder)
    assert started == [lost.name]
    assert again.values == melted.values


@pytest.mark.slow
def test_a_crystal_is_heated_until_it_melts(model, folder):
    setting = Setting.of(COPPER, model, CONFIG, folder)
    found = coexistence.superheating_limit(
        setting.dynamics, folder / "heated", setting.small, highest=4000.0, rate=500.0, seed=1
    )
    assert 1.1 * 1327.0 < found < 3000.0
    with pytest.raises(PropertyError, match="did not melt up to 500 K"):
        coexistence.superheating_limit(
            setting.dynamics, folder / "cold", setting.small, highest=500.0, rate=500.0, seed=1
        )


@pytest.mark.slow
def test_temperatures_that_no_crystal_stands_fail_by_being_told(model, tmp_path):
    config = CONFIG.model_copy(update={"guess": 4000.0})
    with pytest.raises(PropertyError, match="fcc: the interface stands still at no temperature"):
        melting(model, config, tmp_path)


@pytest.mark.parametrize("guess", [900.0, 1300.0, 1900.0])
def test_a_search_that_begins_elsewhere_finds_the_temperature(guess, tmp_path, monkeypatch):
    true, velocity = 1300.0, -0.8  # K, m/s/K

    def ran(_dynamics, _folder, crystal, _start, *, temperature, time, seed):
        clock = np.arange(0.0, time, 0.1)
        length = np.full(len(clock), 80.0)
        walk = np.cumsum(np.random.default_rng(seed).normal(scale=0.2, size=len(clock)))
        moved = 0.01 * velocity * (temperature - true) * clock + walk
        solid = np.clip(0.5 + 2 * moved / length, 0.0, 1.0)
        lattices = {"fcc": 90, "hcp": 8, "bcc": 2}
        return coexistence.Coexistence(
            temperature, clock, solid, 0.0 * clock, length, lattices, crystal
        )

    def melts_when_hot(*_args, temperature, **_kwargs):
        return None if temperature > 1.25 * true else 0.95

    monkeypatch.setattr(melting_search, "prepared", melts_when_hot)
    monkeypatch.setattr(melting_search, "coexistence", ran)
    monkeypatch.setattr(melting_search, "fusion", lambda *_args, **_kwargs: (0.1, 0.05))
    config = MeltingConfig(phases=[COPPER], guess=guess, rounds=12, precision=8.0)
    found = melting(LammpsModel("none", "none"), config, tmp_path)
    values = {name: one.value for name, one in found.values.items()}
    assert values["fcc.uncertainty"] <= 8.0
    assert values["fcc.temperature"] == pytest.approx(true, abs=4 * values["fcc.uncertainty"])
    assert values["fcc.kinetic_coefficient"] == pytest.approx(-velocity, rel=0.3)
    assert values["fcc.retained"] == pytest.approx(0.9)
    assert found.warnings == ()
    transformed = melting(
        LammpsModel("none", "none"),
        config.model_copy(update={"phases": (Crystal(element="Mg", lattice="hcp"),)}),
        tmp_path,
    )
    assert transformed.warnings == (
        "hcp: the crystal transformed; its atoms ended as fcc 90 %, hcp 8 %, bcc 2 %",
    )


def test_the_interface_of_hcp_is_one_that_grows_without_faults(model, tmp_path):
    hcp = Crystal(element="Mg", lattice="hcp", a=3.2, c_over_a=1.6)
    setting = Setting.of(hcp, model, MeltingConfig(phases=[hcp], atoms=1000), tmp_path)
    edges = setting.long.cell.lengths()
    counts = edges / [3**0.5 * 3.2, 1.6 * 3.2, 3.2]
    np.testing.assert_allclose(counts, np.round(counts), atol=1e-9)
    assert edges[2] == pytest.approx(2.5 * edges[:2].mean(), rel=0.15)
    assert len(setting.long) == pytest.approx(1000, rel=0.2)
    assert shortest_distance(setting.long) == pytest.approx(
        min(3.2, (3.2**2 / 3 + (1.6 * 3.2) ** 2 / 4) ** 0.5)
    )


def test_names_are_known_before_and_phases_that_cannot_be_told_refused():
    config = MeltingConfig(phases=[Crystal(element="Zr", lattice="hcp", name="alpha")])
    assert config.value_names[:2] == ("alpha.temperature", "alpha.uncertainty")
    with pytest.raises(ValidationError, match="omega cannot melt here, only fcc, hcp, bcc"):
        MeltingConfig(phases=[Crystal(element="Zr", lattice="omega")])


def test_what_lammps_says_is_told(tmp_path):
    with pytest.raises(PropertyError, match=r"fcc: fcc_0_prepared: LAMMPS failed.*nowhere"):
        melting(LammpsModel("eam/alloy", "nowhere"), CONFIG, tmp_path)


def test_what_the_runs_of_a_round_share_counts_as_an_error():
    assert melting_search._shared([1300.0]) == 0.0
    assert melting_search._shared([1300.0, None, 1310.0, 1290.0]) == pytest.approx(10.0 / 3**0.5)
