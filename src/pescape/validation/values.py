"""Known values from files: TOML or JSON tables of numbers that somebody else has found."""

from __future__ import annotations

import difflib
import json
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field, field_validator

from pescape.config import Strict, load_config, validate
from pescape.errors import ConfigError, DataError
from pescape.validation.study import KnownValue, Standard

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# A name this close to a known one is taken for a slip of the pen.
_CLOSE = 0.85


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
            near = _nearest(unknown[0], names, 0.0)
            raise ConfigError(
                f"{self.path}: none of its values is computed here; the nearest to "
                f"{unknown[0]!r} is {near!r}"
            )
        slips = {name: near for name in unknown if (near := _nearest(name, names, _CLOSE))}
        told = [
            f"{self.name}: {name!r} is no value of these properties; did you mean {near!r}?"
            for name, near in slips.items()
            if near not in self.content.values
        ]
        if rest := len(unknown) - len(told):
            count = len(self.content.values)
            told.append(f"{self.name}: {rest} of its {count} values are not computed here")
        return tuple(told)

    def standard(self, units: Mapping[str, str]) -> Standard:
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
        return Standard(self.name, self.content.source, known)


def _nearest(name: str, known: Sequence[str], cutoff: float) -> str | None:
    return next(iter(difflib.get_close_matches(name, known, n=1, cutoff=cutoff)), None)


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
