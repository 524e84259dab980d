"""Where a fit stands between two cycles, and the file that holds it."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from zipfile import BadZipFile

import numpy as np

from pescape.calculators.atomic import write_atomically

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ase import Atoms
    from numpy.typing import NDArray

    from pescape.calculators.mtp import MTPotential
    from pescape.calculators.mtp.fit.settings import FitSettings

    Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class State:
    """Where a fit stands between two cycles.

    Parameters
    ----------
    rung
        Which level of the ladder.
    theta, loss
        Parameters and the loss there.
    made
        Iterations made on this rung.
    history
        The loss after each iteration of all rungs.
    converged
        The rung is done.
    """

    rung: int
    theta: Floats
    loss: float
    made: int = 0
    history: tuple[float, ...] = ()
    converged: bool = False


def save(path: Path | str | None, state: State, identity: str) -> None:
    """Write a state; the file appears as a whole."""
    if path is None:
        return
    buffer = io.BytesIO()
    np.savez(
        buffer,
        identity=identity,
        rung=state.rung,
        parameters=state.theta,
        loss=state.loss,
        made=state.made,
        history=state.history,
        converged=state.converged,
    )
    write_atomically(Path(path), buffer.getvalue())


def restored(path: Path | str | None, identity: str) -> State | None:
    """Read the state of the same fit, if the file is there."""
    if path is None or not Path(path).exists():
        return None
    try:
        with np.load(path) as file:
            saved = dict(file)
        same = str(saved["identity"]) == identity
        state = State(
            rung=int(saved["rung"]),
            theta=saved["parameters"],
            loss=float(saved["loss"]),
            made=int(saved["made"]),
            history=tuple(saved["history"].tolist()),
            converged=bool(saved["converged"]),
        )
    except (OSError, KeyError, ValueError, TypeError, EOFError, BadZipFile) as error:
        raise ValueError(f"{path} is no checkpoint of a fit: {error}") from error
    if not same:
        raise ValueError(
            f"{path} belongs to another fit (other data, start or settings): "
            "remove it to start this one from the beginning"
        )
    return state


def identity_of(
    potential: MTPotential, configurations: Sequence[Atoms], settings: FitSettings
) -> str:
    """Tell one fit from another, on however many ranks."""
    given = (settings, potential.cutoff, potential.min_dist, potential.repulsion)
    digest = hashlib.sha256(repr(given).encode())
    for atoms in configurations:
        digest.update(repr((atoms.info.get("fit_weight"), atoms.pbc.tolist())).encode())
        arrays = [atoms.positions, atoms.numbers, atoms.cell.array]
        results = {} if atoms.calc is None else atoms.calc.results
        arrays += [results[name] for name in _LABELS if results.get(name) is not None]
        for array in arrays:
            digest.update(np.ascontiguousarray(array).tobytes())
    for array in (potential.basic, potential.products, potential.scalar_moments):
        digest.update(array.tobytes())
    if potential.is_trained:
        digest.update(potential.parameters.tobytes())
    return digest.hexdigest()


_LABELS = ("energy", "free_energy", "forces", "stress")
