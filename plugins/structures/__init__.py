"""Builders of structures to start from, and limits of what is worth sampling."""

from pescape.plugins.structures.contacts import overlaps, radii_of
from pescape.plugins.structures.crystals import (
    LATTICES,
    crystal,
    rattled,
    rattled_crystal,
    shortest_distance,
    strained_and_rattled,
)
from pescape.plugins.structures.kpoints import kpoint_grid
from pescape.plugins.structures.limits import (
    EnergyForceLimits,
    PairLimits,
    beyond,
    force_energy_limits,
    split_by_limits,
    violations,
)
from pescape.plugins.structures.limits_plot import plot_limits
from pescape.plugins.structures.packing import PackingError, random_packing
from pescape.plugins.structures.polymorphs import Mutations, polymorph_derived
from pescape.plugins.structures.records import replay
from pescape.plugins.structures.spheres import (
    SphereMetrics,
    recommended_box,
    sphere_metrics,
    table_a1,
)

__all__ = [
    "LATTICES",
    "EnergyForceLimits",
    "Mutations",
    "PackingError",
    "PairLimits",
    "SphereMetrics",
    "beyond",
    "crystal",
    "force_energy_limits",
    "kpoint_grid",
    "overlaps",
    "plot_limits",
    "polymorph_derived",
    "radii_of",
    "random_packing",
    "rattled",
    "rattled_crystal",
    "recommended_box",
    "replay",
    "shortest_distance",
    "sphere_metrics",
    "split_by_limits",
    "strained_and_rattled",
    "table_a1",
    "violations",
]
