"""Behler-Parrinello networks as their formulas say, in NumPy: slow, for tests.

Everything is made from what the kernel is made of (``BPNNPotential.kernel_arguments()``), and
shares no code with it. A term of a symmetry function depends on the distances a = r_ij, b = r_ik
and c = r_jk alone, so its forces are derivatives by these.
"""

from dataclasses import dataclass

import numpy as np
from ase.neighborlist import neighbor_list

RADIAL, WIDE = (2, 12, 20, 23), (9, 22, 25)
WEIGHTED, COMPACT = (12, 13, 23, 24, 25), (20, 21, 22, 23, 24, 25)


@dataclass
class Result:
    energies: np.ndarray  # eV (n,)
    forces: np.ndarray  # eV/Å (n, 3)
    virial: np.ndarray  # eV (3, 3), minus the volume times the stress
    descriptors: list  # of every atom, (D,)

    @property
    def energy(self):
        return self.energies.sum()


def cutoff(kind, radius, parameter, r):
    """A cut-off function and its derivative by the distance."""
    inside = r < radius
    t = r / radius
    if kind >= 10:
        return window(int(kind - 10) % 4, kind >= 14, parameter, radius, r)
    if kind == 0:
        f, d = np.ones_like(r), np.zeros_like(r)
    elif kind in (2, 3):
        h = np.tanh(1 - t)
        factor = 1 / np.tanh(1) ** 3 if kind == 3 else 1.0
        f, d = factor * h**3, -3 * factor * h**2 * (1 - h**2) / radius
    elif kind == 9:
        g = parameter
        f = 1 + g * t ** (g + 1) - (g + 1) * t**g
        d = g * (g + 1) * (t**g - t ** (g - 1)) / radius
    else:
        inner = parameter * radius
        x = np.clip((r - inner) / (radius - inner), 0, 1)
        f, d = (cosine, exponential, poly1, poly2, poly3, poly4)[(1, 4, 5, 6, 7, 8).index(kind)](x)
        d = np.where(r < inner, 0, d) / (radius - inner)
    return np.where(inside, f, 0), np.where(inside, d, 0)


def window(order, skewed, left, right, r):
    """A polynomial of the distance from the middle of an interval, in half widths."""
    half = (right - left) / 2
    x = (r - (right + left) / 2) / half
    y = np.minimum(np.abs(x), 1)
    argument, inner = (y * (2 - y), 2 - 2 * y) if skewed else (y, 1.0)
    f, d = (poly1, poly2, poly3, poly4)[order](argument)
    inside = np.abs(x) < 1
    return np.where(inside, f, 0), np.where(inside, d * inner * np.sign(x) / half, 0)


def cosine(x):
    return (1 + np.cos(np.pi * x)) / 2, -np.pi / 2 * np.sin(np.pi * x)


def exponential(x):
    y = 1 - np.minimum(x, 1 - 1e-12) ** 2
    f = np.exp(1 - 1 / y)
    return f, -2 * x * f / y**2


def poly1(x):
    return 1 + x**2 * (2 * x - 3), 6 * x * (x - 1)


def poly2(x):
    return 1 - x**3 * (6 * x**2 - 15 * x + 10), -30 * x**2 * (x - 1) ** 2


def poly3(x):
    return 1 + x**4 * (20 * x**3 - 70 * x**2 + 84 * x - 35), 140 * x**3 * (x - 1) ** 3


def poly4(x):
    f = 1 - x**5 * (70 * x**4 - 315 * x**3 + 540 * x**2 - 420 * x + 126)
    return f, -630 * x**4 * (x - 1) ** 4


def angle_window(order, left, right, cos):
    """A window of the angle (degrees) and its derivative by the cosine."""
    f, d = window(order, False, np.radians(left), np.radians(right), np.arccos(cos))
    sine = np.sqrt(1 - cos**2)
    # At 0 and 180 degrees the cosine is stationary in the distances.
    return f, np.where(sine > 1e-10, -d / np.maximum(sine, 1e-10), 0)


def activation(code, x):
    """An activation and its derivative."""
    e = np.exp(-np.abs(x))
    s = np.where(x >= 0, 1 / (1 + e), e / (1 + e))
    return {
        0: lambda: (x, np.ones_like(x)),
        1: lambda: (np.tanh(x), 1 - np.tanh(x) ** 2),
        2: lambda: (s, s * (1 - s)),
        3: lambda: (np.logaddexp(0, x), s),
        4: lambda: (np.maximum(x, 0), (x > 0).astype(float)),
        5: lambda: (np.exp(-(x**2) / 2), -x * np.exp(-(x**2) / 2)),
        6: lambda: (np.cos(x), -np.sin(x)),
        7: lambda: (np.exp(-x), -np.exp(-x)),
        8: lambda: (x**2, 2 * x),
        9: lambda: (1 - s, -s * (1 - s)),
    }[code]()


def network(element, descriptors):
    """Energy of an atom and its derivative by the symmetry functions (D,)."""
    x = element["scale"] * descriptors + element["offset"]
    slopes = []
    for weights, bias, code in element["layers"]:
        x, slope = activation(code, x @ weights + bias)
        slopes.append(slope)
    gradient = np.ones(1)
    for (weights, _, _), slope in zip(element["layers"][::-1], slopes[::-1], strict=True):
        gradient = weights @ (gradient * slope)
    energy = element["slope"] * x[0] + element["intercept"]
    return energy, element["slope"] * gradient * element["scale"]


class Neighborhood:
    """The neighbors of an atom, and all unordered pairs of them."""

    def __init__(self, vectors, types, numbers):
        self.vectors, self.types, self.charges = vectors, types, numbers[types].astype(float)
        self.r = np.linalg.norm(vectors, axis=1)
        self.j, self.k = np.triu_indices(len(vectors), 1)
        self.across = vectors[self.k] - vectors[self.j]
        self.c = np.linalg.norm(self.across, axis=1)

    def pair_term(self, row):
        """Value of a radial function and its gradient by the neighbors' positions (m, 3)."""
        kind, neighbor, _, eta, shift, _, _, radius, cut, parameter = row
        weight = self.charges if kind in WEIGHTED else (self.types == neighbor).astype(float)
        f, df = cutoff(cut, radius, parameter, self.r)
        eta = 0.0 if kind in COMPACT else eta
        e = weight * np.exp(-eta * (self.r - shift) ** 2)
        slope = e * (df - 2 * eta * (self.r - shift) * f)
        return (e * f).sum(), (slope / self.r)[:, None] * self.vectors

    def triple_term(self, row):
        """Value of an angular function and its gradient by the neighbors' positions (m, 3)."""
        kind, first, second, eta, shift, lam, zeta, radius, cut, parameter = row
        sj, sk = self.types[self.j], self.types[self.k]
        if kind in WEIGHTED:
            weight = self.charges[self.j] * self.charges[self.k]
        else:
            weight = ((sj == first) & (sk == second)) | ((sj == second) & (sk == first))
        near = (self.r[self.j] < radius) & (self.r[self.k] < radius)
        if kind not in WIDE:
            near &= self.c < radius
        chosen = np.flatnonzero(near & (weight != 0))
        j, k, c = self.j[chosen], self.k[chosen], self.c[chosen]
        a, b = self.r[j], self.r[k]
        cos = np.clip((a**2 + b**2 - c**2) / (2 * a * b), -1, 1)
        if kind in COMPACT:
            eta, prefactor = 0.0, 1.0
            angle, d_angle = angle_window(int(cut - 10) % 4, lam, zeta, cos)
        else:
            base, prefactor = np.maximum(1 + lam * cos, 0), 2.0 ** (1 - zeta)
            angle, d_angle = base**zeta, zeta * lam * base ** (zeta - 1)
        parts = [(a, *cutoff(cut, radius, parameter, a)), (b, *cutoff(cut, radius, parameter, b))]
        if kind not in WIDE:
            parts.append((c, *cutoff(cut, radius, parameter, c)))
        exponent = sum((r - shift) ** 2 for r, _, _ in parts)
        front = weight[chosen] * prefactor * np.exp(-eta * exponent)
        cut_product = np.prod([f for _, f, _ in parts], axis=0)
        value = (front * angle * cut_product).sum()
        d_cos = front * d_angle * cut_product
        slopes = [d_cos * (1 / b - cos / a), d_cos * (1 / a - cos / b), -d_cos * c / (a * b)]
        for index, (r, f, df) in enumerate(parts):
            others = np.prod([g for i, (_, g, _) in enumerate(parts) if i != index], axis=0)
            slopes[index] = slopes[index] + front * angle * others * (
                df - 2 * eta * (r - shift) * f
            )
        gradient = np.zeros_like(self.vectors)
        along = self.across[chosen] * (slopes[2] / c)[:, None]
        np.add.at(gradient, j, self.vectors[j] * (slopes[0] / a)[:, None] - along)
        np.add.at(gradient, k, self.vectors[k] * (slopes[1] / b)[:, None] + along)
        return value, gradient

    def descriptors(self, functions):
        """Values (D,) and gradients (D, m, 3) by the neighbors' positions."""
        terms = [
            self.pair_term(row) if row[0] in RADIAL else self.triple_term(row) for row in functions
        ]
        return np.array([t[0] for t in terms]), np.array([t[1] for t in terms])


def neighborhoods(arguments, atoms, types):
    """Indices (m,) of every atom's neighbors, and its ``Neighborhood``."""
    radius = max(element["functions"][:, 7].max() for element in arguments["elements"])
    i, j, vectors = neighbor_list("ijD", atoms, radius)
    numbers = np.array(arguments["atomic_numbers"])
    for atom in range(len(atoms)):
        mine = i == atom
        yield j[mine], Neighborhood(vectors[mine], types[j[mine]], numbers)


def descriptors(potential, atoms, only=None):
    """Symmetry functions of atoms: of every one (D,), or of those in `only`."""
    arguments, types = potential.kernel_arguments(), potential.types_of(atoms.numbers)
    around = list(neighborhoods(arguments, atoms, types))
    chosen = range(len(atoms)) if only is None else only
    return [
        around[i][1].descriptors(arguments["elements"][types[i]]["functions"])[0] for i in chosen
    ]


def evaluate(potential, atoms):
    """Energies, forces, virial and symmetry functions of a configuration."""
    arguments, types = potential.kernel_arguments(), potential.types_of(atoms.numbers)
    energies, forces = np.zeros(len(atoms)), np.zeros((len(atoms), 3))
    virial, values = np.zeros((3, 3)), []
    for i, (j, around) in enumerate(neighborhoods(arguments, atoms, types)):
        element = arguments["elements"][types[i]]
        value, gradients = around.descriptors(element["functions"])
        energies[i], slopes = network(element, value)
        pull = np.tensordot(slopes, gradients, 1)  # dE_i by the neighbors' positions (m, 3)
        np.add.at(forces, j, -pull)
        forces[i] += pull.sum(axis=0)
        virial -= around.vectors.T @ pull
        values.append(value)
    return Result(energies, forces, virial, values)
