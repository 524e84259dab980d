"""The loss of a fit, its gradient and its matrices, summed over the data of all ranks."""

from __future__ import annotations

import contextlib
import copy
import signal
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from pescape.calculators.fitting.blocks import whole
from pescape.calculators.fitting.loss import Residuals, loss, residuals
from pescape.calculators.fitting.ranks import Alone, OrderedSum, SharedError, now_known
from pescape.calculators.mtp.fit import curvature
from pescape.calculators.mtp.fit.gradient import loss_and_gradient

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from pescape.calculators.fitting.blocks import Share
    from pescape.calculators.fitting.data import TrainingSet
    from pescape.calculators.fitting.loss import Weights
    from pescape.calculators.fitting.ranks import Communicator
    from pescape.calculators.mtp import MTPotential

    Floats = NDArray[np.float64]

_STOP = "stop"
# A thinned data set keeps so many rows for each parameter, and so many blocks.
_ROWS_PER_PARAMETER = 50
_FEWEST_BLOCKS = 8


class Problem:
    """What a fit minimises.

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
