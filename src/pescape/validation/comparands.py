"""What is validated and what it is compared with, from what a command line names."""

from __future__ import annotations

import dataclasses
import difflib
from pathlib import Path
from typing import TYPE_CHECKING

from pescape.calculators.mtp import MTPotential
from pescape.config import read_toml
from pescape.errors import ConfigError
from pescape.labelling import reference_from
from pescape.validation.sources import PotentialFile
from pescape.validation.values import KnownValues, read_values, shipped_values

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pescape.labelling import Reference

POTENTIAL_SUFFIXES = (".mtp", ".almtp", ".bpnn", ".amp")
_CALCULATORS = "eam:FILE, MODULE:CLASS, FILE.py:FUNCTION or a TOML file of a calculator"


def source_from(text: str, species: Sequence[str] = ()) -> PotentialFile | Reference:
    """Find what computes.

    Parameters
    ----------
    text
        A potential's file or folder, or a calculator as `reference_from` takes it; with
        ``NAME=`` before it, tables call it so.
    species
        Elements in order, for files that name none.

    Raises
    ------
    ConfigError
        It is neither.
    """
    name, given = _named(text)
    found = _potential(given, name, species) or _calculator(given, name)
    if found is None:
        raise ConfigError(
            f"{given}: neither a potential ({', '.join(POTENTIAL_SUFFIXES)} or the folder of a "
            f"network) nor a calculator ({_CALCULATORS})"
        )
    return found


def standard_from(
    text: str, species: Sequence[str] = ()
) -> PotentialFile | Reference | KnownValues:
    """Find what potentials are compared with.

    Parameters
    ----------
    text
        What `source_from` takes, a TOML or JSON file of values, or the name of one that comes
        with the package; with ``NAME=`` before it, tables call it so.
    species
        Elements in order, for files that name none.

    Raises
    ------
    ConfigError
        It is none of these.
    """
    name, given = _named(text)
    shipped = shipped_values()
    if given in shipped:
        return read_values(shipped[given], name)
    if given.endswith(".json") or (given.endswith(".toml") and "values" in read_toml(given)):
        return read_values(given, name)
    found = _potential(given, name, species) or _calculator(given, name)
    if found is None:
        near = difflib.get_close_matches(given, shipped, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise ConfigError(
            f"{given}: no reference of that name; {hint}It may be one of "
            f"{', '.join(shipped)}, a TOML or JSON file of values, a potential or a calculator "
            f"({_CALCULATORS})"
        )
    return found


def _named(text: str) -> tuple[str | None, str]:
    """Part ``NAME=`` from what it names."""
    name, equals, rest = text.partition("=")
    if not equals or Path(text).exists() or "/" in name:
        return None, text
    if not name or not rest:
        raise ConfigError(f"{text!r}: NAME=PATH was expected")
    return name, rest


def _potential(given: str, name: str | None, species: Sequence[str]) -> PotentialFile | None:
    path = Path(given)
    if path.suffix not in POTENTIAL_SUFFIXES and not path.is_dir():
        return None
    found = PotentialFile.of(path, name or path.resolve().stem)
    if path.suffix not in (".mtp", ".almtp"):
        return found
    potential = MTPotential.read(path)
    if potential.species:
        return found
    if len(species) != potential.species_count:
        raise ConfigError(
            f"{path}: names no elements, of which it has {potential.species_count}: give them in "
            "order, as in --species Zr,O"
        )
    return dataclasses.replace(found, species=tuple(species))


def _calculator(given: str, name: str | None) -> Reference | None:
    if given.endswith(".toml") or ":" in given:
        found = reference_from(given)
        return found if name is None else dataclasses.replace(found, name=name)
    return None
