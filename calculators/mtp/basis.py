"""The contraction list of a moment tensor potential, chosen to be cheap to evaluate.

The number of basis functions of a level is given (see ``multigraphs``), but how they are computed
is not. Each of them can be cut into two parts in several ways (see ``contraction``) and the parts
can be shared, so the cheapest list is a covering problem. It is solved here by best responses:
one basis function after the other takes the option that is cheapest given what the others use.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from pescape.calculators.mtp.contraction import (
    MAX_DEGREE,
    Option,
    TensorTable,
    monomials,
    options,
    radial_funcs_count,
    scalar_graphs,
    unpack,
)

# What the compiled kernel spends, forward and backward, in fused multiply-adds: on a term of a
# moment that others need, on storing such a moment, on a pair of moments whose product only
# contributes to the energy (all basis functions share these), and, so that lists stay short, on
# every use of such a pair.
_TERM_COST = 5.0
_MOMENT_COST = 2.0
_PAIR_COST = 2.0
_PAIR_USE_COST = 0.1
_SWEEPS = 12

_NOTHING = np.zeros(0, dtype=np.int64)


@dataclass(frozen=True, eq=False)
class MomentGraph:
    """How the basis functions of a level follow from the basic moments.

    Attributes
    ----------
    level
        The level of the potential.
    radial_funcs_count
        Number of radial functions.
    basic
        (mu, a, b, c) of the basic moments (nb, 4), which are moments 0 .. nb-1.
    products
        (left, right, multiplicity, out) of the contraction list (nt, 4).
    scalar_moments
        Moment of every basis function (ns,), lower levels first.
    moments_count
        Number of moments.
    """

    level: int
    radial_funcs_count: int
    basic: np.ndarray
    products: np.ndarray
    scalar_moments: np.ndarray
    moments_count: int


@lru_cache(maxsize=16)
def moment_graph(level: int) -> MomentGraph:
    """Build the contraction list for an even level from 2 to 28.

    Parameters
    ----------
    level
        Even, 2 to 28.
    """
    graphs = scalar_graphs(level)
    table = TensorTable()
    basic = _basic_moments(table, level)
    choices = [options(table, graph) for graph in graphs if len(graph.mus) > 1]
    problem = _covering_problem(table, len(basic), choices)
    chosen = iter([choices[s][k] for s, k in enumerate(_cheapest_cover(problem))])
    scalars = [
        Option(_NOTHING, _NOTHING, int(table.basic(graph.mus[0], 0)[0]))
        if len(graph.mus) == 1
        else next(chosen)
        for graph in graphs
    ]
    return _assemble(level, basic, table, problem.needs, scalars)


def _basic_moments(table: TensorTable, level: int) -> np.ndarray:
    """Enter the basic moments of a level into the table; return their (mu, a, b, c)."""
    rows = []
    for mu in range(radial_funcs_count(level)):
        # A vertex with edges needs a partner at their other end, of level 2 at least.
        highest = min(max((level - 4 - 4 * mu) // 2, 0), MAX_DEGREE)
        for degree in range(highest + 1):
            table.basic(mu, degree)
            rows.append(np.insert(monomials(degree), 0, mu, axis=1))
    return np.concatenate(rows)


@dataclass(frozen=True, eq=False)
class _Needs:
    """Components that have to be computed for a component, itself included.

    ``offsets[c] : offsets[c + 1]`` are the terms of component c.
    """

    basic_count: int
    offsets: np.ndarray
    out: np.ndarray
    pairs: np.ndarray
    weights: np.ndarray
    deep: np.ndarray

    def closure(self, components: np.ndarray) -> np.ndarray:
        deep = components[self.deep[components]]
        if len(deep):
            rows = np.concatenate([self.terms_of(c) for c in deep])
            components = np.unique(np.concatenate([components, *unpack(self.pairs[rows])]))
        return components[components >= self.basic_count]

    def terms_of(self, component: int) -> np.ndarray:
        return np.arange(self.offsets[component], self.offsets[component + 1])


def _needs(table: TensorTable, basic_count: int) -> _Needs:
    out, pairs, weights = table.terms()
    offsets = np.searchsorted(out, np.arange(table.size + 1))
    deep = np.zeros(table.size, dtype=bool)
    left, right = unpack(pairs)
    deep[out[np.maximum(left, right) >= basic_count]] = True
    return _Needs(basic_count, offsets, out, pairs, weights, deep)


@dataclass(frozen=True, eq=False)
class _CoveringProblem:
    """For every scalar and option, what it needs: components, and pairs by a dense number."""

    needs: _Needs
    component_costs: np.ndarray
    pairs_count: int
    choices: list[list[tuple[np.ndarray, np.ndarray]]]


def _covering_problem(
    table: TensorTable, basic_count: int, choices: list[list[Option]]
) -> _CoveringProblem:
    needs = _needs(table, basic_count)
    terms = np.diff(needs.offsets)
    costs = np.where(terms > 0, _TERM_COST * terms + _MOMENT_COST, 0.0)
    all_pairs = [option.pairs for scalar in choices for option in scalar]
    distinct, numbers = np.unique(np.concatenate([_NOTHING, *all_pairs]), return_inverse=True)
    ends = np.cumsum([0] + [len(pairs) for pairs in all_pairs])
    slices = iter([numbers[a:b] for a, b in itertools.pairwise(ends)])
    dense = [
        [(needs.closure(option.operands()), next(slices)) for option in scalar]
        for scalar in choices
    ]
    return _CoveringProblem(needs, costs, len(distinct), dense)


def _cheapest_cover(problem: _CoveringProblem) -> list[int]:
    """Choose one option for every scalar by best responses."""
    component_users = np.zeros(len(problem.component_costs), dtype=np.int64)
    pair_users = np.zeros(problem.pairs_count, dtype=np.int64)

    def use(option: tuple[np.ndarray, np.ndarray], change: int) -> None:
        component_users[option[0]] += change
        pair_users[option[1]] += change

    def cost(option: tuple[np.ndarray, np.ndarray], prices: np.ndarray) -> float:
        components, pairs = option
        unused = component_users[components] == 0
        new_pairs = len(pairs) - np.count_nonzero(pair_users[pairs])
        return (
            float(prices[components] @ unused)
            + _PAIR_COST * new_pairs
            + _PAIR_USE_COST * len(pairs)
        )

    prices = problem.component_costs / np.maximum(_possible_users(problem), 1)
    chosen: list[int] = []
    for scalar in problem.choices:
        chosen.append(int(np.argmin([cost(option, prices) for option in scalar])))
        use(scalar[chosen[-1]], 1)
    for _ in range(_SWEEPS):
        before = list(chosen)
        for s, scalar in enumerate(problem.choices):
            use(scalar[chosen[s]], -1)
            costs = [cost(option, problem.component_costs) for option in scalar]
            best = int(np.argmin(costs))
            if costs[best] < costs[chosen[s]] - 1e-9:
                chosen[s] = best
            use(scalar[chosen[s]], 1)
        if chosen == before:
            break
    return chosen


def _possible_users(problem: _CoveringProblem) -> np.ndarray:
    """Count, for every component, the scalars with an option that needs it."""
    users = np.zeros(len(problem.component_costs), dtype=np.int64)
    for scalar in problem.choices:
        users[np.unique(np.concatenate([components for components, _ in scalar]))] += 1
    return users


def _assemble(
    level: int, basic: np.ndarray, table: TensorTable, needs: _Needs, scalars: list[Option]
) -> MomentGraph:
    """List the products that are needed, in an order that can be evaluated."""
    operands = np.unique(np.concatenate([option.operands() for option in scalars]))
    used = needs.closure(operands)
    used = used[np.argsort(needs.deep[used], kind="stable")]
    moment = np.full(table.size, -1)
    moment[: len(basic)] = np.arange(len(basic))
    moment[used] = len(basic) + np.arange(len(used))

    rows = np.concatenate([_NOTHING, *(needs.terms_of(c) for c in used)])
    blocks = [(needs.pairs[rows], needs.weights[rows], moment[needs.out[rows]])]
    scalar_moments = []
    count = len(basic) + len(used)
    for option in scalars:
        if option.component >= 0:
            scalar_moments.append(moment[option.component])
            continue
        blocks.append((option.pairs, option.multiplicities, np.full(len(option.pairs), count)))
        scalar_moments.append(count)
        count += 1
    pairs, weights, out = (np.concatenate(column) for column in zip(*blocks, strict=True))
    left, right = (moment[part] for part in unpack(pairs))
    return MomentGraph(
        level=level,
        radial_funcs_count=radial_funcs_count(level),
        basic=basic.astype(np.int32),
        products=np.stack([left, right, weights, out], axis=1).astype(np.int32),
        scalar_moments=np.array(scalar_moments, dtype=np.int32),
        moments_count=count,
    )
