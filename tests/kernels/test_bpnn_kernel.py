"""Compact symmetry functions of the network kernel against their formulas, in NumPy."""

from itertools import combinations

import numpy as np
import pytest

from pescape._kernels import BPNNKernel

RADIAL, NARROW, WIDE = 20, 21, 22
WEIGHTED = 3  # added to a kind
NUMBERS = [40, 8]


def polynomial(order, x):
    """One at 0, zero at 1, with `order` vanishing derivatives at both ends."""
    tail = {1: [1, 2], 2: [1, 3, 6], 3: [1, 4, 10, 20], 4: [1, 5, 15, 35, 70]}[order]
    x = min(x, 1.0)
    return (1 - x) ** (order + 1) * sum(c * x**k for k, c in enumerate(tail))


def window(order, skewed, low, high, at):
    x = min(abs(at - (low + high) / 2) / ((high - low) / 2), 1.0)
    return polynomial(order, (2 - x) * x if skewed else x)


def compact(row, vectors, types):
    """One symmetry function of an atom with neighbours at `vectors`."""
    kind, first, second, _, _, left, right, high, code, low = row
    kind, order, skewed = int(kind), int(code - 10) % 4 + 1, code >= 14
    weighted = kind >= RADIAL + WEIGHTED
    kind -= WEIGHTED if weighted else 0
    r = np.linalg.norm(vectors, axis=1)
    radial = [window(order, skewed, low, high, one) for one in r]
    if kind == RADIAL:
        weights = [NUMBERS[t] if weighted else t == first for t in types]
        return float(np.dot(weights, radial))
    total = 0.0
    for j, k in combinations(range(len(r)), 2):
        if weighted:
            weight = NUMBERS[types[j]] * NUMBERS[types[k]]
        else:
            weight = sorted([types[j], types[k]]) == sorted([first, second])
        angle = np.degrees(np.arccos(np.clip(vectors[j] @ vectors[k] / (r[j] * r[k]), -1, 1)))
        value = weight * radial[j] * radial[k] * window(order, False, left, right, angle)
        if kind == NARROW:
            value *= window(order, skewed, low, high, np.linalg.norm(vectors[j] - vectors[k]))
        total += value
    return total


def element(rows, rng):
    size = len(rows)
    return {
        "functions": np.array(rows, dtype=float),
        "scale": rng.uniform(0.5, 1.5, size),
        "offset": rng.uniform(-1, 1, size),
        "layers": [
            (rng.normal(size=(size, 3)), rng.normal(size=3), 1),
            (rng.normal(size=(3, 1)), rng.normal(size=1), 0),
        ],
        "slope": 1.3,
        "intercept": -2.0,
    }


def rows_of_all_kinds():
    angles = [(0, 90), (30, 150), (-60, 60), (70, 290)]
    rows = []
    for number, code in enumerate(range(10, 18)):
        left, right = angles[number % 4]
        low = (-5.0, 1.0, 0.0, 0.4)[number % 4]
        for kind in (RADIAL, NARROW, WIDE):
            rows.append([kind, number % 2, number // 2 % 2, 0, 0, left, right, 5.0, code, low])
            rows.append([kind + WEIGHTED, -1, -1, 0, 0, left, right, 4.5, code, low])
    return rows


@pytest.fixture(scope="module")
def cluster():
    rng = np.random.default_rng(5)
    positions = rng.uniform(-3.2, 3.2, (14, 3))
    types = (np.arange(14) % 2).astype(np.int32)
    return positions, types


def lists(positions):
    """Everybody is everybody's neighbour."""
    n = len(positions)
    indices = np.array([j for i in range(n) for j in range(n) if j != i], dtype=np.int32)
    offsets = np.arange(n + 1, dtype=np.int64) * (n - 1)
    return offsets, indices, np.zeros((len(indices), 3))


@pytest.mark.parametrize("row", rows_of_all_kinds(), ids=lambda row: f"{row[0]}-{row[8]}")
def test_compact_functions_are_what_the_formula_says(cluster, row):
    positions, types = cluster
    rng = np.random.default_rng(1)
    kernel = BPNNKernel([element([row], rng), element([row], rng)], NUMBERS)
    found = kernel.symmetry_functions(positions, types, *lists(positions))[:, 0]
    others = [np.delete(np.arange(len(types)), i) for i in range(len(types))]
    expected = [compact(row, positions[o] - positions[i], types[o]) for i, o in enumerate(others)]
    assert np.ptp(expected) > 0
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)


def test_forces_and_jacobians_of_compact_functions_are_derivatives(cluster):
    positions, types = cluster
    rng = np.random.default_rng(2)
    rows = rows_of_all_kinds()
    kernel = BPNNKernel([element(rows, rng), element(rows[::2], rng)], NUMBERS)
    listed = lists(positions)
    _, forces, _ = kernel.evaluate(positions, types, *listed)
    values, by_pair = kernel.symmetry_function_derivatives(positions, types, *listed)
    step, atom = 1e-6, 3
    for axis in range(3):
        moved = [positions.copy(), positions.copy()]
        moved[0][atom, axis] += step
        moved[1][atom, axis] -= step
        up, down = (kernel.evaluate(x, types, *listed)[0].sum() for x in moved)
        assert forces[atom, axis] == pytest.approx(-(up - down) / (2 * step), abs=2e-6)
        up, down = (kernel.symmetry_functions(x, types, *listed) for x in moved)
        expected = (up - down) / (2 * step)
        found = np.zeros_like(values)
        centres = np.repeat(np.arange(len(types)), len(types) - 1)
        to_atom = listed[1] == atom
        found[centres[to_atom]] += by_pair[to_atom, :, axis]
        found[atom] -= by_pair[centres == atom, :, axis].sum(axis=0)
        np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())


def test_angles_of_exactly_0_and_180_degrees_are_finite():
    positions = np.array([[0.0, 0, 0], [2, 0, 0], [-2, 0, 0], [4, 0, 0]])
    types = np.zeros(4, dtype=np.int32)
    rows = [
        [WIDE, 0, 0, 0, 0, left, right, 6.0, 11, -6.0] for left, right in [(-90, 90), (90, 270)]
    ]
    rng = np.random.default_rng(3)
    kernel = BPNNKernel([element(rows, rng), element(rows, rng)], NUMBERS)
    _, forces, _ = kernel.evaluate(positions, types, *lists(positions))
    assert np.isfinite(forces).all()
    np.testing.assert_allclose(forces[:, 1:], 0.0, atol=1e-12)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scale": np.ones(3)}, "scale and offset"),
        ({"layers": []}, "no layers"),
        ({"layers": [(np.ones((2, 2)), np.ones(2), 1)]}, "inputs"),
        ({"layers": [(np.ones((1, 2)), np.ones(2), 1)]}, "one output"),
        ({"layers": [(np.ones((1, 1)), np.ones(1), 17)]}, "activation"),
        ({"functions": np.array([[20, 2, -1, 0, 0, 0, 0, 5.0, 11, 0.0]])}, "first neighbour"),
        ({"functions": np.array([[22, 0, 5, 0, 0, 0, 90, 5.0, 11, 0.0]])}, "second neighbour"),
        ({"functions": np.array([[22, 0, 0, 0, 0, 0, 90, 5.0, 1, 0.0]])}, "windows"),
        ({"functions": np.array([[2, 0, -1, 0, 0, 0, 0, -5.0, 1, 0.0]])}, "radius"),
    ],
)
def test_parts_that_do_not_fit_are_named(change, message):
    good = element([[RADIAL, 0, -1, 0, 0, 0, 0, 5.0, 11, 0.0]], np.random.default_rng(1))
    good["layers"] = [(np.ones((1, 1)), np.ones(1), 0)]
    BPNNKernel([good, good], NUMBERS)
    with pytest.raises((ValueError, RuntimeError), match=message):
        BPNNKernel([good | change, good], NUMBERS)
