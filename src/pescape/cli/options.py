"""Commands made of functions: settings models become options, and files give options too.

A command is a function whose parameters are arguments and options, as typer takes them. A
parameter that is a settings model becomes one option for each field of the model, with the
field's description and default; one that is a `ConfigFile` becomes ``CONFIG``, ``--config`` and
``--set``. All other commands take ``--config FILE`` too: a TOML file that sets their options.
"""

from __future__ import annotations

import copy
import dataclasses
import functools
import inspect
import itertools
import re
import types
import typing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Union

import typer
from pydantic import TypeAdapter, ValidationError

from pescape.config import Strict, read_toml, tomllib, validate
from pescape.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pydantic.fields import FieldInfo

    from pescape.config import Model

_CONTEXT, _CONFIG = "own_context", "config_file"
_METAVARS = {int: "N", float: "X", str: "TEXT", Path: "PATH", list[str]: "TEXT"}
_KEY = re.compile(r"([^.\[\]]+)((?:\[\d+\])*)")


@dataclasses.dataclass(frozen=True)
class ConfigFile:
    """A command's configuration: a TOML file, and what the command line changes in it.

    Parameters
    ----------
    path
        The TOML file.
    changes
        Values by dotted key, such as ``{"fit.iterations": 500}``.
    """

    path: Path
    changes: dict[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def folder(self) -> Path:
        """The folder beside which files named in the configuration are looked for."""
        return self.path.parent

    def load(self, model: type[Model], **options: object) -> Model:
        """Read and validate the configuration.

        Parameters
        ----------
        model
            What the file has to fit.
        **options
            Values of options of the same name as a key; None leaves the file's value.

        Raises
        ------
        ConfigError
            Names the file and each key at fault.
        """
        content = read_toml(self.path)
        given = {key: value for key, value in options.items() if value is not None}
        for key, value in (self.changes | given).items():
            _put(content, key, value)
        return validate(content, model, str(self.path), self.folder)


def command(function: Callable[..., None]) -> Callable[..., None]:
    """Make a function that typer takes as a command.

    Parameters
    ----------
    function
        Its parameters may be settings models and a `ConfigFile`, beside what typer knows.
    """
    models: dict[str, type[Strict]] = {}
    shown: list[inspect.Parameter] = [_keyword(_CONTEXT, typer.Context)]
    from_file = several = None
    for parameter in inspect.signature(function, eval_str=True).parameters.values():
        annotation = parameter.annotation
        bare, extras = _bare(annotation)
        if bare is ConfigFile:
            from_file = parameter.name
            several = next(
                (one.name for one in shown if _bare(one.annotation)[0] == list[str]), None
            )
            shown = [one.replace(default=None) if one.name == several else one for one in shown]
            shown += _config_parameters(extras)
        elif isinstance(bare, type) and issubclass(bare, Strict):
            models[parameter.name] = bare
            shown += [_option(name, field) for name, field in bare.model_fields.items()]
        else:
            shown.append(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY))
    if from_file is None:
        shown.append(_keyword(_CONFIG, _file_option(_take_options), None))

    @functools.wraps(function)
    def run(**given: Any) -> None:  # noqa: ANN401 (of any option)
        context = given.pop(_CONTEXT)
        config = given.pop(_CONFIG, None)
        for name, model in models.items():
            values = {field: given.pop(field) for field in model.model_fields}
            given[name] = _settings(model, values, context, config)
        if from_file is not None:
            argument, changes = given.pop("config"), given.pop("set_values")
            if several is not None:
                # The last of several arguments is CONFIG, unless that is named by --config.
                last = [str(argument)] if argument and config else []
                given[several] = [*(given[several] or ()), *last]
                argument = None if config else argument
                if not given[several]:
                    raise typer.BadParameter(f"{several} are missing")
            given[from_file] = _config_file(argument, config, changes)
        function(**given)

    shown = [_compact(one) for one in shown]
    required = [one for one in shown if one.default is inspect.Parameter.empty]
    signature = inspect.Signature([*required, *(one for one in shown if one not in required)])
    run.__signature__ = signature  # type: ignore[attr-defined]
    run.__annotations__ = {name: one.annotation for name, one in signature.parameters.items()}
    return run


def _compact(parameter: inspect.Parameter) -> inspect.Parameter:
    """Name an option's type in few letters: helps have to fit into 80 columns."""
    kind, extras = _bare(parameter.annotation)
    info = next((one for one in extras if isinstance(one, typer.models.OptionInfo)), None)
    if info is None or info.metavar is not None:
        return parameter
    parts = [one for one in typing.get_args(kind) if one is not type(None)]
    inner = parts[0] if typing.get_origin(kind) in (Union, types.UnionType) else kind
    info = copy.copy(info)
    if typing.get_origin(inner) is typing.Literal:
        *others, last = typing.get_args(inner)
        info.metavar = "NAME"
        info.help = f"{info.help} One of: {', '.join(others)}, {last}."
    else:
        info.metavar = _METAVARS.get(inner)
    return parameter.replace(annotation=Annotated[kind, info])


def _keyword(name: str, annotation: object, default: object = inspect.Parameter.empty) -> Any:  # noqa: ANN401
    kind = inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(name, kind, annotation=annotation, default=default)


def _bare(annotation: Any) -> tuple[Any, tuple[Any, ...]]:  # noqa: ANN401 (any type expression)
    if typing.get_origin(annotation) is Annotated:
        bare, *extras = typing.get_args(annotation)
        return bare, tuple(extras)
    return annotation, ()


# Options of settings models ------------------------------------------------------------------


def _option(name: str, field: FieldInfo) -> inspect.Parameter:
    """Make the option of a field: its description, its default, its type as typer knows types."""
    extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
    kind, listed = _shown_type(field.annotation)
    metavar = str(extra["metavar"]) if "metavar" in extra else listed
    default = None if field.is_required() else field.get_default(call_default_factory=True)
    if isinstance(default, tuple) and listed is not None:
        default = ",".join(map(str, default))
    # What is off unless asked for has no opposite.
    flags = [f"--{name.replace('_', '-')}"] if default is False else []
    info = typer.Option(*flags, help=_sentence(field.description or ""), metavar=metavar)
    if default is None and typing.get_origin(kind) not in (Union, types.UnionType):
        return _keyword(name, Annotated[kind, info])
    return _keyword(name, Annotated[kind, info], default)


def _sentence(description: str) -> str:
    text = description[:1].upper() + description[1:] if description[:2].islower() else description
    return text if text.endswith((".", ")")) or not text else f"{text}."


def _shown_type(annotation: Any) -> tuple[Any, str | None]:  # noqa: ANN401
    """Give the type an option has on the command line; lists are text with commas."""
    annotation, _ = _bare(annotation)
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (Union, types.UnionType):
        inner, listed = _shown_type(next(one for one in arguments if one is not type(None)))
        return inner | None, listed
    if origin is tuple and len(arguments) == 2 and arguments[1] is Ellipsis:
        return str, "A,B" if _bare(arguments[0])[0] is str else "N,N"
    if origin is tuple:
        return tuple[tuple(_bare(one)[0] for one in arguments)], None  # type: ignore[misc]
    return annotation, None


def _settings(
    model: type[Strict], values: dict[str, Any], context: typer.Context, config: Path | None
) -> Strict:
    """Validate a model's options; errors name the option, or the file and its key."""
    given = {}
    for name, value in values.items():
        kind = _shown_type(model.model_fields[name].annotation)[1]
        parts = [part.strip() for part in value.split(",")] if kind and value else value
        given[name] = parts
    try:
        return model.model_validate(given, context={"folder": Path()})
    except ValidationError as error:
        problems = []
        # Of a list with a wrong part pydantic says too that it is short.
        first = {str(one["loc"][:1]): one for one in reversed(error.errors(include_url=False))}
        for one in reversed(first.values()):
            name = str(one["loc"][0]) if one["loc"] else ""
            text = one["msg"].removeprefix("Value error, ")
            if name and _is_from_file(context, name):
                name = f"{config}: {name}"
            elif name:
                name = f"--{name.replace('_', '-')} {_as_typed(values[name])}"
            problems.append(f"{name}: {text[:1].lower()}{text[1:]}" if name else text)
        raise ConfigError("\n".join(problems)) from error


def _is_from_file(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name == "DEFAULT_MAP"


def _as_typed(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, (tuple, list)) else str(value)


# Configuration files -------------------------------------------------------------------------


def _file_option(callback: Callable[..., Any]) -> object:
    text = "TOML file that sets options by name, such as min_dist = 2.0; flags win."
    option = typer.Option("--config", metavar="FILE", callback=callback, is_eager=True, help=text)
    return Annotated[Union[Path, None], option]  # noqa: UP007 (typer reads it)


def _take_options(context: typer.Context, config: Path | None) -> Path | None:
    """Take the values of a TOML file as defaults of the options of a command."""
    if config is None:
        return None
    known = {one.name: one for one in context.command.params if one.name not in (_CONFIG, "help")}
    kinds = typing.get_type_hints(context.command.callback, include_extras=True)
    defaults: dict[str, Any] = {}
    for key, value in read_toml(config).items():
        name = key.replace("-", "_")
        if name not in known:
            hint = did_you_mean(key, known)
            raise ConfigError(f"{config}: unknown key {key!r}; {hint}")
        defaults[name] = _as_option(value, kinds.get(name, str), f"{config}: {key}", config.parent)
    context.default_map = defaults
    return config


def _as_option(value: object, annotation: Any, where: str, folder: Path) -> Any:  # noqa: ANN401
    kind, _ = _bare(annotation)
    if kind in (str, Union[str, None]) and isinstance(value, list):  # noqa: UP007
        return ",".join(map(str, value))
    try:
        found = TypeAdapter(kind).validate_python(value)
    except ValidationError as error:
        text = error.errors(include_url=False)[0]["msg"]
        raise ConfigError(f"{where}: {text[:1].lower()}{text[1:]} (it is {value!r})") from error
    return folder / found if isinstance(found, Path) else found


def _config_parameters(extras: Sequence[Any]) -> list[inspect.Parameter]:
    argument = next(iter(extras), typer.Argument(help="TOML file."))
    file = Annotated[
        Union[Path, None],  # noqa: UP007 (typer reads it)
        typer.Option("--config", metavar="FILE", help="Another way to name CONFIG."),
    ]
    text = 'A value in place of the one in CONFIG, such as "fit.iterations=500".'
    values = Annotated[
        Union[list[str], None],  # noqa: UP007
        typer.Option("--set", metavar="KEY=VALUE", help=text),
    ]
    return [
        _keyword("config", Annotated[Union[Path, None], argument], None),  # noqa: UP007
        _keyword(_CONFIG, file, None),
        _keyword("set_values", values, None),
    ]


def _config_file(argument: Path | None, option: Path | None, texts: list[str] | None) -> ConfigFile:
    path = argument or option
    if path is None:
        raise typer.BadParameter("a TOML file is missing: CONFIG or --config FILE")
    if argument is not None and option is not None:
        raise typer.BadParameter(f"two TOML files, {argument} and {option}: give one of them")
    changes = {}
    for text in texts or ():
        key, separator, value = text.partition("=")
        if not separator or not key.strip():
            raise typer.BadParameter(f"--set {text}: KEY=VALUE expected, as in fit.iterations=500")
        changes[key.strip()] = _toml_value(value.strip())
    return ConfigFile(path, changes)


def _toml_value(text: str) -> Any:  # noqa: ANN401 (any TOML value)
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _put(content: dict[str, Any], key: str, value: object) -> None:
    """Set a value by its dotted key; tables of a list are counted from one: ``md.start[1].a``."""
    steps: list[Any] = []
    for name, indices in _KEY.findall(key):
        steps += [name, *(int(one) - 1 for one in re.findall(r"\d+", indices))]
    place: Any = content
    try:
        for step, following in itertools.pairwise(steps):
            if isinstance(place, dict) and isinstance(following, str):
                place.setdefault(step, {})
            place = place[step]
        if isinstance(place, dict) != isinstance(steps[-1], str):
            place = None  # a name for a list, or a number for a table
        place[steps[-1]] = value
    except (KeyError, IndexError, TypeError) as error:
        raise ConfigError(f"--set {key}: there is no such place in the configuration") from error
