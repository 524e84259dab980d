"""Errors of potentials on labeled data, in the measures that papers compare.

`evaluate` is about one potential and one data set; `cross_evaluate` about models trained on data
sets of different methods, on each other's test sets, after M. J. Waters and J. M. Rondinelli,
section III.F.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from ase.calculators.calculator import PropertyNotImplementedError
from ase.units import GPa

from pescape.calculators.calculator import PotentialCalculator
from pescape.calculators.fit.data import training_set
from pescape.calculators.fit.loss import residuals
from pescape.calculators.potential import load
from pescape.errors import DataError, frame_name

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ase import Atoms
    from ase.calculators.calculator import BaseCalculator
    from numpy.typing import NDArray

    from pescape.calculators.fit.data import TrainingSet
    from pescape.calculators.fit.loss import Residuals
    from pescape.calculators.potential import Potential

    Floats = NDArray[np.float64]

#: Name of all test sets together, and of the data a model was trained on.
ALL, TRAINING = "all", "training"
# Forces shorter than this (eV/Å) have no direction worth comparing.
_SHORT_FORCE = 0.05


@dataclass(frozen=True, eq=False)
class Differences:
    """What errors are made of: predictions of all configurations and atoms minus their labels.

    Parameters
    ----------
    energies
        Labels, eV/atom, shape (C,).
    energy_errors
        Prediction minus label, meV/atom, shape (C,).
    forces
        Labels, eV/Å, shape (n, 3).
    force_errors
        Prediction minus label, eV/Å, shape (n, 3).
    angles
        Between predicted and labeled force, degrees, shape (n,); NaN where one of them has no
        direction worth comparing.
    stress_errors
        Prediction minus label of the configurations with a stress, GPa, shape (s, 6).
    energy_kind
        Which energies the labels are, ``"free_energy"`` or ``"energy"``.
    """

    energies: Floats
    energy_errors: Floats
    forces: Floats
    force_errors: Floats
    angles: Floats
    stress_errors: Floats
    energy_kind: str

    @classmethod
    def joined(cls, parts: Sequence[Differences]) -> Differences:
        """Join the differences of several data sets, at least one.

        Parameters
        ----------
        parts
            In order.
        """
        names = ("energies", "energy_errors", "forces", "force_errors", "angles", "stress_errors")
        arrays = {name: np.concatenate([getattr(one, name) for one in parts]) for name in names}
        return cls(**arrays, energy_kind=parts[0].energy_kind)


def differences(
    delta: Residuals, data: TrainingSet, chosen: NDArray[np.bool_] | None = None
) -> Differences:
    """Make differences of residuals; forces longer than 0.05 eV/Å have a direction.

    Parameters
    ----------
    delta
        Of the whole data set.
    data
        The labels.
    chosen
        Which configurations count, shape (C,); by default all.
    """
    if chosen is None:
        chosen = np.ones(len(data), dtype=bool)
    atoms, stressed = np.repeat(chosen, data.sizes), chosen & data.has_virial
    forces, errors = data.forces[atoms], delta.forces[atoms]
    return Differences(
        energies=data.energies[chosen] / data.sizes[chosen],
        energy_errors=1000.0 * delta.energies[chosen] / data.sizes[chosen],
        forces=forces,
        force_errors=errors,
        angles=_angles(forces, forces + errors, 0.0),
        stress_errors=delta.virials[stressed] / data.volumes[stressed, None] / GPa,
        energy_kind=data.energy_kind,
    )


def compare(
    potential: Potential, configurations: Sequence[Atoms], *, threads: int = 1
) -> Differences:
    """Compute what a potential predicts of labeled configurations, minus the labels.

    Parameters
    ----------
    potential
        Trained, and naming its species.
    configurations
        With energy, forces and, where they are periodic, stress.
    threads
        OpenMP threads.
    """
    data = training_set(configurations, potential.species, potential.cutoff)
    return differences(residuals(potential, data, threads), data)


@dataclass(frozen=True)
class Errors:
    """Mean absolute and root mean square errors.

    Parameters
    ----------
    configurations, atoms
        How many they are averaged over.
    energy_mae, energy_rmse
        meV/atom.
    force_mae, force_rmse
        Of the Cartesian components, eV/Å.
    force_max
        Largest error vector, eV/Å.
    force_angle
        Mean angle between predicted and labeled forces longer than 0.05 eV/Å, degrees;
        None if there are none.
    stress_mae, stress_rmse
        Of the six components, GPa; None without labeled stresses.
    """

    configurations: int
    atoms: int
    energy_mae: float
    energy_rmse: float
    force_mae: float
    force_rmse: float
    force_max: float
    force_angle: float | None
    stress_mae: float | None
    stress_rmse: float | None


def evaluate(potential: Potential, configurations: Sequence[Atoms], *, threads: int = 1) -> Errors:
    """Compute the errors of a potential on labeled configurations.

    Parameters
    ----------
    potential, configurations, threads
        As of `compare`.

    Returns
    -------
    Errors
    """
    return errors_from(compare(potential, configurations, threads=threads))


def errors_from(found: Differences) -> Errors:
    """Sum up differences.

    Parameters
    ----------
    found
        Of at least one configuration.
    """
    angles = found.angles[np.isfinite(found.angles)]
    stress = found.stress_errors if len(found.stress_errors) else None
    return Errors(
        configurations=len(found.energies),
        atoms=len(found.forces),
        energy_mae=_mean_size(found.energy_errors),
        energy_rmse=_rms(found.energy_errors),
        force_mae=_mean_size(found.force_errors),
        force_rmse=_rms(found.force_errors),
        force_max=float(np.linalg.norm(found.force_errors, axis=1).max()),
        force_angle=float(angles.mean()) if len(angles) else None,
        stress_mae=None if stress is None else _mean_size(stress),
        stress_rmse=None if stress is None else _rms(stress),
    )


def _mean_size(values: Floats) -> float:
    return float(np.abs(values).mean())


def _rms(values: Floats) -> float:
    return float(np.sqrt(np.mean(values**2)))


def _angles(labelled: Floats, predicted: Floats, shortest: float = _SHORT_FORCE) -> Floats:
    """Compute the angles between forces, degrees; NaN unless both have a direction."""
    a, b = np.linalg.norm(labelled, axis=1), np.linalg.norm(predicted, axis=1)
    long = (a > _SHORT_FORCE) & (b > shortest)
    cosine = np.einsum("ij,ij->i", labelled[long], predicted[long]) / (a[long] * b[long])
    angles = np.full(len(labelled), np.nan)
    angles[long] = np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0)))
    return angles


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
    errors: list[CrossErrors] = []
    made: dict[tuple[str, str], Differences] = {}
    for model, given in models.items():
        calculator = PotentialCalculator(load(given)) if isinstance(given, str | Path) else given
        for what, name, frames in sets:
            if what == "training set" and name != model:
                continue
            test = TRAINING if what == "training set" else name
            found = _predicted(calculator, model, frames, labels[what, name], kind)
            made[model, test] = found
            errors.append(_cross_errors(model, test, found))
            if on_done is not None:
                on_done(model, test)
        together = Differences.joined([made[model, test] for test in tests])
        errors.append(_cross_errors(model, ALL, together))
    return CrossEvaluation(tuple(models), (*tests, ALL), kind, tuple(errors), made)


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
        energy_errors=1000.0 * (np.array(energies) / sizes - labelled),
        forces=reference,
        force_errors=predicted - reference,
        angles=_angles(reference, predicted),
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


def _cross_errors(model: str, test: str, found: Differences) -> CrossErrors:
    angles = found.angles[np.isfinite(found.angles)]
    return CrossErrors(
        model=model,
        test=test,
        images=len(found.energies),
        atoms=len(found.forces),
        energy_mae=_mean_size(found.energy_errors),
        energy_rmse=_rms(found.energy_errors),
        force_mae=_mean_size(found.force_errors),
        force_rmse=_rms(found.force_errors),
        angle_mae=float(angles.mean()) if len(angles) else None,
        angle_rmse=_rms(angles) if len(angles) else None,
        angle_atoms=len(angles),
    )
