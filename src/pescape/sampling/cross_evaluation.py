"""How models trained on data sets of different methods do on each other's test sets."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from ase.calculators.calculator import PropertyNotImplementedError

from pescape.dataset import SOURCE
from pescape.errors import DataError
from pescape.plotting import INK, drawn

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ase import Atoms
    from ase.calculators.calculator import BaseCalculator
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

#: Name of all test sets together.
ALL = "all"
# Forces shorter than this (eV/Å) have no direction worth comparing.
_SHORT_FORCE = 0.05


@dataclass(frozen=True)
class CrossErrors:
    """Errors of one model on one test set.

    Parameters
    ----------
    model, test
        Their names; ``"all"`` is all test sets together.
    images, atoms
        In the test set.
    energy_mae, energy_rmse
        meV/atom, each configuration counted once.
    force_mae, force_rmse
        Of the Cartesian components, eV/Å.
    angle_mae, angle_rmse
        Between predicted and labelled force of each atom, degrees, where both are longer
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
        Of every model on every test set, models first.
    """

    models: tuple[str, ...]
    tests: tuple[str, ...]
    energy_kind: str
    errors: tuple[CrossErrors, ...]

    def __getitem__(self, pair: tuple[str, str]) -> CrossErrors:
        """Give the errors of a model on a test set."""
        for one in self.errors:
            if (one.model, one.test) == pair:
                return one
        raise KeyError(
            f"no errors of {pair[0]!r} on {pair[1]!r}: models are {', '.join(self.models)}, "
            f"test sets {', '.join(self.tests)}"
        )

    def summary(self) -> dict[str, Any]:
        """Give all of it as JSON can hold it."""
        return asdict(self)


@dataclass(frozen=True, eq=False)
class _Differences:
    """Errors of a model, configuration by configuration and atom by atom."""

    energies: Floats
    forces: Floats
    angles: Floats
    images: int
    atoms: int


def cross_evaluate(
    models: Mapping[str, BaseCalculator | Path | str],
    tests: Mapping[str, Sequence[Atoms]],
    *,
    on_done: Callable[[str, str], None] | None = None,
) -> CrossEvaluation:
    """Evaluate every model on every test set, and on all of them together.

    Parameters
    ----------
    models
        By name: ASE calculators, or files of moment tensor potentials.
    tests
        By name: labelled configurations. Energies are compared with the labels' free
        energies if all of them have one, since forces are their derivatives.
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
    if not models or not tests:
        raise DataError("cross-evaluation needs at least one model and one test set")
    if ALL in tests:
        raise DataError(f"a test set cannot be called {ALL!r}: that is all of them together")
    kind = "energy"
    labels = {name: [_labels(a, name, i) for i, a in enumerate(f)] for name, f in tests.items()}
    for name, frames in tests.items():
        if not len(frames):
            raise DataError(f"test set {name!r} holds no configurations")
    if all(given["free_energy"] is not None for some in labels.values() for given in some):
        kind = "free_energy"
    errors = []
    for model, given in models.items():
        calculator = _calculator(given)
        parts = []
        for test, frames in tests.items():
            parts.append(_differences(calculator, model, frames, test, labels[test], kind))
            errors.append(_errors(model, test, parts[-1:]))
            if on_done is not None:
                on_done(model, test)
        errors.append(_errors(model, ALL, parts))
    return CrossEvaluation(tuple(models), (*tests, ALL), kind, tuple(errors))


def _calculator(given: BaseCalculator | Path | str) -> BaseCalculator:
    from pescape.calculators import MTP

    return MTP(given) if isinstance(given, str | Path) else given


def _where(atoms: Atoms, name: str, index: int) -> str:
    return str(atoms.info.get(SOURCE, f"test set {name!r}, configuration {index}"))


def _labels(atoms: Atoms, name: str, index: int) -> dict[str, Any]:
    results = {} if atoms.calc is None else getattr(atoms.calc, "results", {})
    for needed in ("energy", "forces"):
        if results.get(needed) is None:
            raise DataError(f"{_where(atoms, name, index)} has no {needed}: label it first")
    return {
        "energy": float(results["energy"]),
        "free_energy": results.get("free_energy"),
        "forces": np.asarray(results["forces"], dtype=float),
    }


def _differences(
    calculator: BaseCalculator,
    model: str,
    frames: Sequence[Atoms],
    test: str,
    labels: Sequence[dict[str, Any]],
    kind: str,
) -> _Differences:
    energies, forces, angles = [], [], []
    for index, (frame, label) in enumerate(zip(frames, labels, strict=True)):
        atoms = frame.copy()
        atoms.calc = calculator
        try:
            predicted = np.asarray(atoms.get_forces(apply_constraint=False))
            energy = _energy(atoms, kind)
        except Exception as error:  # calculators raise anything
            raise DataError(
                f"model {model!r} fails on {_where(frame, test, index)}: {error}"
            ) from error
        energies.append(1000.0 * (energy - float(label[kind])) / len(atoms))
        forces.append(predicted - label["forces"])
        angles.append(_angles(label["forces"], predicted))
    return _Differences(
        energies=np.array(energies),
        forces=np.concatenate(forces),
        angles=np.concatenate(angles),
        images=len(frames),
        atoms=sum(map(len, frames)),
    )


def _energy(atoms: Atoms, kind: str) -> float:
    if kind == "free_energy":
        try:
            return float(atoms.get_potential_energy(force_consistent=True))
        except PropertyNotImplementedError:
            pass  # a model without an electronic temperature has one energy
    return float(atoms.get_potential_energy())


def _angles(labelled: Floats, predicted: Floats) -> Floats:
    """Give the angles between forces that both have a direction, degrees."""
    a, b = np.linalg.norm(labelled, axis=1), np.linalg.norm(predicted, axis=1)
    long = (a > _SHORT_FORCE) & (b > _SHORT_FORCE)
    cosine = np.einsum("ij,ij->i", labelled[long], predicted[long]) / (a[long] * b[long])
    return np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0)))


def _errors(model: str, test: str, parts: Sequence[_Differences]) -> CrossErrors:
    energies, forces, angles = (
        np.concatenate([getattr(part, name) for part in parts])
        for name in ("energies", "forces", "angles")
    )
    return CrossErrors(
        model=model,
        test=test,
        images=sum(part.images for part in parts),
        atoms=sum(part.atoms for part in parts),
        energy_mae=float(np.abs(energies).mean()),
        energy_rmse=float(np.sqrt(np.mean(energies**2))),
        force_mae=float(np.abs(forces).mean()),
        force_rmse=float(np.sqrt(np.mean(forces**2))),
        angle_mae=float(angles.mean()) if len(angles) else None,
        angle_rmse=float(np.sqrt(np.mean(angles**2))) if len(angles) else None,
        angle_atoms=len(angles),
    )


_MEASURES = (
    ("energy_mae", "energy MAE, meV/atom"),
    ("force_mae", "force MAE, eV/Å"),
    ("angle_mae", "force angle MAE, degrees"),
    ("energy_rmse", "energy RMSE, meV/atom"),
    ("force_rmse", "force RMSE, eV/Å"),
    ("angle_rmse", "force angle RMSE, degrees"),
)


def draw_cross_evaluation(found: CrossEvaluation, path: Path | str) -> None:
    """Draw heat maps: a row for each model, a column for each test set.

    Parameters
    ----------
    found
        What was evaluated.
    path
        A PNG, PDF or SVG file.
    """
    width, height = 1.6 + 0.75 * len(found.tests), 1.2 + 0.5 * len(found.models)
    with drawn(path, (3 * width, 2 * height)) as figure:
        for axes, (name, title) in zip(figure.subplots(2, 3).flat, _MEASURES, strict=True):
            _draw_map(axes, found, name, title)


def _draw_map(axes: Axes, found: CrossEvaluation, name: str, title: str) -> None:
    values = np.array(
        [
            [
                np.nan if (value := getattr(found[model, test], name)) is None else value
                for test in found.tests
            ]
            for model in found.models
        ]
    )
    axes.set_title(title, loc="left")
    axes.imshow(values, cmap="Blues", vmin=0.0, aspect="auto")
    middle = 0.6 * np.nanmax(values) if np.isfinite(values).any() else 0.0
    for (row, column), value in np.ndenumerate(values):
        text = "–" if np.isnan(value) else f"{value:.3g}"
        color = "white" if value > middle else INK
        axes.text(column, row, text, ha="center", va="center", color=color)
    axes.set_xticks(range(len(found.tests)), [f"{name}" for name in found.tests])
    axes.set_yticks(range(len(found.models)), found.models)
    axes.set_xlabel("test set")
    axes.set_ylabel("trained on")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
