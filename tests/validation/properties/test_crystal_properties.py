import numpy as np
import pytest

from pescape.validation import PropertyError
from pescape.validation.crystals import Crystal
from pescape.validation.properties.crystal.elastic import ElasticConfig, elastic
from pescape.validation.properties.crystal.lattice import EosConfig, LatticeConfig, eos, lattice

from ..conftest import DEPTH, LENGTH

PHASES = tuple(Crystal(element="Zr", lattice=name) for name in ("hcp", "bcc", "fcc", "omega"))


def numbers(result):
    return {name: one.value for name, one in result.values.items()}


def test_phases_of_the_zr_potential_are_those_published(zr):
    # Mendelev and Ackland, Phil. Mag. Lett. 87, 349 (2007): hcp below omega below fcc below bcc.
    config = LatticeConfig(phases=PHASES)
    result = lattice(zr, config)
    assert tuple(result.values) == config.value_names
    found = numbers(result)
    assert found["hcp.a"] == pytest.approx(3.234, abs=1e-3)
    assert found["hcp.c_over_a"] == pytest.approx(1.598, abs=1e-3)
    assert found["hcp.volume"] == pytest.approx(23.40, abs=0.01)
    assert found["hcp.cohesive"] == pytest.approx(6.635, abs=1e-3)
    assert found["hcp.relative"] == 0.0
    for phase, height in (("bcc", 103.0), ("fcc", 54.0), ("omega", 49.0)):
        assert found[f"{phase}.relative"] == pytest.approx(height, abs=0.5)
    assert result.values["bcc.relative"].unit == "meV/atom"
    assert [atoms.info["name"] for atoms in result.structures] == ["hcp", "bcc", "fcc", "omega"]


def test_a_crystal_of_bound_neighbours_has_the_lattice_and_energy_of_its_pairs(springs, copper):
    found = numbers(lattice(springs, LatticeConfig(phases=[copper])))
    assert found["fcc.a"] == pytest.approx(LENGTH * 2**0.5, abs=1e-4)
    assert found["fcc.cohesive"] == pytest.approx(6.0 * DEPTH, abs=1e-6)


def test_a_given_energy_of_the_atom_is_taken(springs, copper):
    found = numbers(lattice(springs, LatticeConfig(phases=[copper], atom_energy=1.0)))
    assert found["fcc.cohesive"] == pytest.approx(6.0 * DEPTH + 1.0, abs=1e-6)


def test_guesses_far_off_find_the_same_crystal(zr):
    near = Crystal(element="Zr", lattice="hcp", a=3.23, c_over_a=1.6)
    far = Crystal(element="Zr", lattice="hcp", a=3.4, c_over_a=1.7)
    one, other = (numbers(lattice(zr, LatticeConfig(phases=[c]))) for c in (near, far))
    assert other["hcp.a"] == pytest.approx(one["hcp.a"], abs=2e-4)
    assert other["hcp.energy"] == pytest.approx(one["hcp.energy"], abs=1e-6)


def test_the_energy_volume_curve_of_emt_copper_is_the_textbooks(emt, copper):
    # Jacobsen, Stoltze and Nørskov, Surf. Sci. 366, 394 (1996); the ASE tutorial's 134 GPa.
    config = EosConfig(phases=[copper])
    result = eos(emt, config)
    assert tuple(result.values) == config.value_names
    found = numbers(result)
    assert found["fcc.volume"] == pytest.approx(11.565, abs=0.005)
    assert found["fcc.bulk_modulus"] == pytest.approx(134.4, abs=0.5)
    assert found["fcc.rmse"] < 0.01
    curve = result.curves["fcc"]
    assert curve.x.shape == (9,)
    assert (np.diff(curve.x) > 0.0).all()


def test_two_ways_to_the_bulk_modulus_agree(zr, zirconium):
    from_volumes = numbers(eos(zr, EosConfig(phases=[zirconium], spread=0.01)))
    from_strains = numbers(elastic(zr, ElasticConfig(crystal=zirconium)))
    assert from_volumes["hcp.bulk_modulus"] == pytest.approx(from_strains["bulk_modulus"], rel=0.01)


def test_a_flat_energy_has_no_equation_of_state(flat, copper):
    with pytest.raises(PropertyError, match=r"fcc: .*no minimum"):
        eos(flat, EosConfig(phases=[copper]))


def test_what_does_not_relax_is_an_error(zr, zirconium):
    with pytest.raises(PropertyError, match="hcp: not relaxed after 1 steps, a force of"):
        lattice(zr, LatticeConfig(phases=[zirconium], steps=1))


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"element": "Zq", "lattice": "hcp"}, "no chemical symbol"),
        ({"element": "Zr", "lattice": "fcc", "c_over_a": 1.6}, "goes with hcp and omega"),
        ({"element": "Ga", "lattice": "fcc"}, "give a = "),
    ],
)
def test_crystals_that_make_no_sense_are_refused(table, message):
    with pytest.raises(ValueError, match=message):
        Crystal(**table)


def test_two_phases_of_one_name_are_refused(copper):
    with pytest.raises(ValueError, match="two crystals are called 'fcc'"):
        LatticeConfig(phases=[copper, copper])
