"""Records of how a structure was built, from which it can be built again bit by bit.

A function that builds structures is decorated with `builder`: its arguments go into the record
of what it builds, and `replay` calls it again with them.
"""

from __future__ import annotations

import functools
import importlib.metadata
import inspect
from dataclasses import asdict, dataclass, is_dataclass
from typing import TYPE_CHECKING, Any, ParamSpec

import numpy as np
from ase import Atoms

from pescape.files import sha256

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

#: Key of ``atoms.info`` that holds the record.
RECORD = "record"

#: Form of the records; a builder that comes to draw differently raises it.
_VERSION = 1

_Given = ParamSpec("_Given")


@dataclass(frozen=True)
class _Builder:
    """A builder, how its arguments are made from what records hold, and whether it is a table."""

    function: Callable[..., Atoms]
    rebuild: Mapping[str, Callable[[Any], Any]]
    tabulated: bool


@dataclass(frozen=True)
class _Note:
    """What a builder adds to the record."""

    done: Mapping[str, Any]
    arguments: Mapping[str, Any] | None


_BUILDERS: dict[str, _Builder] = {}


def builder(
    rebuild: Mapping[str, Callable[[Any], Any]] | None = None, *, tabulated: bool = False
) -> Callable[[Callable[_Given, Atoms]], Callable[_Given, Atoms]]:
    """Decorate a function so that what it builds has a record, which `replay` builds it from.

    The function's argument ``seed``, where it has one, is all that chance comes from. `note`
    lets it say more than its arguments.

    Parameters
    ----------
    rebuild
        By argument, makes it from what JSON holds of it; an `Atoms` or a dataclass needs this.
    tabulated
        Its arguments after the first, a parent, are the keys of a ``[[structures]]`` table.
    """

    def decorate(function: Callable[_Given, Atoms]) -> Callable[_Given, Atoms]:
        signature = inspect.signature(function)
        name = function.__name__

        @functools.wraps(function)
        def recorded(*args: _Given.args, **kwargs: _Given.kwargs) -> Atoms:
            atoms = function(*args, **kwargs)
            bound = signature.bind(*args, **kwargs)
            bound.apply_defaults()
            seed = bound.arguments.pop("seed", None)
            left = atoms.info.get(RECORD)
            noted = left if isinstance(left, _Note) else _Note({}, None)
            atoms.info[RECORD] = {
                "builder": name,
                "version": _VERSION,
                "seed": None if seed is None else _recorded_seed(seed),
                "arguments": _plain(noted.arguments or bound.arguments),
                "done": _plain(noted.done),
                "made_with": _made_with(),
                "fingerprint": _fingerprint(atoms),
            }
            return atoms

        _BUILDERS[name] = _Builder(recorded, rebuild or {}, tabulated)
        return recorded

    return decorate


def note(
    atoms: Atoms, done: Mapping[str, Any], arguments: Mapping[str, Any] | None = None
) -> Atoms:
    """Add to the record of a structure, which `builder` writes.

    Parameters
    ----------
    atoms
        The structure.
    done
        What chance chose, for people and statistics to read; replaying does not need it.
    arguments
        What to replay with, but for the seed, where it is not what the function was given.
    """
    atoms.info[RECORD] = _Note(done, arguments)
    return atoms


def tabulated_builders() -> tuple[Callable[..., Atoms], ...]:
    """List the builders whose arguments are the keys of a ``[[structures]]`` table."""
    return tuple(one.function for one in _BUILDERS.values() if one.tabulated)


def replay(record: Mapping[str, Any], *, check: bool = True) -> Atoms:
    """Build a structure again from its record.

    Parameters
    ----------
    record
        ``atoms.info["record"]`` of a structure made by one of our builders.
    check
        Compare the fingerprints of what was recorded and what was built.

    Returns
    -------
    Atoms
        Numbers, positions, cell and moments equal those of the recorded structure bit by bit;
        a file that rounded them (extxyz keeps eight decimals) does not change that.

    Raises
    ------
    ValueError
        The builder is not known, or the structure is not the recorded one: other versions of
        NumPy or of pescape may draw or round differently.
    """
    name = record.get("builder")
    if name not in _BUILDERS or record.get("version") != _VERSION:
        raise ValueError(
            f"record of builder {name!r}, version {record.get('version')!r}: replayed are "
            f"{', '.join(sorted(_BUILDERS))} of version {_VERSION}"
        )
    known = _BUILDERS[name]
    arguments = dict(record["arguments"])
    arguments |= {key: make(arguments[key]) for key, make in known.rebuild.items()}
    if record["seed"] is not None:
        arguments["seed"] = _seed_from_record(record["seed"])
    atoms = known.function(**arguments)
    found = atoms.info[RECORD]["fingerprint"]
    if check and found != record["fingerprint"]:
        raise ValueError(
            f"{name} built {found}, recorded is {record['fingerprint']}: it was built with "
            f"{record['made_with']}, replayed with {_made_with()}"
        )
    return atoms


def structure_from_dict(content: Mapping[str, Any]) -> Atoms:
    """Make the structure that a record holds as a parent.

    Parameters
    ----------
    content
        Numbers, positions (Å), cell (Å), periodicity, name and perhaps magnetic moments.
    """
    return Atoms(
        content["numbers"],
        positions=content["positions"],
        cell=content["cell"],
        pbc=content["pbc"],
        magmoms=content.get("magmoms"),
        info={"name": content["name"]},
    )


def structure_name(atoms: Atoms) -> str:
    """Look up the name a structure carries in ``info``; its formula if it has none.

    Parameters
    ----------
    atoms
        Any structure.
    """
    return str(atoms.info.get("name", atoms.get_chemical_formula()))


def generator(seed: int | np.random.SeedSequence) -> np.random.Generator:
    """Start the random numbers of a builder.

    Parameters
    ----------
    seed
        It is left as it is: the same one starts the same numbers again.
    """
    return np.random.Generator(np.random.PCG64(seed))


def _plain(value: Any) -> Any:  # noqa: ANN401 (arguments of builders)
    """Describe an argument as JSON can hold it; floats survive bit by bit."""
    if isinstance(value, Atoms):
        content = {
            "numbers": value.numbers.tolist(),
            "positions": value.positions.tolist(),
            "cell": value.cell.array.tolist(),
            "pbc": value.pbc.tolist(),
            "name": structure_name(value),
        }
        if value.has("initial_magmoms"):
            content["magmoms"] = value.get_initial_magnetic_moments().tolist()
        return content
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, (np.ndarray, np.generic)):
        return value.tolist()
    if isinstance(value, (list, tuple)):
        return [_plain(part) for part in value]
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items()}
    return value


def _fingerprint(atoms: Atoms) -> str:
    """Hash numbers, positions, cell, periodicity and moments, bit by bit."""
    values = [atoms.positions, atoms.cell.array, atoms.pbc]
    if atoms.has("initial_magmoms"):
        values.append(atoms.get_initial_magnetic_moments())
    numbers = np.asarray(atoms.numbers, dtype="<i8")
    return sha256(numbers, *(np.asarray(one, dtype="<f8") for one in values))[:32]


def _recorded_seed(seed: int | np.random.SeedSequence) -> int | dict[str, Any]:
    if not isinstance(seed, np.random.SeedSequence):
        return int(seed)
    return {"entropy": _plain(seed.entropy), "spawn_key": [int(key) for key in seed.spawn_key]}


def _seed_from_record(seed: int | Mapping[str, Any]) -> int | np.random.SeedSequence:
    if isinstance(seed, int):
        return seed
    return np.random.SeedSequence(seed["entropy"], spawn_key=tuple(seed["spawn_key"]))


def _made_with() -> dict[str, str]:
    return {"pescape": _version(), "numpy": np.__version__}


@functools.cache
def _version() -> str:
    return importlib.metadata.version("pescape")
