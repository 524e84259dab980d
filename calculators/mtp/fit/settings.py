"""How a fit goes about it, and what it tells and gives."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from pescape.calculators.fit.loss import Weights

if TYPE_CHECKING:
    from pescape.calculators.fit.errors import Errors
    from pescape.calculators.mtp import MTPotential

Method = Literal["auto", "bfgs", "variable projection"]
METHODS = ("auto", "bfgs", "variable projection")


@dataclass(frozen=True)
class FitSettings:
    """How a fit goes about it.

    Parameters
    ----------
    weights
        Of energies, forces and virials in the loss. MLIP's are 1, 0.01 and 0.001. Ours nearly
        halve errors of the energy for 2 % of the force, and bear stresses that do not belong to
        the energies: those of plane waves lack the Pulay stress, 1 GPa in the copper of Zuo et
        al. (J. Phys. Chem. A 124, 731 (2020)), where MLIP's weights double errors of the energy.
    method
        "bfgs": BFGS in all parameters, from a fresh Gauss-Newton matrix in every cycle, with a
        linear solve after it. "variable projection": the linear coefficients are solved for at
        each step of Levenberg-Marquardt in the radial ones [1]_, in the approximation of
        Kaufman [2]_. "auto": variable projection from random starts, where its first steps gain
        most; then BFGS, twenty of whose steps cost one of those.
    ladder
        Fit lower levels first and raise them: radial functions are found where a step is cheap.
        Only for untrained potentials of this program's own levels.
    iterations
        Most iterations on the last level.
    rung_iterations
        Most iterations on each lower level.
    cycle
        Iterations between linear solves, from each of which a fit can be continued.
    tolerance
        A level is done when a whole cycle lowers the loss by less than this fraction.
    starts
        Random starts of an untrained potential; the best is carried on.
    start_iterations
        Steps of variable projection each start is given before they are compared; of BFGS, 15
        times as many.
    ridge
        Regularization of the linear solve, relative to its largest singular value.
    seed
        Of the random starts.
    threads
        OpenMP threads; the result depends on them in the last digits.

    Notes
    -----
    The size of radial functions (MLIP's ``scaling`` and its search for the best one) makes no
    difference: basis functions are homogeneous in them, and columns of the linear solve are
    scaled to length one.

    References
    ----------
    .. [1] G. H. Golub and V. Pereyra, SIAM J. Numer. Anal. 10, 413 (1973).
    .. [2] L. Kaufman, BIT 15, 49 (1975).
    """

    weights: Weights = field(default_factory=lambda: Weights(10.0, 0.01, 1e-4))
    method: Method = "auto"
    ladder: bool = True
    iterations: int = 2000
    rung_iterations: int = 180
    cycle: int = 60
    tolerance: float = 1e-3
    starts: int = 4
    start_iterations: int = 4
    ridge: float = 1e-6
    seed: int = 0
    threads: int = 1

    def __post_init__(self) -> None:
        for name in (
            "iterations",
            "rung_iterations",
            "cycle",
            "starts",
            "start_iterations",
            "threads",
        ):
            if getattr(self, name) < 1:
                raise ValueError(f"fit: {name} {getattr(self, name)} is not at least 1")
        if not self.tolerance >= 0.0 or not self.ridge >= 0.0:
            raise ValueError("fit: tolerance and ridge must not be negative")
        if self.method not in METHODS:
            raise ValueError(f"fit: method {self.method!r} is none of {', '.join(METHODS)}")


@dataclass(frozen=True)
class Progress:
    """What a fit tells of itself on the way.

    Parameters
    ----------
    stage
        "start 1 of 4", "level 12" of a ladder, and "fit" on the last level.
    iteration
        Made so far in this stage.
    loss
        After it.
    most
        Iterations the stage may take.
    """

    stage: str
    iteration: int
    loss: float
    most: int


@dataclass(frozen=True, eq=False)
class FitResult:
    """A fitted potential and how it came about.

    Parameters
    ----------
    potential
        Without an active set.
    errors
        Of the potential on its training data.
    loss
        At the end.
    history
        The loss after each iteration, those of the random starts not counted.
    iterations
        How many there were, on all levels.
    converged
        Whether the last cycle lowered the loss by less than the tolerance.
    energy_kind
        Which energies it was trained on, ``"free_energy"`` or ``"energy"``.
    """

    potential: MTPotential
    errors: Errors
    loss: float
    history: tuple[float, ...]
    iterations: int
    converged: bool
    energy_kind: str

    def summary(self) -> dict[str, Any]:
        """Give what JSON can hold of it."""
        return {
            "loss": self.loss,
            "iterations": self.iterations,
            "converged": self.converged,
            "energy_kind": self.energy_kind,
            "errors": asdict(self.errors),
        }
