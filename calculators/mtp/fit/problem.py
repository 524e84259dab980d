"""The linear part of a fit: species and moment coefficients, solved exactly.

The gradient of the loss of moment tensor potentials.

The rows of the loss as a sum of squares, and the matrices of Gauss and Newton made of them.

J^T J of the rows' Jacobian J is a good Hessian from the first step on. Columns of the linear
coefficients are exact. Those of the few radial ones come from differences, one evaluation each,
which is cheaper than any derivative; their error of 1e-6 matters only to the path, not to where
it ends, for gradients are exact.

The loss of a fit, its gradient and its matrices, summed over the data of all ranks.
"""

from __future__ import annotations

import contextlib
import copy
import signal
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from pescape.calculators.fit.data import full
from pescape.calculators.fit.loss import Residuals, factors, loss, loss_value, residuals, row_scales
from pescape.calculators.fit.shards import Alone, OrderedSum, SharedError, now_known, whole
from pescape.calculators.mtp.fit import problem as curvature

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from pescape.calculators.fit.data import TrainingSet
    from pescape.calculators.fit.loss import Weights
    from pescape.calculators.fit.shards import Communicator, Share
    from pescape.calculators.mtp import MTPotential

    Floats = NDArray[np.float64]


# Least relative eigenvalue of normal equations that stands out of their round-off.
_FLOOR = 1e-13
_REFINEMENTS = 2


def solve_linear(
    potential: MTPotential,
    data: TrainingSet,
    weights: Weights,
    *,
    ridge: float = 1e-6,
    threads: int = 1,
) -> MTPotential:
    """Give a potential the linear coefficients that minimize the loss.

    Parameters
    ----------
    potential
        Its radial coefficients are kept.
    data, weights
        What the loss is made of.
    ridge
        Tikhonov regularization, relative to the largest singular value after each
        column has been scaled to length one: it decides directions the data does not.
    threads
        OpenMP threads.

    Returns
    -------
    MTPotential
    """
    problem = Problem.alone(potential, data, weights, threads)
    theta, _ = solved(problem, potential.parameters, ridge)
    return potential.with_parameters(theta)


def solved(problem: Problem, theta: Floats, ridge: float) -> tuple[Floats, float]:
    """Replace the linear coefficients by the best ones, and give the loss there.

    Normal equations lose half of the digits; two steps of refinement with the loss's own
    gradient bring them back (Å. Björck, Linear Algebra Appl. 88/89, 31 (1987)).

    Parameters
    ----------
    problem
        The loss.
    theta
        Parameters (P,); the radial ones are kept.
    ridge
        See `solve_linear`.
    """
    matrix, right = problem.linear_system(theta)
    scaled, lengths = normalized(matrix)
    values, vectors = np.linalg.eigh(scaled)
    largest = max(float(values[-1]), np.finfo(float).tiny)
    penalty = ridge**2 * largest

    def correction(slope: Floats) -> Floats:
        damped = np.maximum(values, 0.0) + max(penalty, _FLOOR * largest)
        return np.asarray((vectors @ ((vectors.T @ (slope / lengths)) / damped)) / lengths)

    first = len(theta) - len(right)
    squares = np.where(np.isfinite(lengths), lengths, 0.0) ** 2
    theta = theta.copy()
    theta[first:] = correction(right)
    for _ in range(_REFINEMENTS):
        _, gradient = problem.value_and_gradient(theta)
        # Half of the gradient of the loss and of the ridge's term.
        slope = 0.5 * gradient[first:] + penalty * squares * theta[first:]
        theta[first:] -= correction(slope)
    return theta, problem.value(theta)


def loss_and_gradient(
    potential: MTPotential, data: TrainingSet, weights: Weights, threads: int = 1
) -> tuple[float, Floats]:
    """Value of the loss and its gradient (P,) with respect to the potential's parameters.

    The derivative of the loss with respect to energies, forces and virials gives a weight
    to each site energy and a change to each interatomic vector; the kernel turns both
    into the parameter gradient in one pass.
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


# Of the root mean square of the radial coefficients.
_DIFFERENCE = 1e-6
# Columns so short, relative to the longest, are zero.
_ROUND_OFF = 1e-11


def gauss_newton(
    potential: MTPotential, data: TrainingSet, weights: Weights, threads: int = 1
) -> Floats:
    """J^T J by all parameters, shape (P, P): half of the Hessian where the fit is good."""
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
    """[J y]^T [J y] of the linear coefficients' columns J and the labels y, (c + 1, c + 1)."""
    columns = linear_columns(potential, data, weights, threads)
    rows = np.column_stack((columns, labels(data, weights)))
    return np.asarray(rows.T @ rows)


def damped_inverse(hessian: Floats, damping: float = 1e-4) -> Floats:
    """Invert a positive semidefinite matrix, damped relative to its diagonal.

    Redundant parameters (an MTP has some: a radial function's size can be absorbed by
    the moment coefficients) make the matrix singular. Rows of those without effect are zero.
    """
    scaled, lengths = normalized(hessian)
    values, vectors = np.linalg.eigh(scaled)
    inverse = (vectors / (np.maximum(values, 0.0) + damping)) @ vectors.T
    return np.asarray(inverse / np.outer(lengths, lengths))


def normalized(matrix: Floats) -> tuple[Floats, Floats]:
    """Give a positive semidefinite matrix a diagonal of ones.

    Returns
    -------
    tuple
        The matrix, and the lengths it was divided by. Those of columns that are round-off (a
        perfect crystal has many) are infinite, so that nothing comes of them.
    """
    lengths = np.sqrt(np.maximum(np.diag(matrix), 0.0))
    lengths[lengths <= _ROUND_OFF * lengths.max(initial=0.0)] = np.inf
    scaled = matrix / np.outer(lengths, lengths)
    np.fill_diagonal(scaled, 1.0)
    return scaled, lengths


def radial_columns(
    potential: MTPotential, data: TrainingSet, weights: Weights, threads: int = 1
) -> Floats:
    """Columns of J of the radial coefficients."""
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


def rows(potential: MTPotential, data: TrainingSet, weights: Weights, threads: int = 1) -> Floats:
    """Residuals whose squares add up to the loss."""
    delta = residuals(potential, data, threads)
    return _scaled(delta.energies, delta.forces, delta.virials, data, weights)


def labels(data: TrainingSet, weights: Weights) -> Floats:
    """Labels, scaled as the rows are."""
    return _scaled(data.energies, data.forces, data.virials, data, weights)


def linear_columns(
    potential: MTPotential, data: TrainingSet, weights: Weights, threads: int = 1
) -> Floats:
    """Columns of J of the species and moment coefficients, in which energies are linear."""
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


_STOP = "stop"
# A thinned data set keeps so many rows for each parameter, and so many blocks.
_ROWS_PER_PARAMETER = 50
_FEWEST_BLOCKS = 8


class Problem:
    """What a fit minimizes.

    Rank 0 asks: it calls the methods below within ``with problem.asked():``. All other ranks
    answer: they call `serve`, which returns when rank 0 leaves that block.

    Parameters
    ----------
    potential
        Gives all but the parameters.
    share
        This rank's data.
    weights
        Of the loss.
    threads
        OpenMP threads of each rank.
    ranks
        By default this process alone.
    """

    def __init__(
        self,
        potential: MTPotential,
        share: Share,
        weights: Weights,
        threads: int = 1,
        ranks: Communicator | None = None,
    ) -> None:
        self.potential, self.share, self.weights = potential, share, weights
        self.threads, self.ranks = threads, ranks or Alone()
        self.stride = 1

    @classmethod
    def alone(
        cls, potential: MTPotential, data: TrainingSet, weights: Weights, threads: int = 1
    ) -> Problem:
        """Make the problem of a process alone, all data in one block."""
        return cls(potential, whole(data), weights, threads)

    def value(self, theta: Floats) -> float:
        """Loss at parameters (P,)."""
        return float(self._total("_value", theta)[0])

    def value_and_gradient(self, theta: Floats) -> tuple[float, Floats]:
        """Loss and its gradient (P,)."""
        both = self._total("_value_and_gradient", theta)
        return float(both[0]), both[1:]

    def thinned(self) -> Problem:
        """Take every n-th block alone: enough to compare starts and for a first Hessian."""
        other = copy.copy(self)
        rows = self.share.rows / (_ROWS_PER_PARAMETER * self.potential.parameter_count)
        other.stride = max(1, int(min(rows, self.share.count / _FEWEST_BLOCKS)))
        return other

    def linear_system(self, theta: Floats) -> tuple[Floats, Floats]:
        """Matrix and right side of the normal equations of species and moment coefficients."""
        both = self._total("_linear_system", theta)
        return both[:-1, :-1], both[:-1, -1]

    def gauss_newton(self, theta: Floats) -> Floats:
        """J^T J of the rows' Jacobian J (P, P)."""
        return self._total("_gauss_newton", theta)

    def change(self, potential: MTPotential) -> None:
        """Go on with another potential, of another level."""
        self._ask("_change", potential, 1)

    def collect(self) -> tuple[Residuals, TrainingSet]:
        """Residuals of all data, and the labels without their geometry."""
        parts = [part for part in self._ask("_collect", self.potential.parameters, 1) if part]
        deltas, labels = zip(*parts, strict=True)
        return _joined_residuals(deltas), _joined_labels(labels)

    @contextlib.contextmanager
    def asked(self) -> Iterator[None]:
        """Let the other ranks go at the end, however it comes."""
        message = None
        try:
            yield
        except BaseException as error:
            message = str(error) or type(error).__name__
            now_known(error)
            raise
        finally:
            if self.ranks.size > 1:
                self.ranks.bcast((_STOP, message, 1))

    def serve(self) -> None:
        """Answer until rank 0 has no more questions, which alone listens to Ctrl-C.

        Raises
        ------
        SharedError
            Rank 0 came to a bad end.
        """
        with _uninterrupted():
            while True:
                name, argument, self.stride = self.ranks.bcast(None)
                if name == _STOP:
                    break
                self._answer(name, argument)
        if argument is not None:
            raise SharedError(argument)

    def _total(self, name: str, theta: Floats) -> Floats:
        total = OrderedSum(-(-self.share.count // self.stride))
        for nodes in self._ask(name, theta, self.stride):
            for (level, index), value in nodes.items():
                total.add(level, index, value)
        return total.total() * self.stride

    def _ask(self, name: str, argument: Any, stride: int) -> list[Any]:  # noqa: ANN401 (each its own)
        if self.ranks.size > 1:
            self.ranks.bcast((name, argument, stride))
        return self._answer(name, argument)

    def _answer(self, name: str, argument: Any) -> list[Any]:  # noqa: ANN401
        """Do this rank's part; on rank 0, give the parts of all."""
        result: Any = None
        failure: BaseException | None = None
        try:
            result = getattr(self, name)(argument)
        except BaseException as error:
            if self.ranks.size == 1:
                raise
            failure = error
        message = None if failure is None else f"{type(failure).__name__}: {failure}"
        answers = self.ranks.gather((message, result))
        if answers is None:  # not rank 0, which tells of it
            return []
        if failure is not None:
            raise failure
        for rank, (told, _) in enumerate(answers):
            if told is not None:
                raise SharedError(f"rank {rank}: {told}")
        return [found for _, found in answers]

    def _sums(self, theta: Floats, work: Callable[..., Any]) -> dict[tuple[int, int], Floats]:
        potential = self.potential.with_parameters(theta)
        total = OrderedSum(-(-self.share.count // self.stride))
        for index, data in self.share.blocks:
            if index % self.stride == 0:
                found = work(potential, data, self.weights, self.threads)
                total.add(0, index // self.stride, np.asarray(found))
        return total.nodes

    def _value(self, theta: Floats) -> dict[tuple[int, int], Floats]:
        return self._sums(theta, lambda *block: [loss(*block)])

    def _value_and_gradient(self, theta: Floats) -> dict[tuple[int, int], Floats]:
        return self._sums(theta, lambda *block: np.concatenate(_in_list(*block)))

    def _linear_system(self, theta: Floats) -> dict[tuple[int, int], Floats]:
        return self._sums(theta, curvature.linear_system)

    def _gauss_newton(self, theta: Floats) -> dict[tuple[int, int], Floats]:
        return self._sums(theta, curvature.gauss_newton)

    def _change(self, potential: MTPotential) -> None:
        self.potential = potential

    def _collect(self, theta: Floats) -> tuple[Residuals, TrainingSet] | None:
        data = self.share.data
        if data is None:
            return None
        potential = self.potential.with_parameters(theta)
        parts = [residuals(potential, block, self.threads) for _, block in self.share.blocks]
        return _joined_residuals(parts), _labels(data)


def _in_list(*block: Any) -> list[Floats]:  # noqa: ANN401
    value, gradient = loss_and_gradient(*block)
    return [np.array([value]), gradient]


def _labels(data: TrainingSet) -> TrainingSet:
    """Leave out what is large and of no use to errors."""
    return replace(
        data,
        positions=data.positions[:0],
        offsets=data.offsets[:0],
        indices=data.indices[:0],
        shifts=data.shifts[:0],
    )


def _joined_residuals(parts: Sequence[Residuals]) -> Residuals:
    names = ("energies", "forces", "virials")
    return Residuals(*(_together(parts, name) for name in names))


def _joined_labels(parts: Sequence[TrainingSet]) -> TrainingSet:
    names = ("species", "energies", "forces", "virials", "has_virial", "volumes", "factors")
    labels: dict[str, Any] = {name: _together(parts, name) for name in names}
    sizes = np.concatenate([part.sizes for part in parts])
    first = np.concatenate(([0], np.cumsum(sizes)))
    return replace(parts[0], **labels, first=first, shortest=min(part.shortest for part in parts))


def _together(items: Sequence[Any], name: str) -> Floats:
    return np.concatenate([getattr(item, name) for item in items])


@contextlib.contextmanager
def _uninterrupted() -> Iterator[None]:
    """Leave Ctrl-C to rank 0."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
