"""Doing the same for many things when some of them may fail."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, TypeVar

from pescape.validation.result import PropertyError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

Item = TypeVar("Item")
Found = TypeVar("Found")


def for_each(
    items: Mapping[str, Item], compute: Callable[[Item], Found]
) -> tuple[dict[str, Found], list[str]]:
    """Compute something of everything that it can be computed of.

    Parameters
    ----------
    items
        By name.
    compute
        Raises where there is nothing to give.

    Returns
    -------
    dict
        What was computed, by name.
    list of str
        Why others are missing.

    Raises
    ------
    PropertyError
        Nothing is left.
    """
    found: dict[str, Found] = {}
    told: list[str] = []
    for name, item in items.items():
        with _told(name, told):
            found[name] = compute(item)
    if not found:
        raise PropertyError(told[0])
    return found, told


@contextlib.contextmanager
def _told(name: str, told: list[str]) -> Iterator[None]:
    """Note what goes wrong."""
    try:
        yield
    except (OSError, MemoryError):  # another attempt may mend it
        raise
    except PropertyError as error:
        told.append(str(error))
    except Exception as error:  # noqa: BLE001 (calculators raise anything, as of elements)
        told.append(f"{name}: {str(error) or type(error).__name__}")
