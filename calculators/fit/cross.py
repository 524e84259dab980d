"""Errors of models trained on data sets of different methods, on each other's test sets.

After M. J. Waters and J. M. Rondinelli, section III.F. What is computed of each model and test
set, and how sure it is, is told in `pescape.calculators.fit.errors`.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from ase.calculators.calculator import PropertyNotImplementedError

from pescape.calculators.calculator import PotentialCalculator
from pescape.calculators.fit.errors import (
    MEASURES,
    Differences,
    best_of,
    force_angles,
    mean_size,
    rms,
    standard_errors,
)
from pescape.calculators.potential import load
from pescape.errors import DataError, frame_name

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ase import Atoms
    from ase.calculators.calculator import BaseCalculator
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

#: Name of all test sets together, and of the data a model was trained on.
ALL, TRAINING = "all", "training"
# What is compared: models may have no stresses.
_COMPARED = MEASURES[:6]


@dataclass(frozen=True)
class CrossErrors:
    """Errors of one model on one test set.

    Parameters
    ----------
    model, test
        Their names; ``"all"`` is all test sets together, ``"training"`` the model's own
        training set.
    images, atoms
        In the test set.
    energy_mae, energy_rmse
        meV/atom, each configuration counted once.
    force_mae, force_rmse
        Of the Cartesian components, eV/Å.
    angle_mae, angle_rmse
        Between predicted and labeled force of each atom, degrees, where both are longer
        than 0.05 eV/Å; None if none are.
    angle_atoms
        How many atoms these are.
    energy_mae_error, energy_rmse_error, force_mae_error, force_rmse_error, angle_mae_error, \
    angle_rmse_error
        Standard errors of these by the bootstrap over images; None where fewer than two images
        say something.
    best
        Of the six, those in which no other model is better on this test set and some are
        worse, by more than chance explains (`best_of`).
    """

    model: str
    test: str
    images: int
    atoms: int
    energy_mae: float
    energy_rmse: float
    force_mae: float
    force_rmse: float
    angle_mae: float | None
    angle_rmse: float | None
    angle_atoms: int
    energy_mae_error: float | None = None
    energy_rmse_error: float | None = None
    force_mae_error: float | None = None
    force_rmse_error: float | None = None
    angle_mae_error: float | None = None
    angle_rmse_error: float | None = None
    best: tuple[str, ...] = field(default=(), compare=False)  # it depends on the other models


@dataclass(frozen=True)
class CrossEvaluation:
    """All models on all test sets.

    Parameters
    ----------
    models, tests
        Names; the last test is all of them together.
    energy_kind
        What labels are, ``"free_energy"`` or ``"energy"``.
    errors
        Of every model on every test set, models first; on its own training set too, where
        that was given.
    differences
        What they are made of, by model and test set (all of them together left out).
    """

    models: tuple[str, ...]
    tests: tuple[str, ...]
    energy_kind: str
    errors: tuple[CrossErrors, ...]
    differences: Mapping[tuple[str, str], Differences] = field(compare=False, repr=False)

    def __getitem__(self, pair: tuple[str, str]) -> CrossErrors:
        """Return the errors of a model on a test set."""
        for one in self.errors:
            if (one.model, one.test) == pair:
                return one
        raise KeyError(
            f"no errors of {pair[0]!r} on {pair[1]!r}: models are {', '.join(self.models)}, "
            f"test sets {', '.join(self.tests)}"
        )

    def summary(self) -> dict[str, Any]:
        """Return all of it but the differences as JSON can hold it."""
        return {
            "models": list(self.models),
            "tests": list(self.tests),
            "energy_kind": self.energy_kind,
            "errors": [asdict(one) for one in self.errors],
        }


def cross_evaluate(
    models: Mapping[str, BaseCalculator | Path | str],
    tests: Mapping[str, Sequence[Atoms]],
    training: Mapping[str, Sequence[Atoms]] | None = None,
    *,
    on_done: Callable[[str, str], None] | None = None,
) -> CrossEvaluation:
    """Evaluate every model on every test set, and on all of them together.

    Parameters
    ----------
    models
        By name: ASE calculators, or files of potentials (moment tensor potentials or
        Behler-Parrinello networks).
    tests
        By name: labeled configurations. Energies are compared with the labels' free
        energies if all of them have one, since forces are their derivatives.
    training
        By the name of a model: what it was trained on, for comparison; no part of "all".
    on_done
        Told the model and the test set that have been evaluated.

    Returns
    -------
    CrossEvaluation

    Raises
    ------
    DataError
        Names the configuration without labels, or the model that fails on one.
    """
    training = training or {}
    _check_names(models, tests, training)
    sets = [("test set", name, frames) for name, frames in tests.items()]
    sets += [("training set", name, frames) for name, frames in training.items()]
    labels = {
        (what, name): [_labels(a, f"{what} {name!r}, configuration {i}") for i, a in enumerate(f)]
        for what, name, f in sets
    }
    has_free = all(one["free_energy"] is not None for some in labels.values() for one in some)
    kind = "free_energy" if has_free else "energy"
    made: dict[tuple[str, str], Differences] = {}
    together: dict[str, Differences] = {}
    for model, given in models.items():
        calculator = PotentialCalculator(load(given)) if isinstance(given, str | Path) else given
        for what, name, frames in sets:
            if what == "training set" and name != model:
                continue
            test = TRAINING if what == "training set" else name
            made[model, test] = _predicted(calculator, model, frames, labels[what, name], kind)
            if on_done is not None:
                on_done(model, test)
        together[model] = Differences.joined([made[model, test] for test in tests])
    compared = {test: {model: made[model, test] for model in models} for test in tests}
    best = {test: _best(one) for test, one in (compared | {ALL: together}).items()}
    errors = []
    for model in models:
        own = {test: one for (name, test), one in made.items() if name == model}
        for test, one in (own | {ALL: together[model]}).items():
            errors.append(_cross_errors(model, test, one, best.get(test, {}).get(model, ())))
    return CrossEvaluation(tuple(models), (*tests, ALL), kind, tuple(errors), made)


def _best(found: Mapping[str, Differences]) -> dict[str, tuple[str, ...]]:
    """Tell in which measures no model is better, by model; on one test set."""
    models = list(found)
    best = {measure: best_of(list(found.values()), measure) for measure in _COMPARED}
    return {
        model: tuple(measure for measure in _COMPARED if index in best[measure])
        for index, model in enumerate(models)
    }


def _check_names(
    models: Mapping[str, object],
    tests: Mapping[str, Sequence[Atoms]],
    training: Mapping[str, Sequence[Atoms]],
) -> None:
    if not models or not tests:
        raise DataError("cross-evaluation needs at least one model and one test set")
    for taken, meaning in ((ALL, "all of them together"), (TRAINING, "a model's training set")):
        if taken in tests:
            raise DataError(f"a test set cannot be called {taken!r}: that is {meaning}")
    for name in training:
        if name not in models:
            raise DataError(f"training set {name!r} is of no model: they are {', '.join(models)}")
    for what, sets in (("test", tests), ("training", training)):
        for name, frames in sets.items():
            if not len(frames):
                raise DataError(f"{what} set {name!r} holds no configurations")


def _labels(atoms: Atoms, place: str) -> dict[str, Any]:
    results = {} if atoms.calc is None else getattr(atoms.calc, "results", {})
    where = frame_name(atoms, place)
    for needed in ("energy", "forces"):
        if results.get(needed) is None:
            raise DataError(f"{where} has no {needed}: label it first")
    return {
        "energy": float(results["energy"]),
        "free_energy": results.get("free_energy"),
        "forces": np.asarray(results["forces"], dtype=float),
        "where": where,
    }


def _predicted(
    calculator: BaseCalculator,
    model: str,
    frames: Sequence[Atoms],
    labels: Sequence[dict[str, Any]],
    kind: str,
) -> Differences:
    energies, forces = [], []
    for frame, label in zip(frames, labels, strict=True):
        atoms = frame.copy()
        atoms.calc = calculator
        try:
            forces.append(np.array(atoms.get_forces(apply_constraint=False)))
            energies.append(_energy(atoms, kind))
        except Exception as error:  # calculators raise anything
            raise DataError(f"model {model!r} fails on {label['where']}: {error}") from error
    sizes = np.array([len(frame) for frame in frames])
    labelled = np.array([float(label[kind]) for label in labels]) / sizes
    reference, predicted = np.concatenate([one["forces"] for one in labels]), np.concatenate(forces)
    return Differences(
        energies=labelled,
        sizes=sizes,
        has_stress=np.zeros(len(frames), dtype=bool),
        energy_errors=1000.0 * (np.array(energies) / sizes - labelled),
        forces=reference,
        force_errors=predicted - reference,
        angles=force_angles(reference, predicted),
        stress_errors=np.empty((0, 6)),
        energy_kind=kind,
    )


def _energy(atoms: Atoms, kind: str) -> float:
    if kind == "free_energy":
        try:
            return float(atoms.get_potential_energy(force_consistent=True))
        except PropertyNotImplementedError:
            pass  # a model without an electronic temperature has one energy
    return float(atoms.get_potential_energy())


def _cross_errors(model: str, test: str, found: Differences, best: tuple[str, ...]) -> CrossErrors:
    angles = found.angles[np.isfinite(found.angles)]
    known = standard_errors(found)
    return CrossErrors(
        model=model,
        test=test,
        images=len(found.energies),
        atoms=len(found.forces),
        energy_mae=mean_size(found.energy_errors),
        energy_rmse=rms(found.energy_errors),
        force_mae=mean_size(found.force_errors),
        force_rmse=rms(found.force_errors),
        angle_mae=mean_size(angles) if len(angles) else None,
        angle_rmse=rms(angles) if len(angles) else None,
        angle_atoms=len(angles),
        **{f"{measure}_error": known[measure] for measure in _COMPARED},
        best=best,
    )
