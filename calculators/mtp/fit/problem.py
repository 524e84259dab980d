"""The loss of a fit, its gradient and its matrices, summed over the data of all ranks.

The loss is a sum of squares, of rows: residuals times factors. With the Jacobian J of the rows by
the parameters, JᵀJ is a good Hessian from the first step on. Columns of the linear coefficients
are exact. Those of the few radial ones come from differences, one evaluation each, which is
cheaper than any derivative; their error of 1e-6 matters only to the path, not to where it ends,
for gradients are exact.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from pescape.calculators.fit.data import full
from pescape.calculators.fit.errors import Differences, differences
from pescape.calculators.fit.loss import factors, loss, loss_value, residuals, row_scales
from pescape.calculators.fit.normalized import normalized
from pescape.calculators.fit.shards import (
    Communicator,
    DataShard,
    OrderedSum,
    SerialComm,
    agreed,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from pescape.calculators.fit.data import TrainingSet
    from pescape.calculators.fit.loss import Weights
    from pescape.calculators.mtp.potential import MTPotential

    Floats = NDArray[np.float64]

# Step of differences, in units of the root mean square of the radial coefficients.
_DIFFERENCE = 1e-6
# A thinned data set keeps so many rows for each parameter, and so many blocks.
_ROWS_PER_PARAMETER = 50
_FEWEST_BLOCKS = 8
# Least relative eigenvalue of a direction of the linear coefficients.
_EIGENVALUE = 1e-12
# Offsets of stresses are expected to be of this size (1.6 GPa), and so many residuals to err alike.
_OFFSET, _ROWS_AT_ONCE = 0.01, 3.0


def loss_and_gradient(
    potential: MTPotential, data: TrainingSet, weights: Weights, threads: int = 1
) -> tuple[float, Floats]:
    """Compute the loss and its gradient with respect to the potential's parameters.

    The derivative of the loss with respect to energies, forces and virials gives a weight
    to each site energy and a change to each interatomic vector; the kernel turns both
    into the parameter gradient in one pass.

    Parameters
    ----------
    potential
        With P parameters.
    data, weights
        What the loss is made of.
    threads
        OpenMP threads.

    Returns
    -------
    tuple
        The loss, and its gradient (P,).
    """
    delta = residuals(potential, data, threads)
    sizes = data.sizes
    energy, force, virial = factors(data, weights)
    gradient = potential.kernel().weighted_gradient(
        *data.geometry,
        np.repeat(2.0 * energy * delta.energies, sizes),
        -2.0 * np.repeat(force, sizes)[:, None] * delta.forces,
        np.repeat(full(-2.0 * virial[:, None] * delta.virials), sizes, axis=0),
        threads,
    )
    return loss_value(delta, data, weights), gradient


def gauss_newton(
    potential: MTPotential, data: TrainingSet, weights: Weights, threads: int = 1
) -> Floats:
    """Compute JᵀJ of all parameters, (P, P): half of the Hessian where the fit is good.

    Parameters
    ----------
    potential, data, weights, threads
        As of `loss_and_gradient`.
    """
    jacobian = np.column_stack(
        (
            radial_columns(potential, data, weights, threads),
            linear_columns(potential, data, weights, threads),
        )
    )
    return np.asarray(jacobian.T @ jacobian)


def linear_system(
    potential: MTPotential, data: TrainingSet, weights: Weights, threads: int = 1
) -> Floats:
    """Compute [J y u]ᵀ [J y u], shape (c + 2, c + 2).

    Parameters
    ----------
    potential, data, weights, threads
        As of `loss_and_gradient`. J are the columns of the c linear coefficients, y the labels, and
        u is what an isotropic stress of 1 eV/Å³ adds to the labels.
    """
    columns = linear_columns(potential, data, weights, threads)
    labels = _scaled(data.energies, data.forces, data.virials, data, weights)
    none = np.zeros(len(data)), np.zeros_like(data.forces)
    unit = _scaled(*none, _isotropic(data), data, weights)
    everything = np.column_stack((columns, labels, unit))
    return np.asarray(everything.T @ everything)


def _isotropic(data: TrainingSet) -> Floats:
    """Virials (C, 6) of an isotropic stress of 1 eV/Å³."""
    return np.outer(-data.volumes * data.has_virial, [1.0, 1.0, 1.0, 0.0, 0.0, 0.0])


def shifted(data: TrainingSet, offset: float) -> TrainingSet:
    """Take a stress offset out of the labels.

    Parameters
    ----------
    data
        The labels.
    offset
        eV/Å³, isotropic, of ASE's sign.
    """
    return (
        data if offset == 0.0 else replace(data, virials=data.virials - offset * _isotropic(data))
    )


def rows(potential: MTPotential, data: TrainingSet, weights: Weights, threads: int = 1) -> Floats:
    """Compute the rows (m,), whose squares add up to the loss.

    Parameters
    ----------
    potential, data, weights, threads
        As of `loss_and_gradient`.
    """
    delta = residuals(potential, data, threads)
    return _scaled(delta.energies, delta.forces, delta.virials, data, weights)


def radial_columns(
    potential: MTPotential, data: TrainingSet, weights: Weights, threads: int = 1
) -> Floats:
    """Compute the columns of J of the r radial coefficients, (m, r).

    Parameters
    ----------
    potential, data, weights, threads
        As of `loss_and_gradient`.
    """
    theta = potential.parameters
    assert potential.radial_coeffs is not None  # a fit starts from a trained potential
    count = potential.radial_coeffs.size
    step = _DIFFERENCE * max(float(np.sqrt(np.mean(theta[:count] ** 2))), 1e-8)
    here = rows(potential, data, weights, threads)
    columns = np.empty((len(here), count))
    for k in range(count):
        moved = theta.copy()
        moved[k] += step
        columns[:, k] = rows(potential.with_parameters(moved), data, weights, threads) - here
    return columns / step


def linear_columns(
    potential: MTPotential, data: TrainingSet, weights: Weights, threads: int = 1
) -> Floats:
    """Compute the columns of J of the c linear coefficients, of species and moments, (m, c).

    Parameters
    ----------
    potential, data, weights, threads
        As of `loss_and_gradient`.
    """
    kernel = potential.kernel()
    energy, force, virial = row_scales(data, weights)
    energies, forces, virials = [], [], []
    for c in range(len(data)):
        e, f, w = kernel.linear_basis(*data.one(c), threads)
        energies.append(energy[c] * e)
        forces.append(force[c] * f)
        virials.append((virial[c] * data.has_virial[c])[:, None] * w)
    return np.concatenate((np.array(energies), *forces, *virials))


def _scaled(
    energies: Floats, forces: Floats, virials: Floats, data: TrainingSet, weights: Weights
) -> Floats:
    energy, force, virial = row_scales(data, weights)
    each = np.repeat(force, data.sizes)[:, None]
    return np.concatenate((energy * energies, (each * forces).ravel(), (virial * virials).ravel()))


def _loss_with_gradient(
    potential: MTPotential, data: TrainingSet, weights: Weights, threads: int
) -> Floats:
    value, gradient = loss_and_gradient(potential, data, weights, threads)
    return np.concatenate(([value], gradient))


@dataclass(frozen=True, eq=False)
class Problem:
    """What a fit minimizes, as a function of the parameters θ (P,).

    All ranks call its methods with the same parameters, and get the same numbers to the last
    bit, which do not depend on how many ranks there are.

    Parameters
    ----------
    potential
        Gives all but the parameters.
    shard
        This rank's data.
    weights
        Of the loss.
    threads
        OpenMP threads of each rank.
    ranks
        By default this process alone.
    stride
        Every so many blocks of the data are used; they stand for all.
    stress_offset
        eV/Å³, isotropic stress that the labels have beyond what is fitted.
    """

    potential: MTPotential
    shard: DataShard
    weights: Weights
    threads: int = 1
    ranks: Communicator = field(default_factory=SerialComm)
    stride: int = 1
    stress_offset: float = 0.0

    def of(self, potential: MTPotential) -> Problem:
        """Return the same problem for another potential, of another level.

        Parameters
        ----------
        potential
            Gives all but the parameters.
        """
        return replace(self, potential=potential)

    def thinned(self) -> Problem:
        """Use every n-th block alone: enough to compare starts and for a first Hessian."""
        rows = self.shard.rows / (_ROWS_PER_PARAMETER * self.potential.parameter_count)
        return replace(self, stride=max(1, int(min(rows, self.shard.count / _FEWEST_BLOCKS))))

    def value(self, theta: Floats) -> float:
        """Compute the loss.

        Parameters
        ----------
        theta
            Parameters (P,).
        """
        return float(self._sum(loss, theta))

    def value_and_gradient(self, theta: Floats) -> tuple[float, Floats]:
        """Compute the loss and its gradient (P,).

        Parameters
        ----------
        theta
            Parameters (P,).
        """
        both = self._sum(_loss_with_gradient, theta)
        return float(both[0]), both[1:]

    def linear_system(self, theta: Floats) -> tuple[Floats, Floats]:
        """Compute matrix and right side of the normal equations of the linear coefficients.

        Parameters
        ----------
        theta
            Parameters (P,).
        """
        everything = self.system_with_offset(theta)
        return everything[:-2, :-2], everything[:-2, -2]

    def system_with_offset(self, theta: Floats) -> Floats:
        """Compute [J y u]ᵀ [J y u] of the linear coefficients, the labels and a unit stress.

        Parameters
        ----------
        theta
            Parameters (P,).
        """
        return self._sum(linear_system, theta)

    def with_best_offset(self, theta: Floats, ridge: float) -> Problem:
        """Return the problem with the stress offset that goes with the best linear coefficients.

        Parameters
        ----------
        theta
            Parameters (P,); only the radial ones matter.
        ridge
            Directions of the linear coefficients below it, relative to the longest, do not count.
        """
        bare = replace(self, stress_offset=0.0)
        everything = bare.system_with_offset(theta)
        scaled, lengths = normalized(everything)
        if not np.isfinite(lengths[-2:]).all() or not np.isfinite(everything).all():
            return bare
        values, vectors = np.linalg.eigh(scaled[:-2, :-2])
        kept = values > max(ridge**2, _EIGENVALUE) * values[-1]
        u, y = (vectors[:, kept].T @ scaled[:-2, column] for column in (-1, -2))
        # What the potential can say as well is no offset: where the data leaves more doubt than
        # _OFFSET it is taken for none.
        left = max(scaled[-1, -1] - u @ (u / values[kept]), 0.0) * lengths[-1] ** 2
        along = (scaled[-1, -2] - u @ (y / values[kept])) * lengths[-1] * lengths[-2]
        error = max(scaled[-2, -2] - y @ (y / values[kept]), 0.0) * lengths[-2] ** 2
        doubt = _ROWS_AT_ONCE * error / self.shard.rows
        offset = self.ranks.bcast(float(along / (left + doubt / _OFFSET**2)) if doubt else 0.0)
        return replace(self, stress_offset=offset)

    def gauss_newton(self, theta: Floats) -> Floats:
        """Compute JᵀJ of the rows' Jacobian J, (P, P).

        Parameters
        ----------
        theta
            Parameters (P,).
        """
        return self._sum(gauss_newton, theta)

    def differences(self, theta: Floats) -> Differences:
        """Compute predictions minus labels of the data of all ranks.

        Parameters
        ----------
        theta
            Parameters (P,).
        """
        potential = self.potential.with_parameters(theta)

        def own() -> list[Differences]:
            return [
                differences(residuals(potential, block, self.threads), block)
                for _, block in self.shard.blocks
            ]

        parts = self.ranks.allgather(agreed(self.ranks, own))
        return Differences.joined([one for some in parts for one in some])

    def _sum(self, work: Callable[..., float | Floats], theta: Floats) -> Floats:
        """Sum what work gives for every block: rank 0 adds up, and tells the others."""
        count = -(-self.shard.count // self.stride)

        def own() -> dict[tuple[int, int], Floats]:
            potential, part = self.potential.with_parameters(theta), OrderedSum(count)
            for index, data in self.shard.blocks:
                if index % self.stride == 0:
                    labels = shifted(data, self.stress_offset)
                    found = work(potential, labels, self.weights, self.threads)
                    part.add(0, index // self.stride, np.asarray(found))
            return part.nodes

        whole = OrderedSum(count)
        for nodes in self.ranks.gather(agreed(self.ranks, own)) or ():
            for (level, index), value in nodes.items():
                whole.add(level, index, value)
        total = self.ranks.bcast(whole.total() if self.ranks.rank == 0 else None)
        return np.asarray(total * self.stride)
