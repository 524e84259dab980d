"""The scalar basis functions of a moment tensor potential, as coloured multigraphs.

A basis function is a full contraction of at most four moment tensors. Draw one vertex for every
tensor M_mu,nu, coloured with its radial index mu, and one edge for every contracted pair of
tensor indices: the basis functions are the multigraphs without loops, counted once per
isomorphism class and not necessarily connected. Since lev(M_mu,nu) = 2 + 4 mu + nu, a vertex costs
2 + 4 mu and an edge, which adds one to nu at both of its ends, costs 2.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cache

import numpy as np

MAX_VERTICES = 4
MAX_RADIAL_INDEX = 5
MAX_DEGREE = 10
LEVELS = range(2, 30, 2)

_EDGE_BASE = 16  # more than the multiplicity of any edge


@dataclass(frozen=True, order=True)
class Multigraph:
    """One scalar basis function.

    Attributes
    ----------
    level
        Sum of the levels of the contracted moments.
    mus
        Radial index of every vertex, ascending.
    edges
        Multiplicity of every edge, in the order of ``vertex_pairs``.
    """

    level: int
    mus: tuple[int, ...]
    edges: tuple[int, ...]

    def adjacency(self) -> dict[tuple[int, int], int]:
        """Return the multiplicity of the edge between any two vertices, in both orders."""
        pairs = vertex_pairs(len(self.mus))
        forward = dict(zip(pairs, self.edges, strict=True))
        return forward | {(b, a): m for (a, b), m in forward.items()}


def vertex_pairs(vertices: int) -> tuple[tuple[int, int], ...]:
    """Return the unordered pairs of vertices in lexicographic order."""
    return tuple(itertools.combinations(range(vertices), 2))


def radial_funcs_count(level: int) -> int:
    """Return how many radial functions the basis of a level needs."""
    return min((level - 2) // 4, MAX_RADIAL_INDEX) + 1


@cache
def scalar_graphs(level: int) -> tuple[Multigraph, ...]:
    """List the basis functions up to a level, those of lower levels first."""
    if level not in LEVELS:
        raise ValueError(
            f"level must be an even number from {LEVELS[0]} to {LEVELS[-1]}, not {level!r}"
        )
    mus = range(radial_funcs_count(level))
    graphs: list[Multigraph] = []
    for vertices in range(1, MAX_VERTICES + 1):
        for colours in itertools.combinations_with_replacement(mus, vertices):
            graphs += _graphs_with_colours(level, colours)
    return tuple(sorted(graphs))


def _graphs_with_colours(level: int, mus: tuple[int, ...]) -> list[Multigraph]:
    cost = sum(2 + 4 * mu for mu in mus)
    if cost > level:
        return []
    edges = _bounded_tuples(len(vertex_pairs(len(mus))), (level - cost) // 2)
    edges = edges[_is_canonical(edges, mus) & (_degrees(edges, len(mus)).max(1) <= MAX_DEGREE)]
    return [Multigraph(cost + 2 * sum(row), mus, tuple(row)) for row in edges.tolist()]


def _bounded_tuples(length: int, total: int) -> np.ndarray:
    """Return all tuples of ``length`` natural numbers with a sum of at most ``total``, as rows."""
    rows = np.zeros((1, 0), dtype=np.int64)
    for _ in range(length):
        rows = np.hstack(
            [np.repeat(rows, total + 1, axis=0), np.tile(np.arange(total + 1), len(rows))[:, None]]
        )
        rows = rows[rows.sum(1) <= total]
    return rows


def _degrees(edges: np.ndarray, vertices: int) -> np.ndarray:
    degrees = np.zeros((len(edges), vertices), dtype=np.int64)
    for column, pair in enumerate(vertex_pairs(vertices)):
        degrees[:, pair] += edges[:, column, None]
    return degrees


def _is_canonical(edges: np.ndarray, mus: tuple[int, ...]) -> np.ndarray:
    """Tell which rows are the largest among their images under colour-preserving relabelling."""
    pairs = vertex_pairs(len(mus))
    weights = _EDGE_BASE ** np.arange(len(pairs), dtype=np.int64)[::-1]
    code = edges @ weights
    canonical = np.ones(len(edges), dtype=bool)
    for order in itertools.permutations(range(len(mus))):
        if all(mus[new] == mu for new, mu in zip(order, mus, strict=True)):
            columns = [pairs.index(tuple(sorted((order[a], order[b])))) for a, b in pairs]
            canonical &= edges[:, columns] @ weights <= code
    return canonical
