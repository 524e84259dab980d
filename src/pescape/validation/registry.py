"""All properties by name."""

from __future__ import annotations

import functools
import operator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Discriminator, Tag

from pescape.config import tag_of
from pescape.figures.crystals import (
    draw_elastic,
    draw_eos,
    draw_formation,
    draw_lattice,
    draw_melting,
    draw_phonons,
    draw_surfaces,
)
from pescape.figures.soundness import draw_checks, draw_cost, draw_pairs
from pescape.validation.properties.crystal.elastic import ElasticConfig, elastic
from pescape.validation.properties.crystal.eos import EosConfig, eos
from pescape.validation.properties.crystal.lattice import LatticeConfig, lattice
from pescape.validation.properties.crystal.phonons import PhononsConfig, phonons
from pescape.validation.properties.defects.interstitial import InterstitialConfig, interstitial
from pescape.validation.properties.defects.vacancies import (
    DivacancyConfig,
    VacancyConfig,
    divacancy,
    vacancy,
)
from pescape.validation.properties.heat.melting import MeltingConfig, melting
from pescape.validation.properties.heat.thermal import ThermalConfig, thermal
from pescape.validation.properties.paths.migration import (
    InterstitialMigrationConfig,
    VacancyMigrationConfig,
    interstitial_migration,
    vacancy_migration,
)
from pescape.validation.properties.paths.path_energies import PathEnergiesConfig, path_energies
from pescape.validation.properties.paths.vacancy_hop import VacancyHopConfig, vacancy_hop
from pescape.validation.properties.planes.stacking_faults import StackingFaultConfig, stacking_fault
from pescape.validation.properties.planes.surfaces import SurfaceConfig, surface
from pescape.validation.properties.soundness.cost import CostConfig, cost
from pescape.validation.properties.soundness.nve_drift import NveDriftConfig, nve_drift
from pescape.validation.properties.soundness.pair_curve import PairCurveConfig, pair_curve
from pescape.validation.properties.soundness.sanity import PhysicalityConfig, physicality

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pescape.figures import Drawing, Scene
    from pescape.validation.property import PropertyConfig, PropertyResult


@dataclass(frozen=True)
class Property:
    """A property that can be asked for.

    Parameters
    ----------
    config
        The model of its configuration; the default of its field ``kind`` is the name.
    compute
        With the engine ``"ase"`` it takes an ASE calculator and a configuration; with
        ``"lammps"`` a `LammpsModel`, a configuration and a folder that outlives a kill, in
        which it finds again what it has left there.
    version
        To be raised when equal configurations begin to give other numbers, so that kept
        results are computed anew.
    engine
        What computes it.
    seconds
        Roughly what it takes with a potential of some hundred parameters: the longest begin
        first, so that no worker is left with one of them in the end.
    heading
        What reports call it; its name in words if empty.
    draw
        Draws it. Without, or where it finds nothing to draw, curves and maps are drawn, or, if
        there are none, values as bars.
    """

    config: type[PropertyConfig]
    compute: Callable[..., PropertyResult]
    version: int = 1
    engine: Literal["ase", "lammps"] = "ase"
    seconds: float = 1.0
    heading: str = ""
    draw: Callable[[Scene], list[Drawing]] | None = None


#: All properties, in the order of reports.
PROPERTIES: dict[str, Property] = {
    "lattice": Property(LatticeConfig, lattice, heading="Lattice and phases", draw=draw_lattice),
    "eos": Property(EosConfig, eos, heading="Energy-volume curves", draw=draw_eos),
    "elastic": Property(
        ElasticConfig, elastic, version=2, heading="Elastic constants", draw=draw_elastic
    ),
    "pair_curve": Property(PairCurveConfig, pair_curve, heading="Pair curves", draw=draw_pairs),
    "vacancy": Property(VacancyConfig, vacancy, version=2, draw=draw_formation),
    "divacancy": Property(DivacancyConfig, divacancy, heading="Divacancies", draw=draw_formation),
    "interstitial": Property(
        InterstitialConfig, interstitial, heading="Self-interstitials", draw=draw_formation
    ),
    "vacancy_migration": Property(
        VacancyMigrationConfig, vacancy_migration, heading="Migration of the vacancy"
    ),
    "interstitial_migration": Property(
        InterstitialMigrationConfig, interstitial_migration, heading="Migration of interstitials"
    ),
    "vacancy_hop": Property(
        VacancyHopConfig, vacancy_hop, heading="Hops of vacancies in compounds"
    ),
    "path_energies": Property(
        PathEnergiesConfig, path_energies, heading="Energies along given paths"
    ),
    "phonons": Property(PhononsConfig, phonons, seconds=6.0, draw=draw_phonons),
    "surface": Property(SurfaceConfig, surface, heading="Surfaces", draw=draw_surfaces),
    "stacking_fault": Property(
        StackingFaultConfig, stacking_fault, seconds=20.0, heading="Stacking faults"
    ),
    "melting": Property(MeltingConfig, melting, engine="lammps", seconds=1000.0, draw=draw_melting),
    "thermal": Property(
        ThermalConfig,
        thermal,
        engine="lammps",
        seconds=20.0,
        heading="Thermal expansion and stability",
    ),
    "nve_drift": Property(
        NveDriftConfig, nve_drift, engine="lammps", seconds=9.0, heading="Energy drift"
    ),
    "physicality": Property(PhysicalityConfig, physicality, draw=draw_checks),
    "cost": Property(CostConfig, cost, engine="lammps", seconds=9.0, draw=draw_cost),
}


def _kind_tag(given: Any) -> str | None:  # noqa: ANN401 (whatever stands in the file)
    """Name the model that a table asks for."""
    kind = given.get("kind") if isinstance(given, dict) else getattr(given, "kind", None)
    return tag_of(PROPERTIES[kind].config) if kind in PROPERTIES else None


if TYPE_CHECKING:
    AnyProperty = PropertyConfig
else:
    #: Any of the configurations, to pydantic.
    AnyProperty = Annotated[
        functools.reduce(
            operator.or_,
            (Annotated[one.config, Tag(tag_of(one.config))] for one in PROPERTIES.values()),
        ),
        Discriminator(
            _kind_tag,
            custom_error_type="kind",
            custom_error_message=f"kind has to be one of {', '.join(PROPERTIES)}",
        ),
    ]


def known_values(configs: Sequence[PropertyConfig]) -> tuple[str, ...]:
    """Give the full names of all values that properties will give."""
    return tuple(f"{one.title}.{name}" for one in configs for name in one.value_names)


def check_names(configs: Sequence[PropertyConfig]) -> None:
    """See to it that values of different properties have different names."""
    titles = [one.title for one in configs]
    twice = {title for title in titles if titles.count(title) > 1}
    if twice:
        raise ValueError(
            f"two properties are called {twice.pop()!r}: tell them apart by name = ..."
        )
