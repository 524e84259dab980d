"""Errors of potentials on labeled data, in the measures that papers compare, and how sure they are.

A mean over few configurations is known with a standard error of its own. It comes from the
bootstrap (B. Efron and R. J. Tibshirani, An Introduction to the Bootstrap, 1993, chapter 6): means
over as many configurations drawn with replacement, 1000 times. Whole configurations are drawn,
because errors of atoms of one configuration are correlated. Variances are multiplied by
n / (n - 1), n the number of configurations, as those of small samples want it (T. C. Hesterberg,
Am. Stat. 69, 371, 2015). The seed is fixed and the same for all potentials, so that those tested
on the same configurations are compared on the same resamples (`best_of`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING

import numpy as np
from ase.units import GPa
from scipy.special import stdtrit

from pescape.calculators.fit.data import training_set
from pescape.calculators.fit.loss import residuals

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ase import Atoms
    from numpy.typing import NDArray

    from pescape.calculators.fit.data import TrainingSet
    from pescape.calculators.fit.loss import Residuals
    from pescape.calculators.potential import Potential

    Floats = NDArray[np.float64]

#: How many resamples of the configurations standard errors come from.
RESAMPLES = 1000
#: What is averaged, in the order in which resamples give it.
MEASURES = (
    *("energy_mae", "energy_rmse", "force_mae", "force_rmse"),
    *("angle_mae", "angle_rmse", "stress_mae", "stress_rmse"),
)
#: Of a hundred pairs of potentials that are equally good, so many seem to be.
CONFIDENCE = 0.95
_SEED = 0
# Standard errors smaller than this share of the value are rounding.
_LEAST_SHOWN = 1e-6
# What errors of exact potentials are taken to be where they are compared.
_TINY = 1e-300
# Configurations that are drawn at once.
_MAX_DRAWS = 4_000_000
# Forces shorter than this (eV/Å) have no direction worth comparing.
_SHORT_FORCE = 0.05


@dataclass(frozen=True, eq=False)
class Differences:
    """What errors are made of: predictions of all configurations and atoms minus their labels.

    Parameters
    ----------
    energies
        Labels, eV/atom, shape (C,).
    sizes
        Atoms of each configuration, shape (C,).
    has_stress
        Which configurations have a labeled stress, shape (C,).
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
    sizes: NDArray[np.int64]
    has_stress: NDArray[np.bool_]
    energy_errors: Floats
    forces: Floats
    force_errors: Floats
    angles: Floats
    stress_errors: Floats
    energy_kind: str

    def part(self, chosen: NDArray[np.bool_]) -> Differences:
        """Take the differences of some configurations.

        Parameters
        ----------
        chosen
            Which, shape (C,).
        """
        atoms = np.repeat(chosen, self.sizes)
        return replace(
            self,
            energies=self.energies[chosen],
            sizes=self.sizes[chosen],
            has_stress=self.has_stress[chosen],
            energy_errors=self.energy_errors[chosen],
            forces=self.forces[atoms],
            force_errors=self.force_errors[atoms],
            angles=self.angles[atoms],
            stress_errors=self.stress_errors[chosen[self.has_stress]],
        )

    @classmethod
    def joined(cls, parts: Sequence[Differences]) -> Differences:
        """Join the differences of several data sets, at least one.

        Parameters
        ----------
        parts
            In order.
        """
        arrays = {
            one.name: np.concatenate([getattr(part, one.name) for part in parts])
            for one in fields(cls)
            if one.name != "energy_kind"
        }
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
    found = Differences(
        energies=data.energies / data.sizes,
        sizes=data.sizes,
        has_stress=data.has_virial,
        energy_errors=1000.0 * delta.energies / data.sizes,
        forces=data.forces,
        force_errors=delta.forces,
        angles=force_angles(data.forces, data.forces + delta.forces, 0.0),
        stress_errors=delta.virials[data.has_virial] / data.volumes[data.has_virial, None] / GPa,
        energy_kind=data.energy_kind,
    )
    return found if chosen is None else found.part(chosen)


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
    """Mean absolute and root mean square errors, each with its standard error.

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
    energy_mae_error, energy_rmse_error, force_mae_error, force_rmse_error, force_angle_error, \
    stress_mae_error, stress_rmse_error
        Standard errors of these, in the same units: how much they would vary with other
        configurations of the same kind. None where fewer than two configurations say something.
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
    energy_mae_error: float | None = None
    energy_rmse_error: float | None = None
    force_mae_error: float | None = None
    force_rmse_error: float | None = None
    force_angle_error: float | None = None
    stress_mae_error: float | None = None
    stress_rmse_error: float | None = None


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
    known = standard_errors(found)
    return Errors(
        configurations=len(found.energies),
        atoms=len(found.forces),
        energy_mae=mean_size(found.energy_errors),
        energy_rmse=rms(found.energy_errors),
        force_mae=mean_size(found.force_errors),
        force_rmse=rms(found.force_errors),
        force_max=float(np.linalg.norm(found.force_errors, axis=1).max()),
        force_angle=mean_size(angles) if len(angles) else None,
        stress_mae=None if stress is None else mean_size(stress),
        stress_rmse=None if stress is None else rms(stress),
        energy_mae_error=known["energy_mae"],
        energy_rmse_error=known["energy_rmse"],
        force_mae_error=known["force_mae"],
        force_rmse_error=known["force_rmse"],
        force_angle_error=known["angle_mae"],
        stress_mae_error=known["stress_mae"],
        stress_rmse_error=known["stress_rmse"],
    )


def standard_errors(found: Differences) -> dict[str, float | None]:
    """Compute the standard error of each of `MEASURES` by the bootstrap over configurations.

    Parameters
    ----------
    found
        Of at least one configuration.

    Returns
    -------
    dict
        In the units of `Errors`; None where fewer than two configurations say something.
    """
    sums = _sums(found)
    return dict(zip(MEASURES, _deviations(_resampled(sums), _counts(sums)), strict=True))


def best_of(found: Sequence[Differences], measure: str) -> frozenset[int]:
    """Choose the potentials that none beats in a measure, on the same configurations.

    Errors of two potentials on the same configurations rise and fall together, so that their
    ratio is known better than each of them: it is taken resample by resample. (Its logarithm is,
    which is closer to normally distributed than the difference.)

    Parameters
    ----------
    found
        Of each potential, on the same configurations in the same order.
    measure
        One of `MEASURES`.

    Returns
    -------
    frozenset of int
        The least error, and those that are larger by what chance may have made: up to so many
        standard errors of the comparison as Student's t has at `CONFIDENCE`, 2 of many
        configurations, 4 of three. Empty where that is all of them, and where a comparison has
        no standard error: on a single configuration.
    """
    column = MEASURES.index(measure)
    sums = [_sums(one) for one in found]
    values = np.array([_measures(one.sum(axis=0))[column] for one in sums])
    if len(values) < 2 or not np.isfinite(values).all():
        return frozenset()
    least = int(values.argmin())
    count = _counts(sums[least])[column : column + 1]
    logarithms = [np.log(np.maximum(_resampled(one)[:, [column]], _TINY)) for one in sums]
    best = {least}
    for index, value in enumerate(values):
        (error,) = _deviations(logarithms[index] - logarithms[least], count)
        if error is None:
            return frozenset()
        larger = math.log(max(value, _TINY) / max(values[least], _TINY))
        if larger <= error * float(stdtrit(count[0] - 1, (1.0 + CONFIDENCE) / 2.0)):
            best.add(index)
    return frozenset(best if len(best) < len(values) else ())


def _sums(found: Differences) -> Floats:
    """Sum up by configuration: sizes, squares and number of each kind of error, (C, 4, 3)."""
    sums = np.zeros((len(found.energies), 4, 3))
    atoms = np.repeat(np.arange(len(sums)), found.sizes)
    kinds = (
        (np.arange(len(sums)), found.energy_errors[:, None]),
        (atoms, found.force_errors),
        (atoms, found.angles[:, None]),
        (np.flatnonzero(found.has_stress), found.stress_errors),
    )
    for kind, (owners, errors) in enumerate(kinds):
        known = np.isfinite(errors)
        sizes = np.abs(np.where(known, errors, 0.0))
        for column, values in enumerate((sizes, sizes**2, known)):
            sums[:, kind, column] = np.bincount(owners, values.sum(axis=1), len(sums))
    return sums


def _counts(sums: Floats) -> NDArray[np.int64]:
    """Count the configurations that say something of each measure, (8,)."""
    return np.repeat(np.count_nonzero(sums[:, :, 2], axis=0), 2)


def _measures(sums: Floats) -> Floats:
    """Turn sums (…, 4, 3) into mean absolute and root mean square errors, (…, 8)."""
    with np.errstate(invalid="ignore", divide="ignore"):
        means = sums[..., :2] / sums[..., 2:]
    means[..., 1] = np.sqrt(means[..., 1])
    return means.reshape(*sums.shape[:-2], len(MEASURES))


def _resampled(sums: Floats) -> Floats:
    """Compute the measures of resamples of the configurations, (R, 8)."""
    count = len(sums)
    rng = np.random.default_rng(_SEED)
    most = max(1, _MAX_DRAWS // count)
    found = []
    for begin in range(0, RESAMPLES, most):
        rows = min(most, RESAMPLES - begin)
        drawn = rng.integers(count, size=(rows, count)) + count * np.arange(rows)[:, None]
        times = np.bincount(drawn.ravel(), minlength=rows * count).reshape(rows, count)
        found.append(times.astype(float) @ sums.reshape(count, -1))
    return _measures(np.concatenate(found).reshape(RESAMPLES, 4, 3))


def _deviations(resampled: Floats, counts: NDArray[np.int64]) -> list[float | None]:
    """Compute the standard deviation of each column, corrected for the size of the sample."""
    found: list[float | None] = []
    for column, count in zip(resampled.T, counts, strict=True):
        # Resamples may hold none of the few configurations that have a stress.
        known = column[np.isfinite(column)]
        spread = float(known.std()) if count > 1 and len(known) else np.inf
        found.append(spread * math.sqrt(count / (count - 1)) if np.isfinite(spread) else None)
    return found


def with_error(value: float | None, error: float | None) -> str:
    """Write a value and its standard error, ``2.28 ± 0.31``: two digits of the error.

    Parameters
    ----------
    value
        None is written as a dash.
    error
        None, where it is not known, is written as a dash.
    """
    if value is None:
        return "–"
    if error is None or not math.isfinite(error) or not math.isfinite(value):
        return f"{value:.3g} ± –"
    if error < _LEAST_SHOWN * abs(value) or error == 0.0:
        return f"{value:.3g} ± 0"
    largest = max(abs(value), error)
    if not 1e-4 <= largest < 1e6:
        power = math.floor(math.log10(largest))
        return f"({with_error(value / 10.0**power, error / 10.0**power)})e{power:+03d}"
    # Of 0.0996 two digits are 0.10.
    digits = 1 - math.floor(math.log10(float(f"{error:.1e}")))
    return f"{_fixed(value, digits)} ± {_fixed(error, digits)}"


def _fixed(value: float, digits: int) -> str:
    return f"{round(value, digits):.{max(digits, 0)}f}"


def stated(errors: object, name: str) -> str:
    """Write one of several errors with its standard error.

    Parameters
    ----------
    errors
        `Errors`, or anything that keeps the standard error of ``x`` as ``x_error``.
    name
        Of the error.
    """
    return with_error(getattr(errors, name), getattr(errors, f"{name}_error"))


def mean_size(values: Floats) -> float:
    """Compute a mean absolute value.

    Parameters
    ----------
    values
        At least one, of any shape.
    """
    return float(np.abs(values).mean())


def rms(values: Floats) -> float:
    """Compute a root mean square.

    Parameters
    ----------
    values
        At least one, of any shape.
    """
    return float(np.sqrt(np.mean(values**2)))


def force_angles(labelled: Floats, predicted: Floats, shortest: float = _SHORT_FORCE) -> Floats:
    """Compute the angles between forces, degrees, shape (n,); NaN without two directions.

    Parameters
    ----------
    labelled, predicted
        eV/Å, shape (n, 3).
    shortest
        Predicted forces that are shorter (eV/Å) have no direction worth comparing.
    """
    a, b = np.linalg.norm(labelled, axis=1), np.linalg.norm(predicted, axis=1)
    long = (a > _SHORT_FORCE) & (b > shortest)
    cosine = np.einsum("ij,ij->i", labelled[long], predicted[long]) / (a[long] * b[long])
    angles = np.full(len(labelled), np.nan)
    angles[long] = np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0)))
    return angles
