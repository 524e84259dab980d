"""What a property is: its settings, what it gives, and how a file of `properties` registers it.

A property gives numbers with units, curves and maps to draw, and the structures behind them. A
new one is a file with a model of settings and a function under `register_property`, and a line
in `pescape.validation.properties`, which imports the file.
"""

from __future__ import annotations

import functools
from abc import abstractmethod
from collections.abc import Callable, Mapping  # noqa: TC003 (pydantic reads annotations)
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, TypeVar

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from numpy.typing import NDArray
from pydantic import (
    Field,
    PlainSerializer,
    PlainValidator,
    PositiveFloat,
    PositiveInt,
    TypeAdapter,
    field_validator,
)

from pescape.config import Strict

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from typing_extensions import Self

    from pescape.figures import Drawing, Scene

Compute = TypeVar("Compute", bound="Callable[..., PropertyResult]")


class PropertyError(Exception):
    """A property that a potential does not have: no minimum, not converged, unphysical."""


class Stored:
    """Base of dataclasses that JSON files hold, all digits included."""

    def to_json(self) -> dict[str, Any]:
        """Describe it as JSON can hold it."""
        content: dict[str, Any] = _adapter(type(self)).dump_python(self, mode="json", by_alias=True)
        return content

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """Make again what `to_json` described.

        Parameters
        ----------
        content
            As `to_json` gave it.
        """
        restored: Self = _adapter(cls).validate_python(content)
        return restored


_adapter: Callable[[Any], TypeAdapter[Any]] = functools.cache(TypeAdapter)


Floats = Annotated[
    NDArray[np.float64],
    PlainValidator(np.asarray),
    PlainSerializer(lambda array: array.tolist()),
]


@dataclass(frozen=True)
class Value:
    """A number and its unit, which is empty where there is none."""

    value: float
    unit: str = ""


@dataclass(frozen=True, eq=False)
class Curve(Stored):
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


@dataclass(frozen=True, eq=False)
class Grid(Stored):
    """A function of two variables, to draw as a map.

    Parameters
    ----------
    x, y
        Shapes (n,) and (m,).
    z
        Shape (m, n).
    x_label, y_label, z_label
        Of the axes and of the colors, with units.
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


def _freeze(of: object, *names: str) -> None:
    """Replace fields by read-only copies of their arrays."""
    for name in names:
        array = np.array(getattr(of, name), dtype=float)
        array.setflags(write=False)
        object.__setattr__(of, name, array)


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
    known = {name: content.get(name) for name in ("numbers", "positions", "cell", "pbc", "tags")}
    atoms = Atoms(**known, info={"name": content["name"]})
    results = {name: content[name] for name in ("energy", "forces") if content[name] is not None}
    if results:
        atoms.calc = SinglePointCalculator(atoms, **results)
    return atoms


@dataclass(frozen=True, eq=False)
class PropertyResult(Stored):
    """One property of one potential.

    Parameters
    ----------
    kind
        Which property, a name of `PROPERTIES`.
    values
        Numbers by name; a dot parts the levels of a name, as in ``hcp.c_over_a``.
    curves
        To plot, by name.
    grids
        To draw as maps, by name.
    structures
        Those the numbers belong to, with energies and forces; ``info["name"]`` tells them apart,
        tags tell their atoms apart.
    settings
        The configuration, as JSON holds it.
    warnings
        What a reader of the numbers has to know.
    """

    kind: str
    values: Mapping[str, Value]
    curves: Mapping[str, Curve] = field(default_factory=dict)
    grids: Mapping[str, Grid] = field(default_factory=dict)
    structures: tuple[
        Annotated[Atoms, PlainValidator(_restored), PlainSerializer(_described)], ...
    ] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        wrong = [name for name, one in self.values.items() if not np.isfinite(one.value)]
        if wrong:
            raise PropertyError(f"{self.kind}: {wrong[0]} is not a finite number")


class Relaxation(Strict):
    """When relaxations end."""

    fmax: PositiveFloat = Field(0.005, description="largest force left, eV/Å")
    steps: PositiveInt = Field(500, description="more mean that the property fails")


class PropertyConfig(Strict):
    """Base of the settings of every property; each has a field ``kind``, the property's name."""

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
    def kind_name(self) -> str:
        """Which property it is, a name of `PROPERTIES`."""
        return str(getattr(self, "kind"))  # noqa: B009 (subclasses have it)

    @property
    def title(self) -> str:
        """What the names of its values begin with."""
        return self.name or self.kind_name

    @property
    @abstractmethod
    def value_names(self) -> tuple[str, ...]:
        """Names of the values it gives, known before anything is computed."""

    def result(
        self,
        values: Mapping[str, Value],
        *,
        curves: Mapping[str, Curve] | None = None,
        grids: Mapping[str, Grid] | None = None,
        structures: Iterable[Atoms] = (),
        warnings: Iterable[str] = (),
    ) -> PropertyResult:
        """Make a result of what was computed with these settings.

        Parameters
        ----------
        values, curves, grids, structures, warnings
            As `PropertyResult` holds them.
        """
        return PropertyResult(
            kind=self.kind_name,
            values=values,
            curves=curves or {},
            grids=grids or {},
            structures=tuple(structures),
            settings=self.model_dump(mode="json"),
            warnings=tuple(warnings),
        )


def known_values(configs: Iterable[PropertyConfig]) -> tuple[str, ...]:
    """Give the full names of all values that properties will give.

    Parameters
    ----------
    configs
        Of the properties.
    """
    return tuple(f"{one.title}.{name}" for one in configs for name in one.value_names)


def check_names(configs: Sequence[PropertyConfig]) -> None:
    """Refuse properties whose values would have the same names.

    Parameters
    ----------
    configs
        Of the properties.
    """
    titles = [one.title for one in configs]
    twice = {title for title in titles if titles.count(title) > 1}
    if twice:
        raise ValueError(
            f"two properties are called {twice.pop()!r}: tell them apart by name = ..."
        )


@dataclass(frozen=True)
class Property:
    """A property that can be asked for.

    Parameters
    ----------
    config
        The model of its settings; the default of its field ``kind`` is the property's name.
    compute
        With the engine ``"ase"`` it takes an ASE calculator and the settings; with ``"lammps"`` a
        `LammpsModel`, the settings and a folder that outlives a kill, in which it finds again what
        it has left there.
    heading
        What reports call it; made of the name if empty.
    version
        To be raised when equal settings begin to give other numbers, so that kept results are
        computed anew.
    engine
        What computes it.
    seconds
        Roughly what it takes with a potential of some hundred parameters: the longest begin
        first, so that no worker is left with one of them in the end.
    draw
        Draws it. Without, or where it finds nothing to draw, curves and maps are drawn, or, if
        there are none, values as bars.
    suite_phases
        Phases beside the crystal itself of which a ready-made suite computes it too, as
        ``KIND_LATTICE``. To which crystals it applies is said by the model, which refuses others.
    former_names
        Names that files of before may still call it.
    """

    config: type[PropertyConfig]
    compute: Callable[..., PropertyResult]
    heading: str = ""
    version: int = 1
    engine: Literal["ase", "lammps"] = "ase"
    seconds: float = 1.0
    draw: Callable[[Scene], list[Drawing]] | None = None
    suite_phases: tuple[str, ...] = ()
    former_names: tuple[str, ...] = ()


#: All properties by name, in the order of reports; `pescape.validation.properties` fills it.
PROPERTIES: dict[str, Property] = {}


def register_property(
    config: type[PropertyConfig],
    **options: Any,  # noqa: ANN401 (the other fields of `Property`)
) -> Callable[[Compute], Compute]:
    """Register a property by decorating the function that computes it.

    Parameters
    ----------
    config
        The model of the property's settings.
    options
        The other fields of `Property`, as far as they differ from their defaults.
    """

    def register(compute: Compute) -> Compute:
        PROPERTIES[config.model_fields["kind"].default] = Property(config, compute, **options)
        return compute

    return register


def current_name(name: str) -> str:
    """Give the name of today for the name of a property or value in a file of before.

    Parameters
    ----------
    name
        Such as ``physicality.passed``, which is ``sanity.passed`` now; others stay as they are.
    """
    head, dot, rest = name.partition(".")
    for today, one in PROPERTIES.items():
        if head in one.former_names:
            return f"{today}{dot}{rest}"
    return name
