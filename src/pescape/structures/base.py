"""What settings models of generators share, their registry, and the building of structures.

A generator is a ``[[structures]]`` table. Those with a ``builder`` leave something to chance or
hand structures on; those with a ``family`` are systematic, and dynamics may start from them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, TypeVar

import numpy as np
from pydantic import Field, PositiveFloat, PositiveInt, model_validator
from typing_extensions import override

from pescape.config import Strict
from pescape.data.configurations import as_stored, read_configurations
from pescape.errors import SOURCE, ConfigError, DataError
from pescape.plugins.structures import BulkCrystal, crystal

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ase import Atoms

    #: Builds one structure, or raises ValueError where that is not possible.
    Maker = Callable[[], Atoms]
    #: Builds a structure at a ratio to the crystal's own volume.
    Plan = Callable[[float], Atoms]

Repeat = tuple[PositiveInt, PositiveInt, PositiveInt]
Repeats = Annotated[tuple[Repeat, ...], Field(min_length=1)]
Lattice = Literal["bcc", "diamond", "fcc", "hcp", "omega", "sc"]


class Generator(Strict):
    """A table that structures are built from.

    Those that derive from it have a field ``builder``, or derive from `Family`; they give
    `makers` and are put into the registry by `register`.
    """

    #: Field that names the generator.
    key: ClassVar[Literal["builder", "family"]] = "builder"

    @property
    def kind(self) -> str:
        """Name of the generator."""
        return str(getattr(self, self.key))

    @property
    def elements_named(self) -> set[str]:
        """Elements that the table itself names; its files may hold others."""
        return set()

    def makers(self, seed: np.random.SeedSequence, folder: Path) -> list[Maker]:
        """Prepare the structures.

        Parameters
        ----------
        seed
            Where chance comes from.
        folder
            Where the files are that the table names.

        Returns
        -------
        list of callable
            Each builds one structure, or raises ValueError.
        """
        raise NotImplementedError

    def build(self, folder: Path = Path(), seed: int = 0) -> list[Atoms]:
        """Build all structures.

        Parameters
        ----------
        folder
            Where the files are that the table names.
        seed
            Equal seeds give equal structures.

        Returns
        -------
        list of Atoms
            ``info["record"]``, where there is one, builds a structure again. Those of families
            have ``info["name"]`` and ``info["family"]``.

        Raises
        ------
        ConfigError
            A structure cannot be built.
        """
        try:
            return [maker() for maker in self.makers(np.random.SeedSequence(seed), folder)]
        except ValueError as error:
            raise ConfigError(f"{self.key} {self.kind}: {error}") from error


#: Generators by key and name.
GENERATORS: dict[str, dict[str, type[Generator]]] = {"builder": {}, "family": {}}

_Model = TypeVar("_Model", bound=Generator)


def register(model: type[_Model]) -> type[_Model]:
    """Class decorator: let ``[[structures]]`` tables name a generator.

    Parameters
    ----------
    model
        A `Generator` whose field ``builder`` or ``family`` is a ``Literal`` of its name.
    """
    annotation: Any = model.model_fields[model.key].annotation
    (name,) = annotation.__args__
    GENERATORS[model.key][name] = model
    return model


class CrystalConfig(Strict):
    """An elemental crystal, in one or several supercells."""

    element: str
    lattice: Lattice
    a: PositiveFloat = Field(description="lattice parameter, Å")
    c_over_a: PositiveFloat | None = Field(None, description="of hcp and omega")
    cubic: bool = Field(False, description="conventional instead of primitive cell")
    repeat: Repeats = ((1, 1, 1),)

    def supercells(self) -> list[Atoms]:
        """Build the supercells; each knows its name."""
        return [named_supercell(self, repeat) for repeat in self.repeat]


class Family(Generator):
    """A systematic generator: it leaves nothing to chance.

    Those that derive from it give `plans`: what builds each structure, one by one.
    """

    key: ClassVar[Literal["builder", "family"]] = "family"

    family: str
    volumes: Annotated[tuple[PositiveFloat, ...], Field(min_length=1)] = Field(
        (1.0,), description="ratios to the crystal's own volume"
    )
    count: PositiveInt | None = Field(
        None,
        description="how many, evenly spread over what there is; all if unset. Each is built "
        "at all volumes",
    )

    @property
    def elements_named(self) -> set[str]:
        """Elements that the table itself names; its files may hold others."""
        found = {getattr(self, name, None) for name in ("element", "extra_element")}
        return {element for element in found if element is not None}

    def plans(self, folder: Path) -> list[Plan]:
        """Prepare the structures at any volume.

        Parameters
        ----------
        folder
            Where the files are that the table names.
        """
        raise NotImplementedError

    @override
    def makers(self, seed: np.random.SeedSequence, folder: Path) -> list[Maker]:
        plans = self._kept(self.plans(folder))
        return [partial(self._made, plan, volume) for plan in plans for volume in self.volumes]

    def check(self) -> None:
        """Raise ValueError where the table asks for what cannot be built."""
        self._kept(self.plans(Path()))

    def _kept(self, plans: list[Plan]) -> list[Plan]:
        """Thin the structures out to the middles of `count` equal parts."""
        if self.count is None:
            return plans
        if self.count > len(plans):
            raise ValueError(f"count = {self.count}, but there are {len(plans)} structures")
        return [plans[int((k + 0.5) * len(plans) / self.count)] for k in range(self.count)]

    def _made(self, plan: Plan, volume: float) -> Atoms:
        atoms = plan(volume)
        atoms.info["name"] += f", volume × {volume:g}"
        atoms.info["family"] = self.kind
        return atoms

    @model_validator(mode="after")
    def _possible(self) -> Family:
        """Find wrong sizes, sites, planes, … while the table is read."""
        for name, value in self:
            if value == ():
                raise ValueError(f"{name} = [] is empty")
        self.check()
        return self


class BulkFamily(Family):
    """A family in a crystal of one element."""

    element: str
    lattice: Lattice
    a: PositiveFloat = Field(description="lattice parameter, Å")
    c_over_a: PositiveFloat | None = Field(None, description="of hcp and omega")

    @property
    def host(self) -> BulkCrystal:
        """The perfect crystal."""
        return BulkCrystal(self.element, self.lattice, self.a, self.c_over_a)

    def check(self) -> None:
        """Raise ValueError where crystal or table ask for what cannot be built."""
        self.host.atoms()
        super().check()

    def _plan(self, function: Callable[..., Atoms], *given: Any, **named: Any) -> Plan:  # noqa: ANN401 (arguments of builders)
        return lambda volume: function(self.host.scaled(volume), *given, **named)


def named_supercell(table: Any, repeat: Repeat) -> Atoms:  # noqa: ANN401 (two models)
    """Build a crystal that knows its name.

    Parameters
    ----------
    table
        With the fields of `CrystalConfig`.
    repeat
        Repetitions along the three cell vectors.
    """
    atoms = crystal(
        table.element,
        table.lattice,
        table.a,
        c_over_a=table.c_over_a,
        cubic=table.cubic,
        repeat=repeat,
    )
    atoms.info["name"] = f"{table.lattice} {table.element}{len(atoms)}"
    return atoms


def named_structures(path: Path) -> list[Atoms]:
    """Read structures from a file; those without a name are named by file and frame.

    Parameters
    ----------
    path
        A file in any format that ASE reads.
    """
    found = read_configurations(path)
    for index, atoms in enumerate(found):
        atoms.info.pop(SOURCE)
        atoms.info.setdefault("name", path.name if len(found) == 1 else f"{path.name} {index}")
    return found


@dataclass(frozen=True, eq=False)
class BuiltStructure:
    """A structure that a generator was asked for.

    Parameters
    ----------
    recipe, index
        Which generator, and which of its structures, from 0.
    atoms
        The structure; None where it could not be built.
    failure
        Why not.
    """

    recipe: int
    index: int
    atoms: Atoms | None
    failure: str = ""


def build_structures(
    generators: Sequence[Generator],
    seed: int | np.random.SeedSequence,
    folder: Path | str = ".",
) -> list[BuiltStructure]:
    """Build the structures of all generators as far as possible.

    Parameters
    ----------
    generators
        What to build, or to derive from.
    seed
        Equal seeds give equal structures, each generator's whatever the others are.
    folder
        Where the files are that the generators name.

    Returns
    -------
    list of BuiltStructure
        In the generators' order. One that cannot be built, such as a packing without room, has
        a `failure`. Positions have eight decimals, all that extxyz files keep.

    Raises
    ------
    ConfigError
        None of the structures of a generator can be built.
    """
    sequence = seed if isinstance(seed, np.random.SeedSequence) else np.random.SeedSequence(seed)
    built: list[BuiltStructure] = []
    children = sequence.spawn(len(generators))
    for number, (one, child) in enumerate(zip(generators, children, strict=True)):
        makers = one.makers(child, Path(folder))
        found = [_built(number, index, maker) for index, maker in enumerate(makers)]
        if all(structure.atoms is None for structure in found):
            raise ConfigError(f"structures[{number + 1}] ({one.kind}): {found[0].failure}")
        built += found
    return built


def _built(recipe: int, index: int, maker: Maker) -> BuiltStructure:
    try:
        return BuiltStructure(recipe, index, as_stored(maker()))
    except ValueError as error:
        return BuiltStructure(recipe, index, None, str(error))


def build_all(
    generators: Sequence[Generator],
    seed: int | np.random.SeedSequence,
    folder: Path | str = ".",
) -> list[Atoms]:
    """Build the structures of all generators.

    Parameters
    ----------
    generators, seed, folder
        As of `build_structures`.

    Returns
    -------
    list of Atoms
        ``info["parent"]`` names what a structure derives from, and ``info["record"]``, where
        there is one, builds it again.

    Raises
    ------
    DataError
        A structure cannot be built.
    """
    atoms = []
    for built in build_structures(generators, seed, folder):
        if built.atoms is None:
            raise DataError(
                f"structures[{built.recipe + 1}], structure {built.index + 1}: {built.failure}"
            )
        atoms.append(built.atoms)
    return atoms
