"""Builders of structures to start from, and limits of what is worth sampling."""

from pescape.plugins.structures.crystals import (
    LATTICES,
    BulkCrystal,
    crystal,
    repeat_for,
    shortest_distance,
)
from pescape.plugins.structures.defects import (
    VacancyPair,
    dipole_repeat,
    dislocation_dipole,
    divacancy,
    divacancy_pairs,
    interstitial,
    interstitial_sites,
    vacancy,
)
from pescape.plugins.structures.deformed import (
    DEFORMATIONS,
    deformation_grid,
    deformed,
    rattled,
    rattled_crystal,
)
from pescape.plugins.structures.limits import (
    EnergyForceLimits,
    PairLimits,
    beyond,
    force_energy_limits,
    split_by_limits,
    violations,
)
from pescape.plugins.structures.packing import (
    PackingError,
    SphereMetrics,
    random_packing,
    recommended_box,
    sphere_metrics,
    table_a1,
)
from pescape.plugins.structures.polymorphs import Mutations, polymorph_derived
from pescape.plugins.structures.records import (
    builder,
    replay,
    structure_from_dict,
    tabulated_builders,
)
from pescape.plugins.structures.solid_solutions import solid_solution
from pescape.plugins.structures.spheres import overlaps, radii_of
from pescape.plugins.structures.stacking_faults import (
    SLIP_PLANES,
    displacement_grid,
    stacking_fault,
)
from pescape.plugins.structures.surfaces import LOW_INDEX_PLANES, Cut, cut, cuts, stack_for, surface

__all__ = [
    "DEFORMATIONS",
    "LATTICES",
    "LOW_INDEX_PLANES",
    "SLIP_PLANES",
    "BulkCrystal",
    "Cut",
    "EnergyForceLimits",
    "Mutations",
    "PackingError",
    "PairLimits",
    "SphereMetrics",
    "VacancyPair",
    "beyond",
    "builder",
    "crystal",
    "cut",
    "cuts",
    "deformation_grid",
    "deformed",
    "dipole_repeat",
    "dislocation_dipole",
    "displacement_grid",
    "divacancy",
    "divacancy_pairs",
    "force_energy_limits",
    "interstitial",
    "interstitial_sites",
    "overlaps",
    "polymorph_derived",
    "radii_of",
    "random_packing",
    "rattled",
    "rattled_crystal",
    "recommended_box",
    "repeat_for",
    "replay",
    "shortest_distance",
    "solid_solution",
    "sphere_metrics",
    "split_by_limits",
    "stack_for",
    "stacking_fault",
    "structure_from_dict",
    "surface",
    "table_a1",
    "tabulated_builders",
    "vacancy",
    "violations",
]
