"""Records of how a structure was built, from which it can be built again bit by bit."""

from __future__ import annotations

import functools
import hashlib
import importlib
import importlib.metadata
from typing import TYPE_CHECKING, Any

import numpy as np
from ase import Atoms

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Key of ``atoms.info`` that holds the record.
RECORD = "record"

#: Form of the records; a builder that comes to draw differently raises it.
VERSION = 1

_BUILDERS = {
    "deformed": "pescape.plugins.structures.deformed",
    "dislocation_dipole": "pescape.plugins.structures.dislocations",
    "divacancy": "pescape.plugins.structures.point_defects",
    "interstitial": "pescape.plugins.structures.point_defects",
    "polymorph_derived": "pescape.plugins.structures.polymorphs",
    "random_packing": "pescape.plugins.structures.packing",
    "rattled_crystal": "pescape.plugins.structures.crystals",
    "stacking_fault": "pescape.plugins.structures.stacking_faults",
    "surface": "pescape.plugins.structures.surfaces",
    "vacancy": "pescape.plugins.structures.point_defects",
}


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
    if name not in _BUILDERS or record.get("version") != VERSION:
        raise ValueError(
            f"record of builder {name!r}, version {record.get('version')!r}: replayed are "
            f"{', '.join(_BUILDERS)} of version {VERSION}"
        )
    arguments = dict(record["arguments"])
    if "parent" in arguments:
        arguments["parent"] = structure_from_dict(arguments["parent"])
    if "host" in arguments:
        hosts = importlib.import_module("pescape.plugins.structures.crystals")
        arguments["host"] = hosts.BulkCrystal(**arguments["host"])
    if record["seed"] is not None:
        arguments["seed"] = _seed_from_record(record["seed"])
    builder = getattr(importlib.import_module(_BUILDERS[name]), name)
    atoms = builder(**arguments)
    found = atoms.info[RECORD]["fingerprint"]
    if check and found != record["fingerprint"]:
        raise ValueError(
            f"{name} built {found}, recorded is {record['fingerprint']}: it was built with "
            f"{record['made_with']}, replayed with {_made_with()}"
        )
    return atoms


def attach_record(
    atoms: Atoms,
    builder: str,
    seed: int | np.random.SeedSequence | None,
    arguments: Mapping[str, Any],
    done: Mapping[str, Any],
) -> None:
    """Put the record of a structure into its ``info``.

    Parameters
    ----------
    atoms
        The finished structure.
    builder
        Name of the function that built it.
    seed
        What the function was given; None of a function that leaves nothing to chance.
    arguments
        All its other arguments, as JSON can hold them.
    done
        What chance chose, for people and statistics to read; replaying does not need it.
    """
    atoms.info[RECORD] = {
        "builder": builder,
        "version": VERSION,
        "seed": None if seed is None else _recorded_seed(seed),
        "arguments": dict(arguments),
        "done": dict(done),
        "made_with": _made_with(),
        "fingerprint": fingerprint(atoms),
    }


def fingerprint(atoms: Atoms) -> str:
    """Hash numbers, positions, cell, periodicity and moments, bit by bit."""
    content = hashlib.sha256()
    content.update(np.asarray(atoms.numbers, dtype="<i8").tobytes())
    for values in (atoms.positions, atoms.cell.array, atoms.pbc):
        content.update(np.asarray(values, dtype="<f8").tobytes())
    if atoms.has("initial_magmoms"):
        content.update(np.asarray(atoms.get_initial_magnetic_moments(), dtype="<f8").tobytes())
    return content.hexdigest()[:32]


def structure_to_dict(atoms: Atoms) -> dict[str, Any]:
    """Describe a structure as JSON can hold it; floats survive bit by bit."""
    content: dict[str, Any] = {
        "numbers": atoms.numbers.tolist(),
        "positions": atoms.positions.tolist(),
        "cell": atoms.cell.array.tolist(),
        "pbc": atoms.pbc.tolist(),
        "name": structure_name(atoms),
    }
    if atoms.has("initial_magmoms"):
        content["magmoms"] = atoms.get_initial_magnetic_moments().tolist()
    return content


def structure_from_dict(content: Mapping[str, Any]) -> Atoms:
    """Make the structure that `structure_to_dict` described."""
    return Atoms(
        content["numbers"],
        positions=content["positions"],
        cell=content["cell"],
        pbc=content["pbc"],
        magmoms=content.get("magmoms"),
        info={"name": content["name"]},
    )


def structure_name(atoms: Atoms) -> str:
    """Give the name a structure carries in ``info``, or its formula."""
    return str(atoms.info.get("name", atoms.get_chemical_formula()))


def generator(seed: int | np.random.SeedSequence) -> np.random.Generator:
    """Start the generator of a builder; the seed itself is left as it is."""
    return np.random.Generator(np.random.PCG64(seed))


def _recorded_seed(seed: int | np.random.SeedSequence) -> int | dict[str, Any]:
    if not isinstance(seed, np.random.SeedSequence):
        return int(seed)
    entropy = seed.entropy
    if entropy is None or isinstance(entropy, (int, np.integer)):
        plain: Any = None if entropy is None else int(entropy)
    else:
        plain = [int(word) for word in entropy]
    return {"entropy": plain, "spawn_key": [int(key) for key in seed.spawn_key]}


def _seed_from_record(seed: int | Mapping[str, Any]) -> int | np.random.SeedSequence:
    if isinstance(seed, int):
        return seed
    return np.random.SeedSequence(seed["entropy"], spawn_key=tuple(seed["spawn_key"]))


def _made_with() -> dict[str, str]:
    return {"pescape": _version(), "numpy": np.__version__}


@functools.cache
def _version() -> str:
    return importlib.metadata.version("pescape")
