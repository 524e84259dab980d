import numpy as np
import pytest

from pescape.calculators.mtp import MTPotential
from pescape.calculators.mtp.graph import moment_graph
from pescape.calculators.mtp.multigraphs import LEVELS, scalar_graphs

# Shapeev's counts: radial functions, basic moments, basis functions.
COUNTS = {
    8: (2, 11, 9),
    12: (3, 46, 29),
    16: (4, 130, 92),
    20: (5, 295, 288),
    24: (6, 581, 864),
    26: (6, 706, 1464),
}


@pytest.mark.parametrize("level", COUNTS)
def test_counts_are_those_of_the_papers(level):
    graph = moment_graph(level)
    counts = graph.radial_funcs_count, len(graph.basic), len(graph.scalar_moments)
    assert counts == COUNTS[level]


@pytest.mark.parametrize(
    ("level", "parameters"), [(8, 26), (12, 54), (16, 125), (20, 329), (22, 549), (26, 1513)]
)
def test_parameter_counts_are_those_of_the_papers(level, parameters):
    potential = MTPotential.untrained(level, ["Zr"], cutoff=5.0, min_dist=2.0)
    assert potential.parameter_count == parameters


@pytest.mark.parametrize("level", LEVELS)
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
