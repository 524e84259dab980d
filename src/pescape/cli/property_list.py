"""What ``pescape validate --list-properties`` shows: every kind of property and its keys."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from pydantic_core import PydanticUndefined

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

#: Keys that all properties have.
_COMMON = ("kind", "name")


def print_properties() -> None:
    """Print all kinds with their keys and defaults, as tables of a configuration."""
    from rich.markup import escape

    from pescape.cli.output import say
    from pescape.validation.registry import PROPERTIES

    for kind, one in PROPERTIES.items():
        told = " ".join((one.config.__doc__ or "").partition("\n\n")[0].split())
        engine = ", in LAMMPS" if one.engine == "lammps" else ""
        say(f"[bold]{kind}[/]{engine}: {escape(told)}")
        for name, field in one.config.model_fields.items():
            if name not in _COMMON:
                say(f"    {escape(_line(name, field))}")


def _line(name: str, field: FieldInfo) -> str:
    about = f"  # {field.description}" if field.description else ""
    return f"{name} = {_default(field)}{about}"


def _default(field: FieldInfo) -> str:
    """Write a default as TOML has it; dots where one has to be given or depends on others."""
    default = field.get_default(call_default_factory=True, validated_data={})
    if default is PydanticUndefined or default is None:
        return "..."
    if hasattr(default, "model_dump"):
        return "{ ... }"
    return json.dumps(default, default=str)
