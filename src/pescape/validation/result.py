"""What a property computation gives: numbers with units, curves, and the structures behind them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


class PropertyError(Exception):
    """A property that a potential does not have: no minimum, not converged, unphysical."""


@dataclass(frozen=True)
class Value:
    """A number and its unit, which is empty where there is none."""

    value: float
    unit: str = ""


@dataclass(frozen=True, eq=False)
class Curve:
    """Points to plot.

    Parameters
    ----------
    x, y
        Of equal shape (n,).
    x_label, y_label
        Of the axes, with units.
    """

    x: Floats
    y: Floats
    x_label: str
    y_label: str

    def __post_init__(self) -> None:
        for name in ("x", "y"):
            array = np.array(getattr(self, name), dtype=float)
            array.setflags(write=False)
            object.__setattr__(self, name, array)
        if self.x.ndim != 1 or self.x.shape != self.y.shape:
            raise ValueError(f"a curve has {self.x.shape} abscissae and {self.y.shape} ordinates")


@dataclass(frozen=True, eq=False)
class PropertyResult:
    """One property of one potential.

    Parameters
    ----------
    kind
        Which property, a name of the registry.
    values
        Numbers by name; a dot parts the levels of a name, as in ``hcp.c_over_a``.
    structures
        Those the numbers belong to, with energies and forces; ``info["name"]`` tells them apart.
    curves
        To plot, by name.
    settings
        The configuration, as JSON holds it.
    warnings
        What a reader of the numbers has to know.
    """

    kind: str
    values: Mapping[str, Value]
    structures: tuple[Atoms, ...] = ()
    curves: Mapping[str, Curve] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        wrong = [name for name, one in self.values.items() if not np.isfinite(one.value)]
        if wrong:
            raise PropertyError(f"{self.kind}: {wrong[0]} is not a finite number")

    def to_json(self) -> dict[str, Any]:
        """Give what JSON can hold, all digits included."""
        return {
            "kind": self.kind,
            "values": {k: {"value": v.value, "unit": v.unit} for k, v in self.values.items()},
            "curves": {
                name: {
                    "x": curve.x.tolist(),
                    "y": curve.y.tolist(),
                    "x_label": curve.x_label,
                    "y_label": curve.y_label,
                }
                for name, curve in self.curves.items()
            },
            "structures": [_described(atoms) for atoms in self.structures],
            "settings": dict(self.settings),
            "warnings": list(self.warnings),
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> PropertyResult:
        """Make the result again that `to_json` described."""
        return cls(
            kind=content["kind"],
            values={name: Value(**one) for name, one in content["values"].items()},
            structures=tuple(_restored(one) for one in content["structures"]),
            curves={name: Curve(**one) for name, one in content["curves"].items()},
            settings=content["settings"],
            warnings=tuple(content["warnings"]),
        )


def snapshot(atoms: Atoms, name: str) -> Atoms:
    """Copy a structure with its energy and forces, free of its calculator.

    Parameters
    ----------
    atoms
        With a calculator that has evaluated it.
    name
        Tells the structure from the others of a result.
    """
    new = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
    new.info["name"] = name
    new.calc = SinglePointCalculator(
        new,
        energy=float(atoms.get_potential_energy()),
        forces=np.array(atoms.get_forces(apply_constraint=False)),
    )
    return new


def _described(atoms: Atoms) -> dict[str, Any]:
    results = atoms.calc.results if atoms.calc is not None else {}
    return {
        "name": atoms.info.get("name", ""),
        "numbers": atoms.numbers.tolist(),
        "positions": atoms.positions.tolist(),
        "cell": atoms.cell.array.tolist(),
        "pbc": atoms.pbc.tolist(),
        "energy": float(results["energy"]) if "energy" in results else None,
        "forces": results["forces"].tolist() if "forces" in results else None,
    }


def _restored(content: Mapping[str, Any]) -> Atoms:
    atoms = Atoms(
        content["numbers"], content["positions"], cell=content["cell"], pbc=content["pbc"]
    )
    atoms.info["name"] = content["name"]
    results = {
        key: np.array(content[key]) if key == "forces" else content[key]
        for key in ("energy", "forces")
        if content[key] is not None
    }
    if results:
        atoms.calc = SinglePointCalculator(atoms, **results)
    return atoms
