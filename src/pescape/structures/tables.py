"""The ``[[structures]]`` tables: unions of all registered generators, told apart by their key."""

from __future__ import annotations

import operator
from functools import reduce
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Discriminator, Field, Tag

# A module of further generators is imported here: its models register themselves.
import pescape.structures.chance
import pescape.structures.families  # noqa: F401
from pescape.config import Strict, tag_of
from pescape.structures.base import GENERATORS, Family, Generator

_FAMILY = "family()"


def _tag(given: Any, key: str, default: str) -> str | None:  # noqa: ANN401 (whatever the file holds)
    """Name the model that a table asks for; None of an unknown one."""
    name = given.get(key, default) if isinstance(given, dict) else getattr(given, key)
    # A list or a table in its place has no hash.
    known = GENERATORS[key].get(name) if isinstance(name, str) else None
    return None if known is None else tag_of(known)


def _family_tag(given: Any) -> str | None:  # noqa: ANN401
    """Name the model of a family; crystals are the default."""
    return _tag(given, "family", "crystal")


def _generator_tag(given: Any) -> str | None:  # noqa: ANN401
    """Name the model of any generator; rattled crystals are the default."""
    if isinstance(given, Family):
        return _FAMILY
    if isinstance(given, dict) and "family" in given and "builder" not in given:
        return _FAMILY
    return _tag(given, "builder", "rattled")


if TYPE_CHECKING:
    #: Type of a field that holds any family, and of one that holds any generator.
    StartConfig = Family
    Recipe = Generator
else:

    def _union(key, tag, message, others=()):  # noqa: ANN001, ANN202 (no types, but their union)
        tagged = [Annotated[one, Tag(tag_of(one))] for one in GENERATORS[key].values()]
        discriminator = Discriminator(tag, custom_error_type=key, custom_error_message=message)
        return Annotated[reduce(operator.or_, [*tagged, *others]), discriminator]

    StartConfig = _union(
        "family", _family_tag, f"family has to be one of {', '.join(GENERATORS['family'])}"
    )
    *_first, _last = (repr(name) for name in GENERATORS["builder"])
    Recipe = _union(
        "builder",
        _generator_tag,
        f"builder has to be {', '.join(_first)} or {_last}",
        [Annotated[StartConfig, Tag(_FAMILY)]],
    )


class StructuresConfig(Strict):
    """The configuration of ``pescape structures``."""

    seed: int = 0
    structures: Annotated[tuple[Recipe, ...], Field(min_length=1)]
