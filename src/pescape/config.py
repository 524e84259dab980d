"""Strict TOML configuration: an unknown key is an error that names the nearest known one."""

from __future__ import annotations

import dataclasses
import sys
import types
import typing
from pathlib import Path
from typing import Any, TypeVar, cast

from pydantic import BaseModel, ConfigDict, ValidationError
from typing_extensions import Self

from pescape.errors import ConfigError, did_you_mean

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


class Strict(BaseModel):
    """Base of every configuration model: immutable, and nothing unknown is let through."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    def replace(self, **changes: object) -> Self:
        """Make a copy with other values, which are validated.

        Parameters
        ----------
        **changes
            Values by field.
        """
        return type(self).model_validate({**dict(self), **changes})


Model = TypeVar("Model", bound=Strict)


def load_config(path: Path | str, model: type[Model]) -> Model:
    """Read and validate a TOML file.

    Parameters
    ----------
    path
        The TOML file.
    model
        What it has to fit.

    Returns
    -------
    Model
        The validated configuration.

    Raises
    ------
    ConfigError
        Names the file and, one per line, each key at fault and what is allowed there.
    """
    return validate(read_toml(path), model, str(path), Path(path).parent)


def read_toml(path: Path | str) -> dict[str, Any]:
    """Read a TOML file; what goes wrong is a ConfigError that names it.

    Parameters
    ----------
    path
        The file.
    """
    path = Path(path)
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: is not UTF-8 text") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: not valid TOML: {error}") from error


def validate(
    content: dict[str, Any], model: type[Model], source: str, folder: Path | None = None
) -> Model:
    """Validate a configuration that is already parsed.

    Parameters
    ----------
    content
        The tables.
    model
        What they have to fit.
    source
        Names the configuration in errors.
    folder
        Where files that it names are looked for; the current folder if None. Models find it as
        ``folder`` in the context of their validators.
    """
    try:
        return model.model_validate(content, context={"folder": folder or Path()})
    except ValidationError as error:
        found = error.errors(include_url=False)
        # A container whose parts are at fault is at fault too, but that tells nothing new.
        told = [p for p in found if not any(_inside(q["loc"], p["loc"]) for q in found)]
        problems = [_explain(problem, model) for problem in told]
        raise ConfigError("\n".join(f"{source}: {problem}" for problem in problems)) from error


def _explain(problem: Any, model: type[Strict]) -> str:  # noqa: ANN401 (a pydantic ErrorDetails)
    where = [part for part in problem["loc"] if not _is_tag(part)]
    if problem["type"] in {"extra_forbidden", "unexpected_keyword_argument"}:
        known = _known_keys(model, problem["loc"][:-1])
        hint = did_you_mean(str(where[-1]), known, most=len(known))
        return f"unknown key {_dotted(where)!r}; {hint}"
    if problem["type"] == "missing":
        return f"key {_dotted(where)!r} is missing"
    message = problem["msg"].removeprefix("Value error, ")
    message = message[:1].lower() + message[1:]
    if not where:
        return message
    got = problem["input"]
    shown = "" if isinstance(got, (dict, list)) else f" (it is {got!r})"
    return f"{_dotted(where)}: {message}{shown}"


def _inside(where: tuple[str | int, ...], container: tuple[str | int, ...]) -> bool:
    return len(where) > len(container) and where[: len(container)] == container


def _is_tag(part: str | int) -> bool:
    """Pydantic puts names of union members, such as ``list[int]``, among the keys."""
    return isinstance(part, str) and any(bracket in part for bracket in "[(")


def _dotted(where: list[str | int]) -> str:
    text = ""
    for part in where:
        text += f"[{part + 1}]" if isinstance(part, int) else f".{part}"
    return text.lstrip(".")


def _known_keys(model: type, where: tuple[str | int, ...]) -> list[str]:
    """Keys that are known at a place inside a model."""
    models = [model]
    for part in where:
        if isinstance(part, int):
            continue
        if _is_tag(part):
            models = [found for found in models if part == tag_of(found)] or models
            continue
        inside = [
            inner
            for outer in models
            if part in (fields := _fields_of(outer))
            for inner in _models_in(fields[part])
        ]
        models = inside or models  # a key of a dict of models is the field of none
    return sorted({key for found in models for key in _fields_of(found)})


def tag_of(model: type) -> str:
    """Name a member of a union so that errors leave it out of the key.

    Parameters
    ----------
    model
        The member.
    """
    return f"{model.__name__}()"


def _fields_of(model: type) -> dict[str, Any]:
    """Annotations of the fields of a model or a dataclass, by name."""
    if issubclass(model, BaseModel):
        return {name: field.annotation for name, field in model.model_fields.items()}
    return {field.name: field.type for field in dataclasses.fields(cast("Any", model))}


def _models_in(annotation: Any) -> list[type]:  # noqa: ANN401 (any type expression)
    if isinstance(annotation, type) and not isinstance(annotation, types.GenericAlias):
        known = issubclass(annotation, Strict) or dataclasses.is_dataclass(annotation)
        return [annotation] if known else []
    return [found for part in typing.get_args(annotation) for found in _models_in(part)]
