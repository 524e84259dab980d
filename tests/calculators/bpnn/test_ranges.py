import numpy as np
import pytest

from pescape.calculators import BPNN
from pescape.calculators.bpnn import BPNNPotential, Scaling
from pescape.calculators.bpnn.descriptors import SymmetryFunctions


@pytest.fixture
def narrow(functions, potential, crystal):
    """A potential whose ranges are those of the crystal."""
    compute = SymmetryFunctions(["Zr", "O"], {"Zr": functions, "O": functions[:4]})
    values = compute(crystal)
    scaling = {}
    for name, width in (("Zr", len(functions)), ("O", 4)):
        mine = values[crystal.symbols == name, :width]
        scaling[name] = Scaling(
            "range", -1.0, 1.0, mine.min(axis=0) - 1e-9, mine.max(axis=0) + 1e-9
        )
    return potential.with_scaling(scaling)


def test_the_training_data_are_inside(narrow, crystal):
    assert BPNN(narrow).out_of_range(crystal) == []


def test_what_lies_outside_is_named_the_farthest_first(narrow, crystal):
    crystal.positions[1] += [0.4, 0.1, -0.2]
    found = BPNN(narrow).out_of_range(crystal)
    assert found
    excess = [one.excess for one in found]
    assert excess == sorted(excess, reverse=True)
    for one in found:
        assert one.value < one.minimum or one.value > one.maximum
        assert one.element == crystal.symbols[one.atom]
        assert one.function == narrow.element(one.element).functions[one.number]
    first = found[0]
    assert str(first).startswith(
        f"atom {first.atom} ({first.element}): symmetry function {first.number} ("
    )
    assert f"outside {first.minimum:.6g} ... {first.maximum:.6g}" in str(first)


def test_a_tolerance_lets_small_excesses_pass(narrow, crystal):
    crystal.positions[1] += [0.4, 0.1, -0.2]
    calculator = BPNN(narrow)
    excess = [one.excess for one in calculator.out_of_range(crystal)]
    middle = float(np.median(excess))
    kept = calculator.out_of_range(crystal, tolerance=middle)
    assert [one.excess for one in kept] == [e for e in excess if e > middle]


def test_potentials_without_ranges_say_so(functions, crystal):
    bare = BPNNPotential.untrained(["Zr", "O"], functions).randomized(seed=1)
    without = bare.with_scaling({name: Scaling("none") for name in ("Zr", "O")})
    with pytest.raises(ValueError, match="does not say which ranges"):
        BPNN(without).out_of_range(crystal)
