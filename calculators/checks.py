"""Checks of what potentials are made of: elements and arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from ase.data import atomic_numbers, chemical_symbols

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray


def element_names(species: Sequence[str]) -> tuple[str, ...]:
    """Return a list of element symbols as a tuple.

    Parameters
    ----------
    species
        Names of elements; whether there are such elements is not checked.

    Raises
    ------
    TypeError
        It is a string, or holds something else than strings.
    """
    if isinstance(species, str):
        raise TypeError(f"species must be a list of elements, not the string {species!r}")
    if not all(isinstance(name, str) for name in species):
        raise TypeError(f"species must be element symbols, not {list(species)}")
    return tuple(species)


def checked_elements(species: Sequence[str]) -> tuple[str, ...]:
    """Return a list of elements as a tuple, each one known and named once.

    Parameters
    ----------
    species
        Element symbols; there may be none.

    Raises
    ------
    ValueError
        Names an element that is unknown, or tells that one appears twice.
    """
    names = element_names(species)
    unknown = [name for name in names if atomic_numbers.get(name, 0) < 1]
    if unknown:
        raise ValueError(f"unknown element {unknown[0]!r} among the species {list(names)}")
    if len(set(names)) != len(names):
        raise ValueError(f"an element appears twice among the species {list(names)}")
    return names


def types_among(species: Sequence[str], numbers: ArrayLike, called: str) -> NDArray[np.int32]:
    """Return the species of atoms, shape (n,).

    Parameters
    ----------
    species
        Elements of species 0, 1, ...
    numbers
        Atomic numbers, shape (n,).
    called
        What messages call the potential.

    Raises
    ------
    ValueError
        Names an atom of another element.
    """
    table = np.full(len(chemical_symbols), -1, dtype=np.int32)
    table[[atomic_numbers[name] for name in species]] = np.arange(len(species))
    types: NDArray[np.int32] = table[np.asarray(numbers)]
    if types.min(initial=0) < 0:
        atom = int(np.argmin(types))
        raise ValueError(
            f"atom {atom} is {chemical_symbols[np.asarray(numbers)[atom]]}, but "
            f"{called} is for {' '.join(species)}"
        )
    return types


def frozen(
    value: ArrayLike, shape: tuple[int, ...], name: str, dtype: type = np.float64
) -> NDArray[Any]:
    """Return a read-only copy of an array of finite numbers.

    Parameters
    ----------
    value
        The numbers.
    shape
        The shape they must have; -1 stands for any size.
    name
        What messages call it.
    dtype
        Type of the copy.

    Raises
    ------
    ValueError
        The shape is another, or a number is not finite.
    """
    array: NDArray[Any] = np.array(value, dtype=dtype, order="C")
    fits = array.ndim == len(shape) and all(
        want in (-1, have) for want, have in zip(shape, array.shape, strict=True)
    )
    if not fits:
        raise ValueError(f"{name} has shape {array.shape}, not {shape}")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} holds numbers that are not finite")
    array.flags.writeable = False
    return array
