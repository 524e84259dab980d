"""All properties: each file here registers its own, in the order of reports."""

from __future__ import annotations

import functools
import importlib
import operator
import warnings
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BeforeValidator, Discriminator, Tag

from pescape.config import tag_of
from pescape.validation.property import PROPERTIES, PropertyConfig, current_name

#: Files that register properties, in the order of reports: a new one is a line here.
_FILES = (
    "crystal.lattice",
    "crystal.elastic",
    "soundness.pair_curve",
    "soundness.pair_push",
    "defects.point_defects",
    "paths.migration",
    "paths.path_energies",
    "crystal.phonons",
    "planes.surfaces",
    "planes.stacking_faults",
    "heat.melting",
    "heat.thermal",
    "soundness.nve_drift",
    "soundness.sanity",
    "soundness.cost",
)
for _file in _FILES:
    importlib.import_module(f"{__name__}.{_file}")


def _with_current_kind(given: Any) -> Any:  # noqa: ANN401 (whatever stands in the file)
    """Let a table ask for a property by a former name, which the names of its values keep."""
    kind = given.get("kind") if isinstance(given, dict) else None
    if not isinstance(kind, str) or (today := current_name(kind)) == kind:
        return given
    text = f"kind = {kind!r} is called {today!r} now; its values keep the name {kind!r} here"
    warnings.warn(text, FutureWarning, stacklevel=2)
    return {"name": kind, **given, "kind": today}


def _kind_tag(given: Any) -> str | None:  # noqa: ANN401 (whatever stands in the file)
    """Name the model that a table asks for."""
    kind = given.get("kind") if isinstance(given, dict) else getattr(given, "kind", None)
    return tag_of(PROPERTIES[kind].config) if kind in PROPERTIES else None


if TYPE_CHECKING:
    AnyProperty = PropertyConfig
else:
    _MODELS = (Annotated[one.config, Tag(tag_of(one.config))] for one in PROPERTIES.values())
    #: The settings of any property, to pydantic.
    AnyProperty = Annotated[
        functools.reduce(operator.or_, _MODELS),
        Discriminator(
            _kind_tag,
            custom_error_type="kind",
            custom_error_message=f"kind has to be one of {', '.join(PROPERTIES)}",
        ),
        BeforeValidator(_with_current_kind),
    ]
