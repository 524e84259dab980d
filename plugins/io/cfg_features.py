"""What reading and writing of ``.cfg`` files agree on: names, and values in Feature lines."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

VOIGT = ("xx", "yy", "zz", "yz", "xz", "xy")

# Keys of Feature lines that hold what .cfg has no place for.
SPECIES = "pescape.species"
PBC = "pescape.pbc"
CELL = "pescape.cell"
ARRAY = "pescape.array."
RESULT = "pescape.result."

POSITIONS = ("cartes_x", "cartes_y", "cartes_z")
SCALED = ("direct_x", "direct_y", "direct_z")
FORCES = ("fx", "fy", "fz")
MAGMOMS = ("magmom_x", "magmom_y", "magmom_z")
INTEGER_COLUMNS = ("id", "type", "ghost")
# Per-atom columns that are results in ASE.
RESULT_COLUMNS = {"site_en": "energies", "charge": "charges"}


def decode(text: str) -> Any:  # noqa: ANN401
    """Turn the text of a Feature into what it was: JSON if it is that, else a string."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return text
    if isinstance(value, list):
        try:
            array = np.array(value)
        except ValueError:
            return value
        return array if array.dtype.kind in "ifbU" and array.size else value
    return value


def key_text(name: str) -> str:
    """Write a Feature's name as one word, or in quotes when it is none."""
    plain = name and not name.startswith('"') and len(name.split()) == 1 and name.isprintable()
    return name if plain and name == name.strip() else json.dumps(name)


def encode(value: Any) -> str:  # noqa: ANN401
    """Write strings as they are, unless they would be read as something else."""
    if isinstance(value, str):
        plain = value and value == value.strip() and value.isprintable()
        return value if plain and decode(value) is value else json.dumps(value)
    return json.dumps(value, default=_plain)


def _plain(value: Any) -> Any:  # noqa: ANN401
    if isinstance(value, (np.ndarray, np.generic)):
        return value.tolist()
    raise ValueError(f"a value of type {type(value).__name__} cannot be written to a .cfg file")
