"""The scalar basis functions of a moment tensor potential, as colored multigraphs.

A basis function is a full contraction of at most four moment tensors. Draw one vertex for every
tensor M_mu,nu, colored with its radial index mu, and one edge for every contracted pair of
tensor indices: the basis functions are the multigraphs without loops, counted once per
isomorphism class and not necessarily connected. Since lev(M_mu,nu) = 2 + 4 mu + nu, a vertex costs
2 + 4 mu and an edge, which adds one to nu at both of its ends, costs 2.

Ways to evaluate a multigraph as a sum of products of smaller tensors.

A scalar is cut into two parts. Every part is a tensor with open legs, whose components are
numbered here and shared between all scalars: *basic* tensors M_mu,nu (one vertex), *pair* tensors
(two vertices joined by contracted edges) and *triple* tensors (three vertices whose legs all end
at the same fourth vertex, hence symmetric in all of them). A component of a symmetric tensor of
rank d is a monomial x^a y^b z^c with a + b + c = d, and a contraction over m parallel edges is
the sum over monomials of degree m weighted with m! / (a! b! c!).

Edges inside a pair need not be contracted in the pair: left open, they are summed in the scalar,
which makes the pair a plain product of two moments that many scalars share.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


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
    """Return the unordered pairs of vertices in lexicographic order.

    Parameters
    ----------
    vertices
        Their number.
    """
    return tuple(itertools.combinations(range(vertices), 2))


def radial_funcs_count(level: int) -> int:
    """Return how many radial functions the basis of a level needs.

    Parameters
    ----------
    level
        Even, 2 to 28.
    """
    return min((level - 2) // 4, MAX_RADIAL_INDEX) + 1


@cache
def scalar_graphs(level: int) -> tuple[Multigraph, ...]:
    """List the basis functions up to a level, those of lower levels first.

    Parameters
    ----------
    level
        Even, 2 to 28.
    """
    if level not in LEVELS:
        raise ValueError(
            f"level must be an even number from {LEVELS[0]} to {LEVELS[-1]}, not {level!r}"
        )
    mus = range(radial_funcs_count(level))
    graphs: list[Multigraph] = []
    for vertices in range(1, MAX_VERTICES + 1):
        for colors in itertools.combinations_with_replacement(mus, vertices):
            graphs += _graphs_with_colors(level, colors)
    return tuple(sorted(graphs))


def _graphs_with_colors(level: int, mus: tuple[int, ...]) -> list[Multigraph]:
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
    """Tell which rows are the largest among their images under color-preserving relabeling."""
    pairs = vertex_pairs(len(mus))
    weights = _EDGE_BASE ** np.arange(len(pairs), dtype=np.int64)[::-1]
    code = edges @ weights
    canonical = np.ones(len(edges), dtype=bool)
    for order in itertools.permutations(range(len(mus))):
        if all(mus[new] == mu for new, mu in zip(order, mus, strict=True)):
            columns = [pairs.index(tuple(sorted((order[a], order[b])))) for a, b in pairs]
            canonical &= edges[:, columns] @ weights <= code
    return canonical


_ID_BITS = 21
_ID_MASK = (1 << _ID_BITS) - 1

# Edges left open inside the two halves of a scalar, and the number of terms that may cost.
_MAX_OPEN_EDGES = 3
_MAX_OPEN_TERMS = 400
# Edges between a vertex and the other three, when it is cut off alone.
_MAX_PENDANT_EDGES = 2


def _monomials_count(degree: int) -> int:
    """Return the number of monomials in three variables of a degree."""
    return (degree + 1) * (degree + 2) // 2


@cache
def monomials(degree: int) -> np.ndarray:
    """Return the exponents (a, b, c) of all monomials of a degree, x^degree first.

    Parameters
    ----------
    degree
        Of the monomials.
    """
    return np.array(
        [(a, b, degree - a - b) for a in range(degree, -1, -1) for b in range(degree - a, -1, -1)],
        dtype=np.int64,
    )


@cache
def _multinomials(degree: int) -> np.ndarray:
    return np.array(
        [math.factorial(degree) // math.prod(map(math.factorial, m)) for m in monomials(degree)],
        dtype=np.int64,
    )


def _monomial_index(exponents: np.ndarray) -> np.ndarray:
    rest = exponents[:, 1] + exponents[:, 2]
    return rest * (rest + 1) // 2 + exponents[:, 2]


@lru_cache(maxsize=4096)
def _bundle_sum(
    bundles: tuple[int, ...], ends: tuple[tuple[int, ...], ...], contracted: tuple[int, ...]
) -> tuple[list[np.ndarray], np.ndarray]:
    """Enumerate the monomials of bundles of parallel edges.

    Parameters
    ----------
    bundles
        Number of edges in every bundle.
    ends
        For every tensor that takes part, the bundles that end at one of its vertices.
    contracted
        Bundles that are summed over, hence weighted with multinomial coefficients.

    Returns
    -------
    indices
        For every entry of ``ends``, the monomial index (terms,) of the sum of its bundles.
    weights
        Weight of every term (terms,).
    """
    grids = np.meshgrid(*[np.arange(_monomials_count(m)) for m in bundles], indexing="ij")
    picks = [grid.ravel() for grid in grids]
    weights = np.ones(picks[0].size, dtype=np.int64)
    for k in contracted:
        weights = weights * _multinomials(bundles[k])[picks[k]]
    exponents = [monomials(m)[pick] for m, pick in zip(bundles, picks, strict=True)]
    return [_monomial_index(np.sum([exponents[k] for k in end], axis=0)) for end in ends], weights


def _pack(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    return (np.minimum(left, right) << _ID_BITS) + np.maximum(left, right)


def unpack(pairs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Split packed pairs into their two component numbers.

    Parameters
    ----------
    pairs
        As terms and options hold them.
    """
    return pairs >> _ID_BITS, pairs & _ID_MASK


def _merge(keys: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    keys, inverse = np.unique(keys, return_inverse=True)
    return keys, np.bincount(inverse, weights=weights).astype(np.int64)


@dataclass(frozen=True, eq=False)
class Option:
    """One way to evaluate a scalar.

    Attributes
    ----------
    pairs
        Packed pairs of components whose products are summed, ascending.
    multiplicities
        Factor of every product.
    component
        The component that the scalar equals, when there is nothing to sum; else -1.
    """

    pairs: np.ndarray
    multiplicities: np.ndarray
    component: int = -1

    def operands(self) -> np.ndarray:
        """Return the components that the option reads."""
        if self.component >= 0:
            return np.array([self.component])
        return np.unique(np.concatenate(unpack(self.pairs)))


class TensorTable:
    """Numbers the components of tensors and remembers the terms that make them up."""

    def __init__(self) -> None:
        self.size = 0
        self.basic_components: dict[tuple[int, int], np.ndarray] = {}
        self._tensors: dict[tuple[int, ...], np.ndarray] = {}
        self._terms: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []

    def terms(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return (out, packed pair, multiplicity) of all terms, ascending in ``out``."""
        if not self._terms:
            return (np.zeros(0, dtype=np.int64),) * 3
        out, pairs, weights = (np.concatenate(column) for column in zip(*self._terms, strict=True))
        order = np.lexsort((pairs, out))
        return out[order], pairs[order], weights[order]

    def basic(self, mu: int, degree: int) -> np.ndarray:
        """Return the components (monomials,) of M_mu,degree.

        Parameters
        ----------
        mu, degree
            Of the basic moment.
        """
        if (mu, degree) not in self.basic_components:
            self.basic_components[mu, degree] = self._allocate(_monomials_count(degree))
        return self.basic_components[mu, degree]

    def pair(self, first: tuple[int, int], second: tuple[int, int], edges: int) -> np.ndarray:
        """Return the components (monomials, monomials) of a pair tensor.

        Parameters
        ----------
        first, second
            Radial index and number of open legs of the two vertices.
        edges
            Number of contracted edges between them.
        """
        if first < second:
            return self.pair(second, first, edges).T
        key = (*first, *second, edges)
        if key not in self._tensors:
            self._tensors[key] = self._make_pair(first, second, edges)
        return self._tensors[key]

    def _make_pair(self, first: tuple[int, int], second: tuple[int, int], edges: int) -> np.ndarray:
        (mu_a, legs_a), (mu_b, legs_b) = first, second
        shape = _monomials_count(legs_a), _monomials_count(legs_b)
        (left, right, row, column), weights = _bundle_sum(
            (legs_a, legs_b, edges), ((0, 2), (1, 2), (0,), (1,)), (2,)
        )
        if first == second:
            upper = np.triu_indices(shape[0])
            components = np.zeros(shape, dtype=np.int64)
            components[upper] = self._allocate(len(upper[0]))
            components.T[upper] = components[upper]
            keep = row <= column
        else:
            components = self._allocate(shape[0] * shape[1]).reshape(shape)
            keep = np.ones_like(row, dtype=bool)
        self._add_terms(
            components[row, column][keep],
            self.basic(mu_a, legs_a + edges)[left][keep],
            self.basic(mu_b, legs_b + edges)[right][keep],
            weights[keep],
        )
        return components

    def triple(
        self, vertices: Sequence[tuple[int, int]], edges: Sequence[int], single: int
    ) -> np.ndarray:
        """Return the components (monomials,) of a triple tensor.

        Parameters
        ----------
        vertices
            Radial index and number of open legs of the three vertices.
        edges
            Number of edges opposite to each vertex.
        single
            The vertex that is contracted last, with the pair of the other two.
        """
        first, second = sorted(
            (k for k in range(3) if k != single), key=lambda k: (*vertices[k], edges[k])
        )
        order = (first, second, single)
        key = tuple(v for k in order for v in (*vertices[k], edges[k]))
        if key not in self._tensors:
            (mu_a, legs_a), (mu_b, legs_b), (mu_c, legs_c) = (vertices[k] for k in order)
            to_b, to_a, inner = (edges[k] for k in order)
            pair = self.pair((mu_a, to_a + legs_a), (mu_b, to_b + legs_b), inner)
            (a, b, c, out), weights = _bundle_sum(
                (to_a, to_b, legs_a, legs_b, legs_c),
                ((0, 2), (1, 3), (0, 1, 4), (2, 3, 4)),
                (0, 1, 2, 3, 4),
            )
            components = self._allocate(_monomials_count(legs_a + legs_b + legs_c))
            third = self.basic(mu_c, to_a + to_b + legs_c)
            self._add_terms(components[out], pair[a, b], third[c], weights)
            self._tensors[key] = components
        return self._tensors[key]

    def _allocate(self, count: int) -> np.ndarray:
        self.size += count
        if self.size > _ID_MASK:
            raise OverflowError("too many tensor components")
        return np.arange(self.size - count, self.size)

    def _add_terms(
        self, out: np.ndarray, left: np.ndarray, right: np.ndarray, weights: np.ndarray
    ) -> None:
        base = out.min()
        order = np.lexsort((_pack(left, right), out - base))
        out, pairs, weights = out[order], _pack(left, right)[order], weights[order]
        first = np.concatenate([[True], (np.diff(out) != 0) | (np.diff(pairs) != 0)])
        starts = np.flatnonzero(first)
        self._terms.append((out[starts], pairs[starts], np.add.reduceat(weights, starts)))


def options(table: TensorTable, graph: Multigraph) -> list[Option]:
    """List the ways considered to evaluate a basis function with two or more vertices.

    Parameters
    ----------
    table
        Takes the tensors that are needed.
    graph
        Of the basis function.
    """
    edges = graph.adjacency()
    if len(graph.mus) == 2:
        return list(_options_of_two(table, graph.mus, edges[0, 1]))
    if len(graph.mus) == 3:
        return list(_options_of_three(table, graph.mus, edges))
    return [*_halves(table, graph.mus, edges), *_pendants(table, graph.mus, edges)]


def _summed(left: np.ndarray, right: np.ndarray, weights: np.ndarray) -> Option:
    return Option(*_merge(_pack(left, right), weights))


def _component(component: int) -> Option:
    none = np.zeros(0, dtype=np.int64)
    return Option(none, none, int(component))


def _options_of_two(table: TensorTable, mus: tuple[int, ...], edges: int) -> Iterator[Option]:
    (left, right), weights = _bundle_sum((edges,), ((0,), (0,)), (0,))
    yield _summed(table.basic(mus[0], edges)[left], table.basic(mus[1], edges)[right], weights)
    yield _component(table.pair((mus[0], 0), (mus[1], 0), edges)[0, 0])


def _options_of_three(
    table: TensorTable, mus: tuple[int, ...], edges: dict[tuple[int, int], int]
) -> Iterator[Option]:
    opposite = (edges[1, 2], edges[0, 2], edges[0, 1])
    for k in range(3):
        i, j = (v for v in range(3) if v != k)
        to_i, to_j = edges[k, i], edges[k, j]
        third = table.basic(mus[k], to_i + to_j)
        for left_open in range(min(edges[i, j], _MAX_OPEN_EDGES) + 1):
            pair = table.pair(
                (mus[i], to_i + left_open), (mus[j], to_j + left_open), edges[i, j] - left_open
            )
            (a, b, c), weights = _bundle_sum(
                (to_i, to_j, left_open), ((0, 2), (1, 2), (0, 1)), (0, 1, 2)
            )
            yield _summed(pair[a, b], third[c], weights)
        yield _component(table.triple([(mu, 0) for mu in mus], opposite, k)[0])


def _halves(
    table: TensorTable, mus: tuple[int, ...], edges: dict[tuple[int, int], int]
) -> Iterator[Option]:
    """Cut four vertices into two pairs."""
    for (i, j), (k, m) in (((0, 1), (2, 3)), ((0, 2), (1, 3)), ((0, 3), (1, 2))):
        cut = edges[i, k], edges[i, m], edges[j, k], edges[j, m]
        ik, im, jk, jm = cut
        size = math.prod(map(_monomials_count, cut))
        for x, y in itertools.product(range(edges[i, j] + 1), range(edges[k, m] + 1)):
            terms = size * _monomials_count(x) * _monomials_count(y)
            if x + y > _MAX_OPEN_EDGES or (x + y > 0 and terms > _MAX_OPEN_TERMS):
                continue
            left = table.pair((mus[i], ik + im + x), (mus[j], jk + jm + x), edges[i, j] - x)
            right = table.pair((mus[k], ik + jk + y), (mus[m], im + jm + y), edges[k, m] - y)
            (a, b, c, d), weights = _bundle_sum(
                (*cut, x, y), ((0, 1, 4), (2, 3, 4), (0, 2, 5), (1, 3, 5)), (0, 1, 2, 3, 4, 5)
            )
            yield _summed(left[a, b], right[c, d], weights)


def _pendants(
    table: TensorTable, mus: tuple[int, ...], edges: dict[tuple[int, int], int]
) -> Iterator[Option]:
    """Cut one vertex off the other three."""
    for vertex in range(4):
        rest = [v for v in range(4) if v != vertex]
        corners = [(mus[v], edges[vertex, v]) for v in rest]
        if sum(legs for _, legs in corners) > _MAX_PENDANT_EDGES:
            continue
        opposite = [edges[rest[(k + 1) % 3], rest[(k + 2) % 3]] for k in range(3)]
        last = table.basic(mus[vertex], sum(legs for _, legs in corners))
        for single in range(3):
            triple = table.triple(corners, opposite, single)
            yield _summed(triple, last, np.ones(len(last), dtype=np.int64))
