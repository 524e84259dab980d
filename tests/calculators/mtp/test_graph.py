import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from pescape.calculators.mtp import MTPotential
from pescape.calculators.mtp.basis import moment_graph
from pescape.calculators.mtp.contraction import LEVELS, scalar_graphs, vertex_pairs

# Shapeev's counts: radial functions, basic moments, basis functions.
COUNTS = {
    8: (2, 11, 9),
    12: (3, 46, 29),
    16: (4, 130, 92),
    20: (5, 295, 288),
    24: (6, 581, 864),
    26: (6, 706, 1464),
}


@pytest.mark.parametrize(
    "level", [pytest.param(n, marks=pytest.mark.slow) if n > 20 else n for n in COUNTS]
)
def test_counts_are_those_of_the_papers(level):
    graph = moment_graph(level)
    counts = graph.radial_funcs_count, len(graph.basic), len(graph.scalar_moments)
    assert counts == COUNTS[level]


@pytest.mark.parametrize(
    ("level", "parameters"),
    [
        (8, 26),
        (12, 54),
        (16, 125),
        (20, 329),
        (22, 549),
        pytest.param(26, 1513, marks=pytest.mark.slow),
    ],
)
def test_parameter_counts_are_those_of_the_papers(level, parameters):
    potential = MTPotential.untrained(level, ["Zr"], cutoff=5.0, min_dist=2.0)
    assert potential.parameter_count == parameters


@pytest.mark.parametrize(
    "level", [pytest.param(n, marks=pytest.mark.slow) if n > 20 else n for n in LEVELS]
)
def test_every_level_gives_a_list_that_can_be_evaluated_in_order(level):
    graph = moment_graph(level)
    basic = len(graph.basic)
    finished = np.arange(graph.moments_count) < basic
    left, right, multiplicity, out = graph.products.T
    last = np.zeros(graph.moments_count, dtype=int)
    last[out] = np.arange(len(out))
    first_use = np.full(graph.moments_count, len(out))
    np.minimum.at(first_use, left, np.arange(len(out)))
    np.minimum.at(first_use, right, np.arange(len(out)))
    assert (multiplicity > 0).all()
    assert (out >= basic).all()
    assert (last[~finished] < first_use[~finished]).all()
    written = np.unique(out)
    assert len(written) == graph.moments_count - basic
    assert len(np.unique(graph.scalar_moments)) == len(graph.scalar_moments)


@pytest.mark.parametrize("level", [8, 16, 22])
def test_basis_functions_of_a_level_come_first_in_the_next(level):
    graphs = scalar_graphs(level)
    assert scalar_graphs(level + 2)[: len(graphs)] == graphs


@pytest.mark.parametrize("level", [0, 7, 30, -2])
def test_impossible_levels_are_refused(level):
    with pytest.raises(ValueError, match="even number from 2 to 28"):
        moment_graph(level)


def test_contraction_lists_are_shorter_than_mlips():
    mlip = {8: 14, 12: 117, 16: 969, 20: 6349, 24: 36170, 26: 82520}
    for level, products in mlip.items():
        assert len(moment_graph(level).products) <= products


def neighborhood(seed, neighbors=6):
    """Unit vectors to a few neighbours and the values of six radial functions there."""
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(neighbors, 3))
    return vectors / np.linalg.norm(vectors, axis=1)[:, None], rng.normal(size=(6, neighbors))


def scalars_by_list(graph, vectors, radial):
    """Evaluate the contraction list as its file format defines it."""
    mu, powers = graph.basic[:, 0], graph.basic[:, 1:]
    monomials = np.prod(vectors[:, None, :] ** powers, axis=2)
    moments = np.zeros(graph.moments_count)
    moments[: len(mu)] = np.einsum("kj,jk->k", radial[mu], monomials)
    values = moments.tolist()
    for left, right, multiplicity, out in graph.products.tolist():
        values[out] += multiplicity * values[left] * values[right]
    return np.array(values)[graph.scalar_moments]


def scalar_by_contraction(graph, vectors, radial):
    """Sum over all tuples of neighbours; an edge contracts a pair of tensor indices."""
    gram = vectors @ vectors.T
    letters = "ijkl"[: len(graph.mus)]
    operands, subscripts = [radial[mu] for mu in graph.mus], list(letters)
    for (a, b), edges in zip(vertex_pairs(len(graph.mus)), graph.edges, strict=True):
        operands.append(gram**edges)
        subscripts.append(letters[a] + letters[b])
    return np.einsum(",".join(subscripts) + "->", *operands)


@pytest.mark.parametrize(
    ("level", "every"),
    [
        (8, 1),
        (12, 1),
        (16, 1),
        (20, 7),
        pytest.param(26, 41, marks=pytest.mark.slow),
        pytest.param(28, 97, marks=pytest.mark.slow),
    ],
)
def test_basis_functions_are_the_full_contractions_of_their_graphs(level, every):
    vectors, radial = neighborhood(seed=level)
    values = scalars_by_list(moment_graph(level), vectors, radial)[::every]
    graphs = scalar_graphs(level)[::every]
    expected = [scalar_by_contraction(graph, vectors, radial) for graph in graphs]
    np.testing.assert_allclose(values, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("level", [16, 22])
def test_basis_functions_do_not_change_under_rotations_and_reflections(level):
    vectors, radial = neighborhood(seed=1)
    turn = -Rotation.from_rotvec([0.3, -1.2, 0.7]).as_matrix()
    graph = moment_graph(level)
    values = scalars_by_list(graph, vectors, radial)
    turned = scalars_by_list(graph, vectors @ turn.T, radial)
    np.testing.assert_allclose(turned, values, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(
    ("level", "dependent"),
    # Four vectors in space have a Gram matrix without determinant; written out, that is one
    # relation between basis functions of level 16, and two more at level 18.
    [(8, 0), (12, 0), (14, 0), (16, 1), (18, 2)],
)
def test_basis_functions_are_independent_but_for_gram_determinants(level, dependent):
    graphs = scalar_graphs(level)
    samples = [neighborhood(seed) for seed in range(len(graphs) * 3 // 2 + 5)]
    values = np.array(
        [[scalar_by_contraction(g, vectors, radial) for g in graphs] for vectors, radial in samples]
    )
    values /= np.linalg.norm(values, axis=0)
    singular = np.linalg.svd(values, compute_uv=False)
    assert np.count_nonzero(singular < 1e-10 * singular[0]) == dependent


def test_random_coefficients_follow_the_seed():
    untrained = MTPotential.untrained(8, ["Zr", "O"], cutoff=5.0, min_dist=1.5)
    one, same, other = (untrained.randomized(seed=s) for s in (1, 1, 2))
    assert not untrained.is_trained
    assert one.is_trained
    assert (one.parameters == same.parameters).all()
    assert (one.parameters != other.parameters).any()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"species": ["Zr", "Qq"]}, "unknown element 'Qq'"),
        ({"species": ["Zr", "Zr"]}, "appears twice"),
        ({"species": "Zr"}, "not the string 'Zr'"),
        ({"species": []}, "1 to 10 species, not 0"),
        ({"species": 11}, "1 to 10 species, not 11"),
        ({"min_dist": 5.5}, "min_dist < cutoff"),
        ({"min_dist": float("nan")}, "min_dist < cutoff"),
        ({"radial_basis_size": 0}, "radial_basis_size must be at least 1"),
        ({"level": 9}, "even number"),
    ],
)
def test_impossible_potentials_are_refused(change, message):
    settings = {"level": 8, "species": ["Zr"], "cutoff": 5.0, "min_dist": 2.0} | change
    with pytest.raises((ValueError, TypeError), match=message):
        MTPotential.untrained(**settings)


def test_ten_species_have_their_own_radial_functions():
    elements = ["H", "He", "Li", "Be", "B", "C", "N", "O", "F", "Ne"]
    potential = MTPotential.untrained(8, elements, 5.0, 1.0, 6).randomized(seed=1)
    assert potential.parameter_count == 100 * 2 * 6 + 10 + 9
    assert potential.radial_coeffs.shape == (10, 10, 2, 6)
    again = potential.with_parameters(potential.parameters)
    assert (again.radial_coeffs == potential.radial_coeffs).all()
    assert (again.moment_coeffs == potential.moment_coeffs).all()


def test_potentials_are_immutable():
    potential = MTPotential.untrained(8, ["Zr"], 5.0, 2.0).randomized(seed=1)
    with pytest.raises(ValueError, match="read-only"):
        potential.moment_coeffs[0] = 0.0
    with pytest.raises(AttributeError):
        potential.cutoff = 6.0
    coefficients = np.ones(potential.parameter_count)
    changed = potential.with_parameters(coefficients)
    coefficients[:] = 2.0
    assert (changed.parameters == 1.0).all()
