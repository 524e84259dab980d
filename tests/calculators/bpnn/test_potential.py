import copy
import pickle
from collections import Counter

import numpy as np
import pytest
from ase.build import bulk

from pescape.calculators.bpnn import (
    BPNNPotential,
    Cutoff,
    ElementModel,
    Layer,
    Scaling,
    SymmetryFunction,
    waters_rondinelli_functions,
)
from pescape.calculators.bpnn.data import Units
from pescape.calculators.bpnn.formats.n2p2_writing import shortest_before
from pescape.calculators.doptimality.active_set import ActiveSet


def test_the_papers_set_has_136_functions_for_two_elements():
    functions = waters_rondinelli_functions(["Zr", "O"])
    assert Counter(f.kind for f in functions) == {"G2": 16, "G4": 96, "G5": 24}
    assert len(set(functions)) == 136
    assert {f.cutoff for f in functions} == {Cutoff("cosine", 7.0)}
    etas = sorted({round(f.eta * 49, 9) for f in functions if f.kind == "G2"})
    assert etas == [0.781, 1.479, 2.8, 5.3, 10.0324, 18.991, 35.951, 68.056]
    assert {f.zeta for f in functions if f.kind == "G4"} == {1.0, 2.154, 4.642, 10.0}
    assert {f.neighbors for f in functions if f.kind == "G5"} == {
        *(("Zr", "Zr"), ("Zr", "O"), ("O", "O"))
    }


def test_the_papers_potential():
    potential = BPNNPotential.untrained(["Zr", "O"])
    assert not potential.is_trained
    assert potential.cutoff == 7.0
    assert [element.hidden for element in potential.elements] == [(8,), (8,)]
    assert potential.parameter_count == 2 * (137 * 8 + 9)
    assert potential.active_size("output") == 18
    assert potential.active_size("all") == potential.parameter_count
    with pytest.raises(ValueError, match="is untrained: fit it"):
        potential.kernel_arguments()
    with pytest.raises(ValueError, match="is untrained: fit it"):
        _ = potential.parameters


def test_random_networks_are_not_saturated(reference):
    functions = [f for f in waters_rondinelli_functions(["Zr"]) if f.kind != "G4"]
    potential = BPNNPotential.untrained(["Zr"], functions).randomized(seed=7)
    atoms = bulk("Zr") * (2, 1, 1)
    atoms.rattle(0.1, seed=2)
    values = reference.descriptors(potential, atoms, only=[0])[0]
    scale, offset = potential.elements[0].scaling.coefficients(len(functions))
    assert np.abs(scale * values + offset).max() < 5
    result = reference.evaluate(potential, atoms)
    assert np.abs(result.forces).max() > 1e-3


def test_random_weights_come_from_the_seed(functions):
    untrained = BPNNPotential.untrained(["Zr", "O"], functions)
    a, b, c = (untrained.randomized(seed=seed).parameters for seed in (1, 1, 2))
    assert (a == b).all()
    assert (a != c).any()


def test_parameters_are_the_weights_and_back(potential):
    theta = potential.parameters
    assert theta.shape == (potential.parameter_count,)
    first = potential.element("Zr").layers[0]
    assert (theta[:30] == first.weights.ravel()).all()
    assert (theta[30:35] == first.bias).all()
    again = potential.with_parameters(theta)
    assert (again.parameters == theta).all()
    doubled = potential.with_parameters(2 * theta)
    last = potential.element("O").layers[-1]
    assert (doubled.element("O").layers[-1].bias == 2 * last.bias).all()
    assert doubled.element("O").slope == potential.element("O").slope
    with pytest.raises(ValueError, match="parameters wanted, not shape"):
        potential.with_parameters(theta[1:])


def test_an_active_set_belongs_to_the_weights(potential):
    size = potential.active_size("output")
    guarded = potential.with_active_set(ActiveSet(np.eye(size), np.eye(size)), "output")
    assert guarded.active_set.size == 4 + 4
    assert guarded.with_parameters(potential.parameters).active_set is None
    assert guarded.with_output(slope={"O": 2.0}).active_set is None
    with pytest.raises(ValueError, match="has 8 rows, but the potential has 104 parameters"):
        potential.with_active_set(guarded.active_set, "all")


def test_pickles_and_copies_are_the_same_potential(potential):
    for again in (pickle.loads(pickle.dumps(potential)), copy.deepcopy(potential)):
        assert (again.parameters == potential.parameters).all()
        assert again.elements[0].functions == potential.elements[0].functions
        assert not again.elements[0].layers[0].weights.flags.writeable
        assert not again.elements[0].scaling.minimum.flags.writeable


def test_arrays_are_copies_and_cannot_be_changed():
    weights = np.ones((2, 1))
    layer = Layer.of(weights, np.zeros(1), "linear")
    weights[0] = 5
    assert layer.weights[0, 0] == 1
    with pytest.raises(ValueError, match="read-only"):
        layer.weights[0, 0] = 2


def test_scaling_is_what_it_says():
    g = np.array([0.5, 3.0])
    statistics = {"minimum": [0, 1], "maximum": [2, 5], "mean": [1, 2], "sigma": [0.5, 4]}
    expected = {
        "none": g,
        "range": [-1 + 0.5, -1 + 1.0],
        "range-centered": [-1 - 0.5, -1 + 0.5],
        "centered": [-0.5, 1.0],
        "sigma": [-1 - 2.0, -1 + 0.5],
    }
    for kind, values in expected.items():
        scale, offset = Scaling(kind, -1.0, 1.0, **statistics).coefficients(2)
        np.testing.assert_allclose(scale * g + offset, values, rtol=1e-15)


def test_amps_rule_leaves_flat_functions_as_they_are():
    scaling = Scaling("range", -1, 1, [0, 0, 0], [1e-8, 1.1e-8, 1], tolerance=1e-8)
    assert scaling.flat.tolist() == [True, False, False]
    scale, offset = scaling.coefficients(3)
    assert (scale[0], offset[0]) == (1, 0)
    assert (scale[2], offset[2]) == (2, -1)
    with pytest.raises(ValueError, match=r"function 2 has maximum - minimum = 0"):
        Scaling("range", -1, 1, [0, 1], [1, 1])


def test_the_kernel_is_given_numbers_in_the_order_of_the_species(potential):
    arguments = potential.kernel_arguments()
    assert arguments["atomic_numbers"] == [40, 8]
    zr, o = arguments["elements"]
    assert zr["functions"].shape == (6, 10)
    assert zr["functions"][1].tolist() == [2, 0, -1, 1.7, 2.1, 1, 1, 3.6, 1, 0]
    assert zr["functions"][2].tolist() == [3, 0, 1, 0.02, 0, -1, 2.154, 4.3, 1, 0]
    assert zr["functions"][5, 0] == 9
    assert [code for _, _, code in zr["layers"]] == [1, 1, 0]
    assert [weights.shape for weights, _, _ in zr["layers"]] == [(6, 5), (5, 3), (3, 1)]
    assert (zr["slope"], zr["intercept"]) == (1.3, -8.1)
    assert o["intercept"] == -4.9 - 1.1
    weighted = SymmetryFunction("G4W", (), 0.1, Cutoff("amp-polynomial", 5.0, 4.0))
    single = BPNNPotential.untrained(["O"], [weighted]).randomized(1).kernel_arguments()
    assert single["elements"][0]["functions"][0].tolist() == [13, -1, -1, 0.1, 0, 1, 1, 5, 9, 4]
    window = Cutoff("skewed2", 5.0, -5.0)
    compact = SymmetryFunction("C5", ("O", "O"), 0.0, window, angles=(90.0, 270.0))
    single = BPNNPotential.untrained(["O"], [compact]).randomized(1).kernel_arguments()
    assert single["elements"][0]["functions"][0].tolist() == [22, 0, 0, 0, 0, 90, 270, 5, 15, -5]


def test_types_of_atoms(potential):
    assert potential.types_of([8, 40, 8]).tolist() == [1, 0, 1]
    with pytest.raises(ValueError, match="atom 1 is H, but the potential BPNN is for Zr O"):
        potential.types_of([8, 1])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Cutoff("cos", 5.0), "unknown cut-off function 'cos'"),
        (lambda: Cutoff("cosine", 0.0), "radius must be positive"),
        (lambda: Cutoff("cosine", 5.0, 1.0), r"inner fraction .* must be in \[0, 1\)"),
        (lambda: SymmetryFunction("G3", (), 1.0, Cutoff("hard", 5.0)), "unknown symmetry"),
        (lambda: SymmetryFunction("G2", (), 1.0, Cutoff("hard", 5.0)), "1 neighbor elements"),
        (lambda: SymmetryFunction("G2", ("Xx",), 1.0, Cutoff("hard", 5.0)), "'Xx'"),
        (lambda: SymmetryFunction("G2", ("O",), np.nan, Cutoff("hard", 5.0)), "eta of G2"),
        (
            lambda: SymmetryFunction("G5", ("O", "O"), 1.0, Cutoff("hard", 5.0), zeta=0.5),
            "zeta of G5 must be at least 1",
        ),
        (lambda: Cutoff("window2", 5.0, 5.0), "must be below the outer one, 5.0, not 5.0"),
        (
            lambda: SymmetryFunction("C2", ("O",), 0.0, Cutoff("poly1", 5.0)),
            "windows belong to compact functions, and to them alone",
        ),
        (
            lambda: SymmetryFunction("C4W", (), 0.0, Cutoff("window2", 5.0), angles=(-10, 90)),
            "the angles of C4W must rise, and stay within 0 and 180",
        ),
        (lambda: Layer(3, 1, "selu"), "unknown activation 'selu'"),
        (lambda: Layer(2, 1, "tanh", np.ones((3, 1)), np.ones(1)), r"shape \(3, 1\)"),
        (lambda: Layer(1, 1, "tanh", [[np.inf]], [0]), "not finite"),
        (lambda: Scaling("minmax"), "unknown scaling"),
        (lambda: Scaling("sigma", mean=[0.0]), "needs the sigma"),
        (lambda: BPNNPotential.untrained(["Zr", "Zr"]), "appears twice"),
        (lambda: BPNNPotential.untrained(["Qq"]), "unknown element 'Qq'"),
        (lambda: BPNNPotential.untrained("Zr"), "not the string 'Zr'"),
        (lambda: BPNNPotential.untrained(["Zr"], {}), "no entry for Zr"),
        (lambda: BPNNPotential.untrained(["Zr"], waters_rondinelli_functions(["O"])), "is about O"),
        (lambda: ElementModel((), ()), "no symmetry functions"),
    ],
)
def test_what_cannot_be_is_refused(make, message):
    with pytest.raises((ValueError, TypeError), match=message):
        make()


def test_numbers_are_written_as_short_as_they_were():
    units = Units(length=0.5291772105638411, energy=27.211386024367243)
    rng = np.random.default_rng(4)
    for _ in range(200):
        for digits in (3, 9, 15):
            given = float(f"{rng.lognormal():.{digits - 1}e}")
            for convert in (units.eta, units.distance, units.ev):
                value = convert(given)
                assert shortest_before(value, convert, given * (1 + 1e-16)) == given
        full = rng.lognormal()
        value = units.eta(full)
        assert units.eta(shortest_before(value, units.eta, value * units.length**2)) == value
