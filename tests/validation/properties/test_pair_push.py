import numpy as np
import pytest
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.emt import EMT
from ase.neighborlist import neighbor_list

from pescape.validation import AnyProperty, Predicate, PropertyError
from pescape.validation.compounds import Prototype
from pescape.validation.crystals import Crystal
from pescape.validation.properties.soundness.pair_push import PairPushConfig, pair_push

COPPER = Crystal(element="Cu", lattice="fcc")
SMALL = {"crystal": COPPER, "repeat": (2, 2, 2)}


class Hollow(Calculator):
    """EMT and, inside of `edge`, a well of the pair: its hole, or an attraction without an end."""

    implemented_properties = ("energy", "forces", "stress")

    def __init__(self, edge, depth, *, endless=False):
        super().__init__()
        self.emt, self.edge, self.depth, self.endless = EMT(), edge, depth, endless

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        bare = atoms.copy()
        bare.calc = self.emt
        first, distances, ways = neighbor_list("idD", atoms, self.edge)
        if self.endless:
            energy = -self.depth * (self.edge / distances - 1.0) ** 2
            slope = 2.0 * self.depth * (self.edge / distances - 1.0) * self.edge / distances**2
        else:  # smooth, deepest half-way
            phase = np.pi * (self.edge - distances) / 0.4
            inside = distances > self.edge - 0.4
            energy = -self.depth * np.where(inside, np.sin(phase) ** 2, 0.0)
            slope = self.depth * np.where(inside, np.sin(2.0 * phase), 0.0) * np.pi / 0.4
        forces = np.zeros((len(atoms), 3))
        np.add.at(forces, first, (slope / distances)[:, None] * ways)
        self.results = {
            "energy": bare.get_potential_energy() + energy.sum() / 2.0,
            "forces": bare.get_forces() + forces,
            "stress": bare.get_stress(),
        }


def numbers(result):
    return {name: one.value for name, one in result.values.items()}


def test_neighbors_in_copper_repel_each_other_all_the_way(emt):
    result = pair_push(emt, PairPushConfig(**SMALL))
    found = numbers(result)
    assert list(found) == list(PairPushConfig(**SMALL).value_names)
    nearest = found["Cu_Cu.distance"]
    assert nearest == pytest.approx(3.59 / 2**0.5, abs=0.01)
    assert found["Cu_Cu.minimum"] == pytest.approx(nearest)
    assert found["Cu_Cu.repulsive_to"] == pytest.approx(0.5 * nearest)
    assert found["Cu_Cu.drop"] == 0.0
    assert found["Cu_Cu.rise"] > 1.0
    assert (found["Cu_Cu.monotonic"], found["Cu_Cu.repulsive"], found["Cu_Cu.holes"]) == (1, 1, 0)
    assert result.warnings == ()
    assert (result.values["Cu_Cu.repulsive_to"].unit, len(result.structures[0])) == ("Å", 32)


def test_the_force_is_the_slope_of_the_energy(emt):
    result = pair_push(emt, PairPushConfig(**SMALL, spacing=0.005))
    energy, force = result.curves["Cu_Cu"], result.curves["Cu_Cu.force"]
    slope = np.gradient(energy.y, energy.x)
    np.testing.assert_allclose(force.y[2:-2], -slope[2:-2], atol=0.01)
    assert energy.y[-1] == 0.0


def test_a_hole_on_the_way_in_is_found():
    result = pair_push(Hollow(2.1, 8.0), PairPushConfig(**SMALL))
    found = numbers(result)
    assert found["Cu_Cu.holes"] == 1.0
    assert (found["Cu_Cu.monotonic"], found["Cu_Cu.repulsive"]) == (0.0, 0.0)
    # Smooth at its edge, the hole wins over the repulsion soon inside of it.
    assert 2.0 < found["Cu_Cu.repulsive_to"] < 2.1
    assert found["Cu_Cu.drop"] > 4.0
    assert found["Cu_Cu.shortest_force"] > 0.0
    assert any("1 holes on the way in" in text for text in result.warnings)
    rule = Predicate.parse("it.Cu_Cu.holes < 0.5 and it.Cu_Cu.repulsive_to < 1.5")
    assert rule.holds({f"it.{name}": one for name, one in found.items()}) is False


def test_a_potential_that_attracts_at_short_distances_is_found_out():
    result = pair_push(Hollow(1.9, 1000.0, endless=True), PairPushConfig(**SMALL))
    found = numbers(result)
    assert found["Cu_Cu.repulsive"] == 0.0
    assert found["Cu_Cu.shortest_force"] < 0.0
    assert 1.3 < found["Cu_Cu.repulsive_to"] < 1.9
    energy = result.curves["Cu_Cu"]
    top = energy.x[energy.y.argmax()]
    assert found["Cu_Cu.repulsive_to"] == pytest.approx(top, abs=0.02)
    assert found["Cu_Cu.drop"] == pytest.approx(energy.y.max() - energy.y[0])


def test_elements_that_a_crystal_lacks_take_the_places_of_two_neighbors(emt):
    config = PairPushConfig(**SMALL, pair_elements=("Cu", "Al"))
    result = pair_push(emt, config)
    assert tuple(result.values) == config.value_names
    formulas = [atoms.get_chemical_formula() for atoms in result.structures]
    assert formulas == ["Al2Cu30", "AlCu31", "Cu32"]
    found = numbers(result)
    assert len({found[f"{pair}.distance"] for pair in ("Al_Al", "Al_Cu", "Cu_Cu")}) == 1
    assert all(found[f"{pair}.repulsive"] for pair in ("Al_Al", "Al_Cu", "Cu_Cu"))


def test_pairs_of_a_compound_are_its_nearest_ones(emt):
    crystal = Prototype(formula="CuAu", prototype="rocksalt", a=5.2)
    result = pair_push(emt, PairPushConfig(crystal=crystal, repeat=(2, 2, 2), shortest=0.7))
    found = numbers(result)
    a = 2.0 * found["Au_Cu.distance"]
    assert found["Au_Au.distance"] == pytest.approx(a / 2**0.5)
    assert found["Cu_Cu.distance"] == pytest.approx(a / 2**0.5)
    assert [len(atoms) for atoms in result.structures] == [64, 64, 64]


def test_all_elements_that_the_potential_names_are_pushed(emt):
    emt.potential = type("Named", (), {"species": ("Cu", "Ni")})
    assert list(pair_push(emt, PairPushConfig(**SMALL)).curves)[::2] == ["Cu_Cu", "Cu_Ni", "Ni_Ni"]


def test_pairs_that_the_potential_does_not_know_stop_no_other(emt):
    result = pair_push(emt, PairPushConfig(**SMALL, pair_elements=("Cu", "Zr")))
    assert list(result.curves) == ["Cu_Cu", "Cu_Cu.force"]
    assert [text.split(":")[0] for text in result.warnings] == ["Cu_Zr", "Zr_Zr"]
    with pytest.raises(PropertyError, match="Zr_Zr"):
        pair_push(emt, PairPushConfig(**SMALL, pair_elements=("Zr",)))


def test_a_file_that_registers_itself_is_all_that_a_property_needs():
    from pydantic import TypeAdapter

    table = {"kind": "pair_push", "crystal": {"element": "Cu", "lattice": "fcc"}}
    assert isinstance(TypeAdapter(AnyProperty).validate_python(table), PairPushConfig)
    with pytest.raises(ValueError, match="'Zq' is no chemical symbol"):
        PairPushConfig(crystal=COPPER, pair_elements=("Zq",))
