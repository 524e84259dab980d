"""Reference calculators by value: any of ASE's by import path, and ready recipes."""

from __future__ import annotations

import contextlib
import importlib
import inspect
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pescape.config import load_config
from pescape.files import fingerprint
from pescape.labelling.config import ReferenceConfig

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ase.calculators.calculator import BaseCalculator

#: What knows how to make the calculators of each recipe; imported when first needed.
_RECIPES = {
    "eam": "pescape.labelling.recipes.eam",
    "gpaw": "pescape.labelling.recipes.gpaw",
    "espresso": "pescape.labelling.recipes.espresso",
    "vasp": "pescape.labelling.recipes.vasp",
    "calculator": "pescape.labelling.recipes.imported",
    "file": "pescape.labelling.recipes.imported",
}


@dataclass(frozen=True)
class LabelPolicy:
    """What is done about calculations that fail.

    Parameters
    ----------
    timeout
        Seconds that one attempt may take; then the program is killed with all it started.
        None: any time.
    attempts
        Most attempts at one label.
    retry
        Changes of the calculator's options at the second attempt, the third, …; the last
        entry serves all further ones.
    max_force
        Largest norm of a force that is believed, eV/Å.
    energy_limits
        Lowest and highest energy per atom that is believed, eV.
    """

    timeout: float | None = None
    attempts: int = 2
    retry: tuple[dict[str, Any], ...] = ()
    max_force: float | None = None
    energy_limits: tuple[float, float] | None = None

    def changes(self, attempt: int) -> dict[str, Any]:
        """Give the changed options of an attempt, counted from 1."""
        if attempt == 1 or not self.retry:
            return {}
        return self.retry[min(attempt - 2, len(self.retry) - 1)]


@dataclass(frozen=True)
class Reference:
    """A reference calculator, by value: it travels to other processes.

    Parameters
    ----------
    name
        How data sets call it.
    version
        Of the code behind it, where it can be told before a calculation.
    recipe
        ``"eam"``, ``"gpaw"``, ``"espresso"``, ``"vasp"``, ``"calculator"`` or ``"file"``.
    settings
        Everything its results depend on, besides the code.
    local
        What does not change converged results: files and commands of this machine, ways to
        self-consistency.
    policy
        What is done about failures.
    """

    name: str
    version: str
    recipe: str
    settings: dict[str, Any] = field(default_factory=dict)
    local: dict[str, Any] = field(default_factory=dict)
    policy: LabelPolicy = LabelPolicy()

    @property
    def identity(self) -> str:
        """Fingerprint that tells labels of this reference from all others."""
        return fingerprint(self.recipe, self.version, self.settings)

    @property
    def external(self) -> bool:
        """Whether another program does the work."""
        return bool(self._module.EXTERNAL)

    @property
    def cores(self) -> int:
        """Cores that the MPI ranks of its program take."""
        return int(self.local.get("ranks", 1))

    @property
    def logs(self) -> tuple[str, ...]:
        """Names or patterns of the text files worth keeping, the most telling first."""
        return tuple(self._module.LOGS)

    def check(self, elements: Iterable[str] = ()) -> None:
        """Look whether programs and files are there, before anything is computed.

        Parameters
        ----------
        elements
            Chemical symbols that will be met.

        Raises
        ------
        ConfigError
            Names what is missing and how to mend it.
        """
        self._module.check(self, sorted(set(elements)))

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

    @property
    def _module(self) -> Any:  # noqa: ANN401 (a module)
        return importlib.import_module(_RECIPES[self.recipe])

    def _make(self, directory: Path | None) -> Any:  # noqa: ANN401 (a calculator, or its context)
        return self._module.make(self, directory)


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
    policy = LabelPolicy(
        timeout=source.timeout,
        attempts=source.attempts,
        retry=source.retry,
        max_force=source.max_force,
        energy_limits=source.energy_limits,
    )
    module = importlib.import_module(_RECIPES[source.recipe])
    reference: Reference = module.reference(source, Path(folder), policy)
    return reference


def with_changes(reference: Reference, changes: dict[str, Any]) -> Reference:
    """Change what an attempt may change; the identity stays."""
    import dataclasses

    return dataclasses.replace(reference, local={**reference.local, **changes})


def accepts(maker: object, argument: str) -> bool:
    """Whether a class or function takes an argument of that name."""
    return argument in inspect.signature(maker).parameters  # type: ignore[arg-type]
