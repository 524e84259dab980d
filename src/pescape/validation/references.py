"""What is validated and what it is compared with, from what a command line names.

References may be files of known values: TOML or JSON tables of numbers that others have found.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field, field_validator

from pescape.calculators.potential import load
from pescape.config import Strict, load_config, read_toml, validate
from pescape.errors import ConfigError, DataError, did_you_mean, nearest
from pescape.labelling import reference_from
from pescape.validation.sources import PotentialFile
from pescape.validation.study import KnownValue, ReferenceData

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pescape.labelling import Reference


# A name this close to a known one is taken for a slip of the pen.
_SLIP_SIMILARITY = 0.85


class Entry(Strict):
    """One value of a file."""

    value: float
    unit: str | None = Field(None, description="has to be that of the property, if given")
    source: str = Field("", description="where it is published, if not where all of them are")


class ValuesFile(Strict):
    """A file of values: whose they are, where they are published, and the numbers."""

    name: str = Field(description="how tables call it")
    source: str = Field(description="where the values are published")
    elements: tuple[str, ...] = Field((), description="of all that the values are about")
    values: dict[str, Entry] = Field(min_length=1, description="by full name, in quotes")

    @field_validator("values", mode="before")
    @classmethod
    def _flat(cls, values: object) -> object:
        """Take ``"elastic.C11" = 155.4``, ``elastic.C11 = 155.4`` and ``{ value = 155.4 }``."""
        return dict(_entries("", values)) if isinstance(values, dict) else values


def _entries(prefix: str, table: Mapping[str, Any]) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for key, given in table.items():
        name = f"{prefix}{key}"
        if not isinstance(given, dict):
            found.append((name, {"value": given}))
        elif not given or given.keys() & Entry.model_fields.keys():
            found.append((name, given))
        else:
            found += _entries(f"{name}.", given)
    return found


@dataclass(frozen=True)
class KnownValues:
    """A file of values, read.

    Parameters
    ----------
    name
        How tables call it.
    path
        Of the file, for messages.
    content
        What it holds.
    """

    name: str
    path: str
    content: ValuesFile

    def check(self, names: Sequence[str], elements: set[str]) -> tuple[str, ...]:
        """Compare what the file knows with what is going to be computed.

        Parameters
        ----------
        names
            Full names of the values of a study.
        elements
            That the study is about.

        Returns
        -------
        tuple of str
            What a reader has to know: names that look like slips, and how many are not of
            this study.

        Raises
        ------
        ConfigError
            None of the file's values is one of the study's, or they are of other elements.
        """
        others = elements - set(self.content.elements)
        if self.content.elements and others:
            raise ConfigError(
                f"{self.path}: its values are of {', '.join(self.content.elements)}, "
                f"the properties of {', '.join(sorted(elements))}"
            )
        unknown = [name for name in self.content.values if name not in names]
        if len(unknown) == len(self.content.values):
            near = nearest(unknown[0], names, 0.0)
            raise ConfigError(
                f"{self.path}: none of its values is computed here; the nearest to "
                f"{unknown[0]!r} is {near!r}"
            )
        slips = {name: near for name in unknown if (near := nearest(name, names, _SLIP_SIMILARITY))}
        warnings = [
            f"{self.name}: {name!r} is no value of these properties; did you mean {near!r}?"
            for name, near in slips.items()
            if near not in self.content.values
        ]
        if rest := len(unknown) - len(warnings):
            count = len(self.content.values)
            warnings.append(f"{self.name}: {rest} of its {count} values are not computed here")
        return tuple(warnings)

    def standard(self, units: Mapping[str, str]) -> ReferenceData:
        """Make it something to compare with.

        Parameters
        ----------
        units
            Of the values that were computed, by full name.

        Raises
        ------
        DataError
            A value is given in another unit.
        """
        for name, entry in self.content.values.items():
            if entry.unit is not None and name in units and entry.unit != units[name]:
                raise DataError(
                    f"{self.path}: {name} is given in {entry.unit!r}, "
                    f"the property in {units[name]!r}: convert it"
                )
        known = {
            name: KnownValue(entry.value, entry.source)
            for name, entry in self.content.values.items()
        }
        return ReferenceData(self.name, self.content.source, known)


def read_values(path: Path | str, name: str | None = None) -> KnownValues:
    """Read a file of values.

    Parameters
    ----------
    path
        TOML or JSON.
    name
        Instead of the one in the file.

    Raises
    ------
    ConfigError
        Names the file and the key at fault.
    """
    path = Path(path)
    if path.suffix == ".json":
        content = validate(_json(path), ValuesFile, str(path))
    else:
        content = load_config(path, ValuesFile)
    return KnownValues(name or content.name, str(path), content)


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise ConfigError(f"{path}: not valid JSON: {error}") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: an object with name, source and values was expected")
    return content


def shipped_values() -> dict[str, Path]:
    """Give the files of published values that come with the package, by name."""
    folder = Path(str(resources.files("pescape.validation") / "data"))
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}


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
        hint = did_you_mean(given, shipped, cutoff=0.6, most=0)
        raise ConfigError(
            f"{given}: no reference of that name; {hint + ' ' if hint else ''}It may be one of "
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
    potential = load(path)
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
