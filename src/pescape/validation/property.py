"""What the configurations of all properties share.

What a property computation gives: numbers with units, curves, and the structures behind them.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from pydantic import Field, PositiveFloat, PositiveInt, field_validator

from pescape.config import Strict

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


class PropertyConfig(Strict):
    """Base of the configuration of every property."""

    #: Fields that steer how it is computed but not what comes out, such as MPI ranks.
    incidental: ClassVar[frozenset[str]] = frozenset()

    name: str | None = Field(
        None, description="what the names of its values begin with; its kind if unset"
    )

    @field_validator("name")
    @classmethod
    def _identifier(cls, name: str | None) -> str | None:
        if name is not None and not name.isidentifier():
            raise ValueError("a name is made of letters, digits and underscores")
        return name

    @property
    def title(self) -> str:
        """What the names of its values begin with."""
        return self.name or str(getattr(self, "kind"))  # noqa: B009 (subclasses have it)

    @property
    @abstractmethod
    def value_names(self) -> tuple[str, ...]:
        """Names of the values it gives, known before anything is computed."""


class Relaxation(Strict):
    """When relaxations end."""

    fmax: PositiveFloat = Field(0.005, description="largest force left, eV/Å")
    steps: PositiveInt = Field(500, description="more mean that the property fails")


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
    marks
        Abscissae that have a name, such as points of high symmetry: (x, name).
    """

    x: Floats
    y: Floats
    x_label: str
    y_label: str
    marks: tuple[tuple[float, str], ...] = ()

    def __post_init__(self) -> None:
        _freeze(self, "x", "y")
        if self.x.ndim != 1 or self.x.shape != self.y.shape:
            raise ValueError(f"a curve has {self.x.shape} abscissae and {self.y.shape} ordinates")

    def to_json(self) -> dict[str, Any]:
        """Give what JSON can hold, all digits included."""
        return {
            "x": self.x.tolist(),
            "y": self.y.tolist(),
            "x_label": self.x_label,
            "y_label": self.y_label,
            "marks": [list(mark) for mark in self.marks],
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Curve:
        """Make the curve again that `to_json` described."""
        marks = tuple((float(x), str(name)) for x, name in content["marks"])
        return cls(**{**content, "marks": marks})


@dataclass(frozen=True, eq=False)
class Grid:
    """A function of two variables, to draw as a map.

    Parameters
    ----------
    x, y
        Shapes (n,) and (m,).
    z
        Shape (m, n).
    x_label, y_label, z_label
        Of the axes and of the colours, with units.
    """

    x: Floats
    y: Floats
    z: Floats
    x_label: str
    y_label: str
    z_label: str

    def __post_init__(self) -> None:
        _freeze(self, "x", "y", "z")
        if self.z.shape != (*self.y.shape, *self.x.shape):
            raise ValueError(f"a grid of {self.y.shape} × {self.x.shape} has {self.z.shape} values")

    def to_json(self) -> dict[str, Any]:
        """Give what JSON can hold, all digits included."""
        content = dict(vars(self))
        return content | {name: content[name].tolist() for name in ("x", "y", "z")}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Grid:
        """Make the grid again that `to_json` described."""
        return cls(**content)


def _freeze(of: object, *names: str) -> None:
    """Make fields arrays of its own that nobody changes."""
    for name in names:
        array = np.array(getattr(of, name), dtype=float)
        array.setflags(write=False)
        object.__setattr__(of, name, array)


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
        Those the numbers belong to, with energies and forces; ``info["name"]`` tells them apart,
        tags tell their atoms apart.
    curves
        To plot, by name.
    settings
        The configuration, as JSON holds it.
    warnings
        What a reader of the numbers has to know.
    grids
        To draw as maps, by name.
    """

    kind: str
    values: Mapping[str, Value]
    structures: tuple[Atoms, ...] = ()
    curves: Mapping[str, Curve] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    grids: Mapping[str, Grid] = field(default_factory=dict)

    def __post_init__(self) -> None:
        wrong = [name for name, one in self.values.items() if not np.isfinite(one.value)]
        if wrong:
            raise PropertyError(f"{self.kind}: {wrong[0]} is not a finite number")

    def to_json(self) -> dict[str, Any]:
        """Give what JSON can hold, all digits included."""
        return {
            "kind": self.kind,
            "values": {k: {"value": v.value, "unit": v.unit} for k, v in self.values.items()},
            "curves": {name: curve.to_json() for name, curve in self.curves.items()},
            "grids": {name: grid.to_json() for name, grid in self.grids.items()},
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
            curves={name: Curve.from_json(one) for name, one in content["curves"].items()},
            grids={name: Grid.from_json(one) for name, one in content["grids"].items()},
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
    tags = {"tags": atoms.get_tags().tolist()} if atoms.has("tags") else {}
    return tags | {
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
        content["numbers"],
        content["positions"],
        cell=content["cell"],
        pbc=content["pbc"],
        tags=content.get("tags"),
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
