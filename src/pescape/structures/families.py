"""Named families of structures to start from, as strict configuration tables.

Each table builds one family: crystals, deformed crystals, point defects, surfaces, stacking
faults, dislocation dipoles, or what files hold. They are what Luo et al. start molecular
dynamics from (their table 1), for any element and lattice parameters.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Discriminator, Tag

from pescape.config import tag_of
from pescape.structures.base import Family
from pescape.structures.crystals import (
    CrystalConfig,
    CrystalStart,
    DeformedStart,
    FilesStart,
    named_structures,
)
from pescape.structures.defects import (
    DislocationDipoleStart,
    DivacancyStart,
    InterstitialStart,
    VacancyStart,
)
from pescape.structures.planes import StackingFaultStart, SurfaceStart

__all__ = [
    "AnyStart",
    "CrystalConfig",
    "CrystalStart",
    "DeformedStart",
    "DislocationDipoleStart",
    "DivacancyStart",
    "Family",
    "FilesStart",
    "InterstitialStart",
    "StackingFaultStart",
    "StartConfig",
    "SurfaceStart",
    "VacancyStart",
    "named_structures",
]

_FAMILIES: dict[Any, type[Family]] = {
    "crystal": CrystalStart,
    "deformed": DeformedStart,
    "vacancy": VacancyStart,
    "divacancy": DivacancyStart,
    "interstitial": InterstitialStart,
    "surface": SurfaceStart,
    "stacking_fault": StackingFaultStart,
    "dislocation_dipole": DislocationDipoleStart,
    "files": FilesStart,
}


def _family_tag(given: Any) -> str | None:  # noqa: ANN401 (whatever stands in the file)
    """Name the model that a table asks for; crystals are the default."""
    family = given.get("family", "crystal") if isinstance(given, dict) else given.family
    # A list or a table in its place has no hash.
    return tag_of(_FAMILIES[family]) if isinstance(family, str) and family in _FAMILIES else None


#: Any of the families, to Python; `StartConfig` below is the same to pydantic.
AnyStart = (
    CrystalStart
    | DeformedStart
    | VacancyStart
    | DivacancyStart
    | InterstitialStart
    | SurfaceStart
    | StackingFaultStart
    | DislocationDipoleStart
    | FilesStart
)

StartConfig = Annotated[
    Annotated[CrystalStart, Tag(tag_of(CrystalStart))]
    | Annotated[DeformedStart, Tag(tag_of(DeformedStart))]
    | Annotated[VacancyStart, Tag(tag_of(VacancyStart))]
    | Annotated[DivacancyStart, Tag(tag_of(DivacancyStart))]
    | Annotated[InterstitialStart, Tag(tag_of(InterstitialStart))]
    | Annotated[SurfaceStart, Tag(tag_of(SurfaceStart))]
    | Annotated[StackingFaultStart, Tag(tag_of(StackingFaultStart))]
    | Annotated[DislocationDipoleStart, Tag(tag_of(DislocationDipoleStart))]
    | Annotated[FilesStart, Tag(tag_of(FilesStart))],
    Discriminator(
        _family_tag,
        custom_error_type="family",
        custom_error_message=f"family has to be one of {', '.join(_FAMILIES)}",
    ),
]
