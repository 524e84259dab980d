"""The state of a fit, and the file that holds it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from pescape.calculators.fit import checkpoint
from pescape.files import sha256

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from pescape.calculators.bpnn.fit.settings import FitSettings
    from pescape.calculators.bpnn.potential import BPNNPotential
    from pescape.calculators.fit.data import TrainingSet

    Floats = NDArray[np.float64]

#: Columns of the history after the stage.
RECORD = (
    "loss",
    "energy_rmse",
    "force_rmse",
    "validation_loss",
    "validation_energy_rmse",
    "validation_force_rmse",
)
_MEMORY = "memory_"


@dataclass(frozen=True, eq=False)
class State:
    """Where a fit stands after an iteration.

    Parameters
    ----------
    stage
        Which one goes on; the number of stages when all are done.
    iteration
        Iterations made in it.
    theta, loss
        Parameters, and the loss there.
    best, best_value, best_iteration
        The best parameters so far of this stage, what makes them best, and when that was.
    memory
        Of the method.
    history
        A row for each iteration: the stage and what `RECORD` names; NaN where there is nothing.
    """

    stage: int
    iteration: int
    theta: Floats
    loss: float
    best: Floats
    best_value: float
    best_iteration: int
    memory: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    history: Floats = field(default_factory=lambda: np.empty((0, 1 + len(RECORD))))


_NUMBERS = {"stage": int, "iteration": int, "loss": float, "best_value": float}
_NUMBERS["best_iteration"] = int
_ARRAYS = ("theta", "best", "history")


def save(path: Path | str | None, state: State, identity: str) -> None:
    """Write a state; the file appears as a whole.

    Parameters
    ----------
    path
        The file; None: nothing is written.
    state
        Of the fit.
    identity
        Tells this fit from others.
    """
    content: dict[str, Any] = {name: getattr(state, name) for name in (*_NUMBERS, *_ARRAYS)}
    content |= {f"{_MEMORY}{name}": value for name, value in state.memory.items()}
    checkpoint.save(path, content, identity)


def restored(path: Path | str | None, identity: str) -> State | None:
    """Read the state of the same fit, if the file is there.

    Parameters
    ----------
    path
        The file; None: there is none.
    identity
        Of the fit.
    """

    def build(saved: dict[str, NDArray[Any]]) -> State:
        numbers: dict[str, Any] = {name: kind(saved[name]) for name, kind in _NUMBERS.items()}
        arrays: dict[str, Any] = {name: saved[name] for name in _ARRAYS}
        start = len(_MEMORY)
        memory = {name[start:]: value for name, value in saved.items() if name.startswith(_MEMORY)}
        return State(**numbers, **arrays, memory=memory)

    return checkpoint.restored(path, identity, build)


def identity(
    start: BPNNPotential, data: TrainingSet, weights: Floats, settings: FitSettings, precision: str
) -> str:
    """Return a fingerprint that tells one fit from another.

    Parameters
    ----------
    start
        The potential it starts from.
    data, weights
        What it is fitted to, and how much each configuration counts.
    settings, precision
        How it is done.
    """
    texts = [repr((sorted(asdict(settings).items()), precision))]
    arrays = [data.first, *data.geometry, data.energies, data.forces, data.virials, weights]
    for element in start.elements:
        texts.append(repr((element.functions, element.slope, element.intercept)))
        arrays += element.scaling.coefficients(len(element.functions))
        arrays.append(element.parameters)
        texts.append(repr([layer.activation for layer in element.layers]))
    return sha256(*texts, *arrays)
