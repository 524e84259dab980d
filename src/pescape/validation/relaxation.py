"""Minimisation, with an error where it does not converge."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from ase.optimize import BFGS, LBFGS

from pescape.validation.result import PropertyError

if TYPE_CHECKING:
    from ase import Atoms

# Beyond this many coordinates the dense Hessian of BFGS costs more than it gains.
_DENSE = 60
# What the springs of the first step are (eV/Å²), as ASE's BFGS has it.
_STIFFNESS = 70.0
_MAXSTEP = 0.1


def minimised(
    atoms: Atoms,
    target: Any = None,  # noqa: ANN401 (atoms, or one of ASE's filters of them)
    *,
    fmax: float,
    steps: int,
    what: str,
) -> int:
    """Minimise the energy of a structure, in place.

    Parameters
    ----------
    atoms
        With a calculator.
    target
        A filter of `atoms` that relaxes the cell too; by default positions alone.
    fmax
        Largest force that may be left, eV/Å.
    steps
        Most optimiser steps.
    what
        Names the structure in errors.

    Returns
    -------
    int
        Steps taken.

    Raises
    ------
    PropertyError
        Not converged, or the energy or a force is not finite.
    """
    target = atoms if target is None else target
    if 3 * len(target) <= _DENSE:
        optimizer: Any = BFGS(target, logfile=None, alpha=_STIFFNESS, maxstep=_MAXSTEP)
    else:
        optimizer = LBFGS(target, logfile=None, alpha=_STIFFNESS, maxstep=_MAXSTEP)  # type: ignore[arg-type]
    converged = optimizer.run(fmax=fmax, steps=steps)
    left = float(np.linalg.norm(target.get_forces(), axis=1).max())
    if not np.isfinite(left) or not np.isfinite(atoms.get_potential_energy()):
        raise PropertyError(f"{what}: energy or forces are not finite")
    if not converged:
        raise PropertyError(
            f"{what}: not relaxed after {steps} steps, a force of {left:.3g} eV/Å is left"
        )
    return int(optimizer.nsteps)
