"""Initial structures from ``[[structures]]`` tables."""

from pescape.structures.base import BuiltStructure, build_all, build_structures
from pescape.structures.chance import Range
from pescape.structures.tables import Recipe, StartConfig, StructuresConfig

__all__ = [
    "BuiltStructure",
    "Range",
    "Recipe",
    "StartConfig",
    "StructuresConfig",
    "build_all",
    "build_structures",
]
