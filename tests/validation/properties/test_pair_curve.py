import numpy as np
import pytest
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.lj import LennardJones
from ase.calculators.morse import MorsePotential

from pescape.validation import PropertyError
from pescape.validation.properties.soundness.pair_curve import PairCurveConfig, pair_curve

COPPER = PairCurveConfig(elements=["Cu"])


def numbers(result):
    return {name: one.value for name, one in result.values.items()}


class Rippled(Calculator):
    """A cosine of the distance between two atoms, one crest each Å as far as 7 Å."""

    implemented_properties = ["energy", "forces"]  # noqa: RUF012

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        energy, force = 5.0 * len(self.atoms), 0.0
        if len(self.atoms) == 2 and (r := self.atoms.get_distance(0, 1)) < 7.25:
            energy += 0.2 * np.cos(2.0 * np.pi * r)
            force = 0.4 * np.pi * np.sin(2.0 * np.pi * r)
        forces = np.zeros((len(self.atoms), 3))
        forces[0, 0], forces[-1, 0] = -force, force
        self.results = {"energy": energy, "forces": forces}


def test_minimum_depth_and_wall_of_a_morse_pair_are_exact():
    depth, steepness, length = 0.7, 5.0, 2.8
    morse = MorsePotential(epsilon=depth, rho0=steepness, r0=length, rcut1=6.0, rcut2=7.0)
    result = pair_curve(morse, COPPER)
    assert tuple(result.values) == COPPER.value_names
    found = numbers(result)
    assert found["Cu_Cu.distance"] == pytest.approx(length, abs=1e-6)
    assert found["Cu_Cu.binding"] == pytest.approx(depth, abs=1e-8)
    # depth (x² - 2 x) = depth, x = exp(steepness (1 - r / length)).
    x = 1.0 + 2**0.5
    wall = length * (1.0 - np.log(x) / steepness)
    assert found["Cu_Cu.wall_distance"] == pytest.approx(wall, abs=1e-6)
    force = 2.0 * depth * steepness / length * x * (x - 1.0)
    assert found["Cu_Cu.wall_force"] == pytest.approx(force, rel=1e-6)
    assert found["Cu_Cu.repulsive"] == found["Cu_Cu.minima"] == 1.0
    assert found["Cu_Cu.maxima"] == 0.0
    assert not result.warnings
    curve = result.curves["Cu_Cu"]
    x = np.exp(steepness * (1.0 - curve.x / length))
    near = curve.x < 6.0
    np.testing.assert_allclose(curve.y[near], (depth * x * (x - 2.0))[near], rtol=1e-6)
    assert curve.x[-1] == 8.0
    assert result.structures[0].get_distance(0, 1) == pytest.approx(length, abs=1e-6)


def test_energies_count_from_isolated_atoms_as_in_ases_tutorial(emt):
    # https://ase-lib.org tutorial on atomisation energies: N 5.10 eV, N2 at 1.1 Å 0.44 eV.
    result = pair_curve(emt, PairCurveConfig(elements=["N"], longest=4.0))
    curve = result.curves["N_N"]
    assert np.interp(1.1, curve.x, curve.y) == pytest.approx(-9.76, abs=0.01)
    assert numbers(result)["N_N.binding"] == pytest.approx(-curve.y.min(), abs=1e-6)


def test_all_pairs_of_the_elements_are_computed_in_one_order(emt):
    result = pair_curve(emt, PairCurveConfig(elements=["O", "Cu"]))
    assert list(result.curves) == ["Cu_Cu", "Cu_O", "O_O"]
    one = pair_curve(emt, PairCurveConfig(pairs=[["O", "Cu"]]))
    assert list(one.curves) == ["Cu_O"]
    assert numbers(one)["Cu_O.distance"] == numbers(result)["Cu_O.distance"]


def test_the_lennard_jones_minimum_is_where_it_has_to_be():
    result = pair_curve(
        LennardJones(sigma=3.4, epsilon=0.0104, rc=9.9),
        PairCurveConfig(elements=["Ar"], longest=9.0, shortest=1.0),
    )
    found = numbers(result)
    assert found["Ar_Ar.distance"] == pytest.approx(2 ** (1 / 6) * 3.4, abs=1e-6)
    assert found["Ar_Ar.binding"] == pytest.approx(0.0104, rel=0.01)


def test_minima_and_maxima_are_counted():
    found = numbers(pair_curve(Rippled(), COPPER))
    assert found["Cu_Cu.binding"] == pytest.approx(0.2, abs=1e-6)
    # From 1.32 Å on: at 1.5 to 6.5, and at 2 to 7.
    assert found["Cu_Cu.minima"] == 6.0
    assert found["Cu_Cu.maxima"] == 6.0
    faint = PairCurveConfig(elements=["Cu"], prominence=0.5)
    assert numbers(pair_curve(Rippled(), faint))["Cu_Cu.minima"] == 0.0


def test_atoms_that_attract_at_the_shortest_distance_are_told(zr):
    fine = numbers(pair_curve(zr, PairCurveConfig(elements=["Zr"])))
    assert fine["Zr_Zr.repulsive"] == 1.0
    # Its minimum is far inside the shortest distance.
    falling = MorsePotential(epsilon=1.0, rho0=5.0, r0=0.1, rcut1=40.0, rcut2=50.0)
    result = pair_curve(falling, COPPER)
    found = numbers(result)
    assert found["Cu_Cu.repulsive"] == 0.0
    assert found["Cu_Cu.shortest_force"] < 0.0
    assert "Cu_Cu.binding" not in found
    assert result.warnings == ("Cu_Cu: the pair does not bind",)


def test_a_pair_that_cannot_be_computed_stops_no_other(emt):
    result = pair_curve(emt, PairCurveConfig(elements=["Cu", "Zr"]))
    assert list(result.curves) == ["Cu_Cu"]
    assert [line.split(":")[0] for line in result.warnings] == ["Cu_Zr", "Zr_Zr"]
    with pytest.raises(PropertyError, match="Zr_Zr: "):
        pair_curve(emt, PairCurveConfig(elements=["Zr"]))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "give elements = "),
        ({"elements": ["Cu"], "pairs": [["Cu", "O"]]}, "give elements = "),
        ({"elements": ["Zq"]}, "'Zq' is no chemical symbol"),
        ({"elements": ["Cu"], "longest": 12.0}, "make box larger"),
        ({"elements": ["Cu"], "longest": 1.4}, "fewer than five distances"),
    ],
)
def test_scans_that_make_no_sense_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        PairCurveConfig(**options)
