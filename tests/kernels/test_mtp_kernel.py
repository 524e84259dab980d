"""The compiled kernel against the textbook formulas, written out in NumPy."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from pescape._kernels import MTPKernel, grades
from pescape.calculators.neighbors import Neighbors, concatenate, neighbors

CUTOFF = 4.0


@dataclass(frozen=True)
class Potential:
    """The raw numbers of a potential, with a slow and obvious energy."""

    radial_coeffs: np.ndarray
    basic: np.ndarray
    products: np.ndarray
    scalar_moments: np.ndarray
    moments_count: int
    species_coeffs: np.ndarray
    moment_coeffs: np.ndarray
    min_dist: float = 1.8
    max_dist: float = CUTOFF
    scaling: float = 0.7

    def kernel(self, *, single_precision: bool = False) -> MTPKernel:
        return MTPKernel(
            species_count=len(self.species_coeffs),
            min_dist=self.min_dist,
            max_dist=self.max_dist,
            scaling=self.scaling,
            radial_coeffs=self.radial_coeffs,
            basic=self.basic,
            products=self.products,
            scalar_moments=self.scalar_moments,
            moments_count=self.moments_count,
            species_coeffs=self.species_coeffs,
            moment_coeffs=self.moment_coeffs,
            single_precision=single_precision,
        )

    @property
    def parameters(self) -> np.ndarray:
        return np.concatenate([self.radial_coeffs.ravel(), self.species_coeffs, self.moment_coeffs])

    def with_parameters(self, theta: np.ndarray) -> Potential:
        r, s = self.radial_coeffs.size, len(self.species_coeffs)
        return replace(
            self,
            radial_coeffs=theta[:r].reshape(self.radial_coeffs.shape).copy(),
            species_coeffs=theta[r : r + s].copy(),
            moment_coeffs=theta[r + s :].copy(),
        )

    def site_energies(self, positions, species, offsets, indices, shifts) -> np.ndarray:
        energies = np.zeros(len(positions))
        for i in range(len(positions)):
            pairs = slice(offsets[i], offsets[i + 1])
            d = positions[indices[pairs]] + shifts[pairs] - positions[i]
            r = np.linalg.norm(d, axis=1)
            near = r < self.max_dist
            energies[i] = self._site_energy(
                species[i], species[indices[pairs]][near], d[near] / r[near, None], r[near]
            )
        return energies

    def _site_energy(self, zi, zj, unit, r) -> float:
        low, high = self.min_dist, self.max_dist
        xi = (2 * r - low - high) / (high - low)
        size = self.radial_coeffs.shape[3]
        phi = np.cos(np.arange(size)[:, None] * np.arccos(xi.astype(complex))).real
        phi = phi * self.scaling * (r - high) ** 2
        f = np.einsum("jmn,nj->mj", self.radial_coeffs[zi, zj], phi)
        moments = np.zeros(self.moments_count)
        for k, (mu, *power) in enumerate(self.basic):
            moments[k] = np.sum(f[mu] * np.prod(unit ** np.array(power), axis=1))
        for left, right, multiplicity, out in self.products:
            moments[out] += multiplicity * moments[left] * moments[right]
        return self.species_coeffs[zi] + self.moment_coeffs @ moments[self.scalar_moments]


def awkward_potential(species: int = 2, seed: int = 3) -> Potential:
    """Return a list with every case the plan treats apart.

    Channels with gaps, more channels than one run holds, a monomial that is only a parent, repeated
    products, basis functions that are basic moments, factors of others, named twice, or empty, and
    a moment nobody needs.
    """
    basic = [(0, 0, 0, 0), (2, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0), (0, 0, 0, 1), (1, 2, 1, 0)]
    basic += [(mu, 0, 0, 2) for mu in range(8)] + [(3, 0, 3, 1), (0, 0, 0, 5)]
    b = len(basic)
    products = [
        (0, 1, 1, b),  # used below and a basis function
        (2, 2, 1, b + 1),
        (3, 3, 2, b + 1),
        (2, 2, 3, b + 1),  # the same product again
        (b, b + 1, 1, b + 2),
        (5, b, 2, b + 3),
        (6, 13, 1, b + 3),
        (13, 6, 1, b + 3),
        (14, 15, 1, b + 4),  # nobody needs it
        (b + 2, 4, 1, b + 5),
        (b + 5, b + 5, 1, b + 6),
    ]
    scalars = [0, 6, b, b + 1, b + 3, b + 6, b + 3, b + 7]
    rng = np.random.default_rng(seed)
    return Potential(
        radial_coeffs=rng.normal(size=(species, species, 8, 5)) / 4,
        basic=np.array(basic, dtype=np.int32),
        products=np.array(products, dtype=np.int32),
        scalar_moments=np.array(scalars, dtype=np.int32),
        moments_count=b + 8,
        species_coeffs=rng.normal(size=species),
        moment_coeffs=rng.normal(size=len(scalars)),
    )


def crystal(species: int = 2, seed: int = 5) -> tuple[Atoms, np.ndarray]:
    rng = np.random.default_rng(seed)
    atoms = bulk("Zr", "bcc", a=3.4, cubic=True).repeat((3, 2, 1))
    atoms.set_cell(atoms.cell.array @ (np.eye(3) + rng.normal(size=(3, 3)) / 20), scale_atoms=True)
    atoms.rattle(0.15, seed=seed)
    return atoms, rng.integers(0, species, len(atoms)).astype(np.int32)


def arguments(atoms: Atoms, species: np.ndarray, cutoff: float = CUTOFF):
    return atoms.positions, species, *neighbors(atoms, cutoff).arrays


@pytest.mark.parametrize("species", [1, 2, 5])
@pytest.mark.parametrize("pbc", [True, False, (True, False, True)])
def test_site_energies_follow_the_formulas(species, pbc):
    potential = awkward_potential(species)
    atoms, kinds = crystal(species)
    atoms.pbc = pbc
    args = arguments(atoms, kinds)
    energies, _, _ = potential.kernel().evaluate(*args)
    np.testing.assert_allclose(energies, potential.site_energies(*args), rtol=1e-11, atol=1e-11)


def test_pairs_beyond_the_cutoff_do_not_count():
    potential, (atoms, kinds) = awkward_potential(), crystal()
    near = potential.kernel().evaluate(*arguments(atoms, kinds))
    far = potential.kernel().evaluate(*arguments(atoms, kinds, CUTOFF + 1.5))
    for a, b in zip(near, far, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-11)


def test_more_neighbours_than_the_first_guess_fit():
    potential = awkward_potential()
    rng = np.random.default_rng(0)
    atoms = Atoms("Zr300", positions=rng.uniform(0, 6.0, (300, 3)))
    kinds = rng.integers(0, 2, 300).astype(np.int32)
    args = arguments(atoms, kinds)
    assert np.diff(args[2]).max() > 130
    energies, _, _ = potential.kernel().evaluate(*args)
    expected = potential.site_energies(*args)
    np.testing.assert_allclose(energies, expected, rtol=1e-9, atol=1e-9 * abs(expected).max())


@pytest.mark.parametrize("count", [0, 1, 2])
def test_atoms_with_few_neighbours(count):
    potential = awkward_potential(1)
    atoms = Atoms(f"Zr{count}", positions=np.eye(3)[:count] * 2.0)
    args = arguments(atoms, np.zeros(count, dtype=np.int32))
    energies, forces, virials = potential.kernel().evaluate(*args)
    np.testing.assert_allclose(energies, potential.site_energies(*args), atol=1e-12)
    assert forces.shape == (count, 3)
    assert virials.shape == (count, 6)
    if count == 1:
        assert energies[0] == potential.species_coeffs[0]
        assert not forces.any()


def test_forces_are_the_derivatives_of_the_energy():
    potential, (atoms, kinds) = awkward_potential(), crystal()
    kernel, listed = potential.kernel(), neighbors(atoms, CUTOFF + 0.5).arrays
    _, forces, _ = kernel.evaluate(atoms.positions, kinds, *listed)
    step, numerical = 1e-4, np.zeros_like(forces)
    for i, axis in np.ndindex(forces.shape):
        energy = []
        for k in (-2, -1, 1, 2):
            moved = atoms.positions.copy()
            moved[i, axis] += k * step
            energy.append(kernel.evaluate(moved, kinds, *listed)[0].sum())
        numerical[i, axis] = -(energy[0] - 8 * energy[1] + 8 * energy[2] - energy[3]) / (12 * step)
    np.testing.assert_allclose(forces, numerical, atol=1e-7 * abs(forces).max())


def test_the_virial_is_the_derivative_with_strain():
    potential, (atoms, kinds) = awkward_potential(), crystal()
    kernel, listed = potential.kernel(), neighbors(atoms, CUTOFF + 0.5)
    _, _, virials = kernel.evaluate(atoms.positions, kinds, *listed.arrays)
    step = 1e-5
    for component, (a, b) in enumerate([(0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)]):
        energy = []
        for sign in (1, -1):
            strain = np.eye(3)
            strain[a, b] += sign * step / 2
            strain[b, a] += sign * step / 2
            strained = listed.in_cell(atoms.cell.array @ strain).arrays
            energy.append(kernel.evaluate(atoms.positions @ strain, kinds, *strained)[0].sum())
        expected = -(energy[0] - energy[1]) / (2 * step)
        assert virials.sum(0)[component] == pytest.approx(expected, rel=1e-6, abs=1e-6)


def test_single_precision_stays_close_to_double():
    potential, (atoms, kinds) = awkward_potential(), crystal()
    args = arguments(atoms, kinds)
    exact = potential.kernel().evaluate(*args)
    for a, b in zip(potential.kernel(single_precision=True).evaluate(*args), exact, strict=True):
        np.testing.assert_allclose(a, b, atol=3e-5 * abs(b).max())


def test_threads_do_not_change_the_result():
    potential, (atoms, kinds) = awkward_potential(), crystal()
    args = arguments(atoms, kinds)
    kernel = potential.kernel()
    for a, b in zip(kernel.evaluate(*args, threads=3), kernel.evaluate(*args), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-12 * abs(b).max())
    np.testing.assert_array_equal(
        kernel.site_gradients(*args, threads=3), kernel.site_gradients(*args)
    )


def test_site_gradients_are_derivatives_with_the_parameters():
    potential, (atoms, kinds) = awkward_potential(), crystal()
    args = arguments(atoms, kinds)
    gradients = potential.kernel().site_gradients(*args)
    theta = potential.parameters
    assert gradients.shape == (len(atoms), len(theta))
    step = 1e-5
    for p in range(len(theta)):
        shifted = [theta.copy(), theta.copy()]
        shifted[0][p] += step
        shifted[1][p] -= step
        e = [potential.with_parameters(t).kernel().evaluate(*args)[0] for t in shifted]
        numerical = (e[0] - e[1]) / (2 * step)
        np.testing.assert_allclose(gradients[:, p], numerical, atol=1e-7 * abs(gradients).max())


def test_weighted_gradient_is_that_of_an_energy_force_stress_loss():
    potential, (atoms, kinds) = awkward_potential(), crystal()
    args = arguments(atoms, kinds)
    rng = np.random.default_rng(1)
    weights, pull = rng.normal(size=len(atoms)), rng.normal(size=(len(atoms), 3))
    strain = rng.normal(size=(3, 3))
    strain += strain.T

    def linear_loss(theta):
        energies, forces, virials = potential.with_parameters(theta).kernel().evaluate(*args)
        xx, yy, zz, yz, xz, xy = virials.sum(0)
        virial = np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])
        return weights @ energies - np.sum(forces * pull) - np.sum(virial * strain)

    gradient = potential.kernel().weighted_gradient(
        *args, weights, pull, np.tile(strain, (len(atoms), 1, 1))
    )
    theta, step = potential.parameters, 1e-4
    numerical = np.zeros_like(theta)
    for p in range(len(theta)):
        for k, factor in ((-2, 1), (-1, -8), (1, 8), (2, -1)):
            shifted = theta.copy()
            shifted[p] += k * step
            numerical[p] += factor * linear_loss(shifted) / (12 * step)
    np.testing.assert_allclose(gradient, numerical, atol=1e-8 * abs(numerical).max())


def test_weighted_gradient_is_shared_out_over_threads():
    potential, (atoms, kinds) = awkward_potential(), crystal()
    rng = np.random.default_rng(2)
    n = len(atoms)
    extra = rng.normal(size=n), rng.normal(size=(n, 3)), rng.normal(size=(n, 3, 3))
    kernel, args = potential.kernel(), arguments(atoms, kinds)
    one = kernel.weighted_gradient(*args, *extra)
    np.testing.assert_allclose(
        kernel.weighted_gradient(*args, *extra, threads=2), one, atol=1e-12 * abs(one).max()
    )


def test_linear_basis_yields_energy_forces_and_virial():
    potential, (atoms, kinds) = awkward_potential(), crystal()
    args = arguments(atoms, kinds)
    coefficients = np.concatenate([potential.species_coeffs, potential.moment_coeffs])
    energies, forces, virials = potential.kernel().evaluate(*args)
    basis = potential.kernel().linear_basis(*args)
    for b, expected in zip(basis, (energies.sum(), forces.ravel(), virials.sum(0)), strict=True):
        np.testing.assert_allclose(b @ coefficients, expected, atol=1e-9 * abs(forces).max())


def test_configurations_may_be_concatenated():
    potential = awkward_potential()
    parts = [crystal(seed=1), crystal(seed=2)]
    joined = concatenate([neighbors(atoms, CUTOFF) for atoms, _ in parts])
    positions = np.concatenate([atoms.positions for atoms, _ in parts])
    kinds = np.concatenate([k for _, k in parts])
    together = potential.kernel().evaluate(positions, kinds, *joined.arrays)
    apart = [potential.kernel().evaluate(*arguments(*part)) for part in parts]
    for k, result in enumerate(together):
        expected = np.concatenate([one[k] for one in apart])
        np.testing.assert_allclose(result, expected, atol=1e-11)


def test_atoms_of_negative_species_are_left_out():
    potential, (atoms, kinds) = awkward_potential(), crystal()
    masked = kinds.copy()
    masked[3] = -1
    energies, forces, _ = potential.kernel().evaluate(*arguments(atoms, masked))
    rest = np.arange(len(atoms)) != 3
    without = potential.kernel().evaluate(*arguments(atoms[rest], kinds[rest]))
    np.testing.assert_allclose(energies[rest], without[0], atol=1e-12)
    np.testing.assert_allclose(forces[rest], without[1], atol=1e-11)
    assert energies[3] == 0.0


@pytest.mark.parametrize("n", [1, 5, 16, 67, 125, 300])
def test_grades_are_the_largest_entries_of_the_product(n):
    rng = np.random.default_rng(n)
    rows, inverse = rng.normal(size=(53, n)), rng.normal(size=(n, n))
    expected = abs(rows @ inverse).max(1)
    np.testing.assert_allclose(grades(rows, inverse), expected, rtol=1e-12)
    np.testing.assert_allclose(grades(rows, inverse, threads=2), expected, rtol=1e-12)


@pytest.mark.parametrize("n", [60, 300])
def test_grades_hold_where_single_precision_would_not(n):
    """An ill-conditioned active set: the products nearly cancel."""
    rng = np.random.default_rng(0)
    u, _ = np.linalg.qr(rng.normal(size=(n, n)))
    v, _ = np.linalg.qr(rng.normal(size=(n, n)))
    matrix = u @ np.diag(np.logspace(0, -9, n)) @ v
    inverse = np.linalg.inv(matrix)
    rows = rng.normal(size=(40, n)) @ matrix
    np.testing.assert_allclose(grades(rows, inverse), abs(rows @ inverse).max(1), rtol=1e-6)


@pytest.mark.parametrize("n", [9, 280])
def test_a_grade_of_nan_is_not_hidden(n):
    rows = np.zeros((20, n))
    rows[7, 3] = np.nan
    result = grades(rows, np.eye(n))
    assert np.isnan(result[7])
    assert not np.isnan(np.delete(result, 7)).any()


def bad_lists(case: str):
    atoms, kinds = crystal()
    positions, kinds, offsets, indices, shifts = arguments(atoms, kinds)
    if case == "species":
        kinds = kinds + 7
    elif case == "index":
        indices = indices + np.int32(len(atoms))
    elif case == "offsets":
        offsets = offsets[::-1].copy()
    elif case == "shifts":
        shifts = shifts[:-1]
    elif case == "threads":
        return (positions, kinds, offsets, indices, shifts, 0)
    return positions, kinds, offsets, indices, shifts


@pytest.mark.parametrize("case", ["species", "index", "offsets", "shifts", "threads"])
def test_impossible_lists_are_refused(case):
    with pytest.raises(ValueError, match=case if case != "index" else "neighbour"):
        awkward_potential().kernel().evaluate(*bad_lists(case))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"products": np.array([[0, 99, 1, 16]], dtype=np.int32)}, "does not exist"),
        ({"products": np.array([[0, 1, 1, 3]], dtype=np.int32)}, "basic moment"),
        ({"products": np.array([[0, 17, 1, 16], [0, 0, 1, 17]], dtype=np.int32)}, "before"),
        ({"scalar_moments": np.full(8, 99, dtype=np.int32)}, "does not exist"),
        ({"moment_coeffs": np.zeros(3)}, "moment_coeffs"),
        ({"max_dist": 1.0}, "max_dist"),
    ],
)
def test_impossible_potentials_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        replace(awkward_potential(), **change).kernel()


def test_neighbours_know_their_images():
    atoms, _ = crystal()
    listed = neighbors(atoms, CUTOFF)
    assert isinstance(listed, Neighbors)
    np.testing.assert_allclose(listed.cells @ atoms.cell.array, listed.shifts)
    stretched = listed.in_cell(2 * atoms.cell.array)
    np.testing.assert_allclose(stretched.shifts, 2 * listed.shifts)
