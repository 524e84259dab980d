"""Any ASE calculator: by import path, or made by a function of the user's file."""

from __future__ import annotations

import importlib
import importlib.metadata
import inspect
import re
import sys
import types
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pescape.errors import ConfigError
from pescape.files import file_sha256, sha256
from pescape.labelling.reference import Reference

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pescape.labelling.reference import LabelPolicy, ReferenceConfig

EXTERNAL = False
LOGS = ("*.txt", "*.log", "*.out", "*.pwo", "OUTCAR")


def reference(source: ReferenceConfig, folder: Path, policy: LabelPolicy) -> Reference:
    """Refer to a calculator; the content of a user's file is part of the identity.

    Parameters
    ----------
    source, folder, policy
        See `reference_from`.
    """
    path = str(source.calculator)
    if source.recipe == "file":
        return _file_reference(path, source.options, folder, policy)
    _import(path)
    return Reference(
        name=path.replace(":", "."),
        version=version_of(re.split("[.:]", path, maxsplit=1)[0]),
        recipe="calculator",
        settings={"calculator": path, "options": source.options},
        policy=policy,
    )


def check(reference: Reference, elements: Sequence[str]) -> None:
    """Look whether the class or function is there; what it needs, nobody knows.

    Parameters
    ----------
    reference, elements
        See `Reference.check`.
    """
    del elements
    _maker(reference)


def make(reference: Reference, directory: Path | None) -> Any:  # noqa: ANN401 (a calculator)
    """Make the calculator, or the context manager that gives it.

    Parameters
    ----------
    reference, directory
        See `Reference.session`.
    """
    maker = _maker(reference)
    # Changes of a later attempt are among what is local.
    options = {**reference.settings["options"], **reference.local}
    options.pop("path", None)
    if directory is not None and "directory" in inspect.signature(maker).parameters:
        options.setdefault("directory", str(directory))
    return maker(**options)


def version_of(package: str) -> str:
    """Name the installed version of a Python package.

    Parameters
    ----------
    package
        The name it is imported by.
    """
    distributions = importlib.metadata.packages_distributions().get(package, [package])
    try:
        return f"{distributions[0]} {importlib.metadata.version(distributions[0])}"
    except importlib.metadata.PackageNotFoundError:
        return f"{package} (version unknown)"


def _maker(reference: Reference) -> Any:  # noqa: ANN401 (a class or function)
    if reference.recipe == "file":
        path = Path(reference.local["path"])
        return _from_file(path, reference.settings["sha256"], reference.name)
    return _import(reference.settings["calculator"])


def _import(path: str) -> Any:  # noqa: ANN401 (a calculator's class)
    module, separator, name = path.partition(":")
    if not separator:
        raise ConfigError(
            f"reference {path!r} is no import path MODULE:CLASS, such as ase.calculators.emt:EMT"
        )
    try:
        return getattr(importlib.import_module(module), name)
    except ImportError as error:
        raise ConfigError(
            f"reference {path!r}: module {module!r} not importable: {error}"
        ) from error
    except AttributeError as error:
        raise ConfigError(f"reference {path!r}: {module!r} has no {name!r}") from error


def _file_reference(
    name: str, options: dict[str, Any], folder: Path, policy: LabelPolicy
) -> Reference:
    file, _, function = name.partition(":")
    path = (folder / file).resolve()
    if not path.is_file():
        raise ConfigError(f"reference {name!r}: no file {path}")
    digest = file_sha256(path)
    named = f"{path.name}:{function}"
    _from_file(path, digest, named)
    return Reference(
        name=named,
        version=f"{path.name} sha256 {digest[:12]}",
        recipe="file",
        settings={"sha256": digest, "function": function, "options": options},
        local={"path": str(path)},
        policy=policy,
    )


def _from_file(path: Path, digest: str, name: str) -> Any:  # noqa: ANN401 (a function or class)
    """Run a file of the user's and take a function out of it."""
    content = path.read_bytes()
    if sha256(content) != digest:
        raise ConfigError(f"reference {path} has changed meanwhile: start again")
    function = name.partition(":")[2]
    module = types.ModuleType(f"pescape_reference_{digest[:12]}")
    module.__file__ = str(path)
    sys.modules[module.__name__] = module  # where dataclasses and pickle look for it
    try:
        exec(compile(content, str(path), "exec"), module.__dict__)  # noqa: S102 (the user's own)
    except Exception as error:
        raise ConfigError(f"reference {path}: {type(error).__name__}: {error}") from error
    if not callable(getattr(module, function, None)):
        raise ConfigError(f"reference {path}: no function {function!r} there; name it FILE.py:NAME")
    return getattr(module, function)
