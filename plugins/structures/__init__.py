"""Builders of structures to start from."""

from pescape.plugins.structures.crystals import (
    LATTICES,
    crystal,
    rattled,
    shortest_distance,
    strained_and_rattled,
)

__all__ = ["LATTICES", "crystal", "rattled", "shortest_distance", "strained_and_rattled"]
