import json

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones
from ase.calculators.morse import MorsePotential
from ase.calculators.singlepoint import SinglePointCalculator

from pescape.figures.sampling import draw_limits
from pescape.figures.style import figure_file
from pescape.plugins.structures import (
    EnergyForceLimits,
    force_energy_limits,
    split_by_limits,
    violations,
)


class Pair(Calculator):
    """A pair potential given as a function of the distance."""

    implemented_properties = ("energy", "forces")

    def __init__(self, curve):
        super().__init__()
        self.curve, self.calls = curve, 0

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        self.calls += 1
        if len(atoms) == 1:
            self.results = {"energy": 0.0, "forces": np.zeros((1, 3))}
            return
        away = atoms.positions[1] - atoms.positions[0]
        distance = np.linalg.norm(away)
        energy, slope = self.curve(distance)
        force = -slope * away / distance
        self.results = {"energy": energy, "forces": np.array([-force, force])}


def test_lennard_jones_has_its_known_minimum_and_limits():
    sigma, epsilon = 2.3, 0.4
    limits = force_energy_limits(LennardJones(sigma=sigma, epsilon=epsilon, rc=200.0), ["Ar"])
    pair = limits.pair("Ar", "Ar")
    # 4 ε (x² - x) = ε with x = (σ/r)⁶
    x = (1 + 2**0.5) / 2
    assert pair.binding_energy == pytest.approx(epsilon, rel=1e-6)
    assert pair.equilibrium_distance == pytest.approx(2 ** (1 / 6) * sigma, rel=1e-6)
    assert pair.distance_limit == pytest.approx(sigma * x ** (-1 / 6), rel=1e-6)
    assert pair.energy_limit == pytest.approx(epsilon, rel=1e-6)
    assert pair.force_limit == pytest.approx(
        24 * epsilon / pair.distance_limit * (2 * x**2 - x), rel=1e-5
    )
    assert limits.radii == {"Ar": pair.equilibrium_distance / 2}
    assert limits.energy_limit() == pytest.approx(epsilon / 2, rel=1e-6)


@pytest.mark.parametrize("multiple", [1.0, 2.0, 3.0])
def test_morse_walls_are_followed_to_any_multiple(multiple):
    depth, rho, r0 = 2.5, 5.0, 2.2
    calculator = MorsePotential(epsilon=depth, rho0=rho, r0=r0, rcut1=50.0, rcut2=60.0)
    pair = force_energy_limits(calculator, ["Zr"], multiple=multiple).pair("Zr", "Zr")
    # E = D (y² - 2 y) with y = exp(ρ (1 - r/r₀)) is (multiple - 1) D at y = 1 + √multiple.
    y = 1 + multiple**0.5
    assert pair.equilibrium_distance == pytest.approx(r0, rel=1e-6)
    assert pair.distance_limit == pytest.approx(r0 * (1 - np.log(y) / rho), rel=1e-5)
    assert pair.force_limit == pytest.approx(2 * depth * rho / r0 * (y**2 - y), rel=1e-5)


def test_coarse_scans_are_made_exact_by_few_calls():
    calculator = Pair(lambda r: (2 * (r**-12 - r**-6), 2 * (-12 * r**-13 + 6 * r**-7)))
    limits = force_energy_limits(calculator, ["O"], distances=[0.6, 0.7, 0.8, 0.95, 1.3, 2.0])
    assert limits.pair("O", "O").equilibrium_distance == pytest.approx(2 ** (1 / 6), rel=2e-3)
    assert calculator.calls < 16


def test_every_pair_of_elements_is_computed_once():
    limits = force_energy_limits(EMT(), ["Cu", "Pt", "O"])
    names = [pair.name for pair in limits.pairs]
    assert names == ["Cu-Cu", "Cu-Pt", "Cu-O", "Pt-Pt", "Pt-O", "O-O"]
    assert limits.pair("O", "Cu") is limits.pair("Cu", "O")
    assert set(limits.radii) == {"Cu", "Pt", "O"}
    largest = max(pair.force_limit for pair in limits.pairs)
    assert limits.force_limit() == largest
    assert limits.force_limit([("Cu", "Cu")]) == limits.pair("Cu", "Cu").force_limit < largest
    for pair in limits.pairs:
        assert pair.energy_limit == pytest.approx(pair.binding_energy, rel=1e-4)
        assert pair.distance_limit < pair.equilibrium_distance
        assert (np.diff(pair.distances) > 0).all()
    with pytest.raises(ValueError, match="no pair Cu-Zr; there are Cu-Cu, Cu-Pt"):
        limits.pair("Cu", "Zr")


def test_energies_agree_with_the_calculator():
    limits = force_energy_limits(EMT(), ["Cu"])
    alone = Atoms("Cu", calculator=EMT()).get_potential_energy()
    pair = limits.pair("Cu", "Cu")
    for distance, energy, force in list(
        zip(pair.distances, pair.energies, pair.forces, strict=True)
    )[::6]:
        atoms = Atoms("Cu2", [[0, 0, 0], [0, distance, 0]], calculator=EMT())
        assert energy == pytest.approx(atoms.get_potential_energy() - 2 * alone, abs=1e-9)
        assert force == pytest.approx(atoms.get_forces()[1, 1], abs=1e-9)


def test_a_function_may_make_a_calculator_for_each_pair():
    asked = []

    def make(atoms):
        asked.append(str(atoms.symbols))
        return EMT()

    force_energy_limits(make, ["Cu", "Pt"])
    assert set(asked) == {"Cu", "Pt", "Cu2", "CuPt", "Pt2"}


def test_a_pair_that_only_repels_has_no_limits():
    limits = force_energy_limits(Pair(lambda r: (r**-6, -6 * r**-7)), ["He"])
    assert limits.pair("He", "He").binding_energy is None
    assert limits.radii == {}
    with pytest.raises(ValueError, match="no force_limit: none of He-He has one"):
        limits.force_limit()


def test_a_wall_that_turns_over_is_no_minimum_and_gives_no_limit():
    """Fitted potentials often fall again at distances that no data covers."""

    def soft(r):
        y = np.exp(-1.2 * (r - 2.0))
        hole = -200.0 * np.exp(-4.0 * r**2)
        return y * y - 2 * y + hole, -2.4 * (y * y - y) - 8.0 * r * hole

    pair = force_energy_limits(Pair(soft), ["O"], multiple=20.0).pair("O", "O")
    assert pair.equilibrium_distance == pytest.approx(2.0, rel=1e-4)
    assert pair.distance_limit is None


def test_values_that_are_not_finite_are_an_error():
    with pytest.raises(ValueError, match=r"no finite energy or force at \d\.\d+ Å"):
        force_energy_limits(Pair(lambda _: (np.nan, 0.0)), ["Zr"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"elements": ["Xx9"]}, "'Xx9' is no chemical symbol"),
        ({"elements": []}, "no elements"),
        ({"elements": ["Cu"], "multiple": 0.0}, "multiple = 0.0 is not above 0"),
        ({"elements": ["Cu"], "distances": [1.0, 2.0]}, "at least five"),
    ],
)
def test_arguments_that_cannot_be_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        force_energy_limits(EMT(), **arguments)


def test_limits_survive_json():
    limits = force_energy_limits(EMT(), ["Cu", "O"])
    assert EnergyForceLimits.from_dict(json.loads(json.dumps(limits.as_dict()))) == limits


def test_data_sets_are_split_with_the_reasons():
    limits = force_energy_limits(EMT(), ["Cu"])
    good = bulk("Cu", cubic=True)
    # A single pair on its wall among many atoms: the mean energy hides it, the force does not.
    pair = good.repeat((3, 3, 3))
    pair.positions[0] += 0.45 * (pair.positions[1] - pair.positions[0])
    squeezed = good.copy()
    squeezed.set_cell(0.55 * squeezed.cell, scale_atoms=True)
    broken = good.copy()
    for atoms in (good, pair, squeezed):
        atoms.calc = EMT()
    broken.calc = SinglePointCalculator(broken, energy=np.nan, forces=np.full((4, 3), np.nan))
    force = 0.5 * np.linalg.norm(pair.get_forces(), axis=1).max()
    kept, rejected = split_by_limits([good, pair, squeezed, broken], limits, force=force)
    assert kept == [good]
    assert [len(reasons) for _, reasons in rejected] == [1, 1, 2]
    assert rejected[0][1][0].startswith("force ")
    assert rejected[1][1][0].startswith("energy ")
    assert violations(pair, limits, force=1e6) == []


def test_the_filter_names_elements_it_knows_nothing_of():
    limits = force_energy_limits(EMT(), ["Cu"])
    nickel = bulk("Ni")
    nickel.calc = EMT()
    with pytest.raises(ValueError, match="no energy of an isolated atom of Ni"):
        violations(nickel, limits)
    assert violations(nickel, limits, atom_energies={"Ni": 0.0}) == []


def test_the_figure_shows_every_bound_pair(tmp_path):
    with figure_file(tmp_path / "beak.png", (9.6, 3.8)) as figure:
        draw_limits(figure, force_energy_limits(EMT(), ["Cu", "O"]))
    assert (tmp_path / "beak.png").stat().st_size > 10_000
    wells, beak = figure.axes
    assert len([line for line in wells.lines if line.get_label().startswith(("Cu", "O"))]) == 3
    assert beak.get_xlabel() == "Magnitude of the force (eV/Å)"
