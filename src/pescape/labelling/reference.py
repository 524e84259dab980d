"""Reference calculators by value, and their configuration: ``[reference]`` of every TOML.

Any calculator of ASE's by import path, and ready recipes, with defaults for metals and their
oxides.
"""

from __future__ import annotations

import contextlib
import importlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from pescape.config import Strict, load_config
from pescape.files import fingerprint

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ase.calculators.calculator import BaseCalculator


#: Settings that steer the way to self-consistency and leave its end where it is.
STEERING = ("mixing", "max_steps", "algorithm")

#: Settings of this machine.
LOCAL = ("command", "python", "ranks", "pseudo_dir", *STEERING)


class PlaneWaveConfig(Strict):
    """What all plane-wave codes have in common."""

    xc: str = Field("PBE", description="exchange-correlation functional, as the code calls it")
    kpoint_density: PositiveFloat = Field(
        10_000.0,
        description="k-points × volume, Å³, at least; the mesh holds Γ and has one point along "
        "directions that are not periodic",
    )
    smearing: Literal["fermi-dirac", "methfessel-paxton"] = Field(
        "fermi-dirac",
        description="of the occupations; methfessel-paxton (first order) is for metals only",
    )
    width: PositiveFloat = Field(0.1, description="of the smearing, eV")
    spin: bool = Field(False, description="spin-polarised")
    moments: dict[str, float] = Field(
        default_factory=dict,
        description="initial magnetic moments by element, μB; 1 for elements not named",
    )
    max_steps: PositiveInt = Field(200, description="most steps of the self-consistency cycle")
    mixing: PositiveFloat | None = Field(
        None, description="share of the new density in each step; the code's own if unset"
    )
    algorithm: str | None = Field(
        None, description="of the eigensolver, as the code calls it; its own if unset"
    )
    ranks: PositiveInt = Field(1, description="MPI processes, started by mpiexec")
    options: dict[str, Any] = Field(
        default_factory=dict, description="further keywords of the code, which win over these"
    )


class GpawConfig(PlaneWaveConfig):
    """GPAW in plane-wave mode, so that it gives stresses."""

    cutoff: PositiveFloat = Field(450.0, description="of the plane waves, eV")
    tolerance: PositiveFloat = Field(1e-5, description="of the energy, eV per valence electron")
    setups: dict[str, str] = Field(
        default_factory=dict, description="PAW data sets by element, where not the default"
    )
    python: str | None = Field(
        None,
        description="the interpreter that imports gpaw; this one if unset. Debian's package "
        "runs under /usr/bin/python3",
    )
    command: str | None = Field(
        None,
        description="what starts the interpreter in parallel, such as '/usr/bin/mpiexec -n 4'; "
        "mpiexec on PATH if unset and ranks asks for it",
    )


class EspressoConfig(PlaneWaveConfig):
    """pw.x of Quantum ESPRESSO; the functional is that of the pseudopotentials."""

    xc: str = Field("", description="overrides the pseudopotentials' functional (input_dft)")
    cutoff: PositiveFloat = Field(680.0, description="of the wave functions, eV (50 Ry)")
    density_cutoff: PositiveFloat | None = Field(
        None, description="of the density, eV; 8 times cutoff if unset, as ultrasoft ones need"
    )
    tolerance: PositiveFloat = Field(1e-6, description="of the energy, eV per atom")
    pseudopotentials: dict[str, str] = Field(description="UPF files by element")
    pseudo_dir: str = Field(".", description="where they are, from the configuration file on")
    command: str | None = Field(
        None, description="what runs pw.x, such as 'mpirun -n 8 pw.x'; pw.x on PATH if unset"
    )


class VaspConfig(PlaneWaveConfig):
    """VASP, the user's own."""

    cutoff: PositiveFloat = Field(520.0, description="of the plane waves, eV")
    tolerance: PositiveFloat = Field(1e-6, description="of the energy, eV per atom")
    pseudopotentials: dict[str, str] = Field(
        description="POTCAR folders by element, { Zr = 'Zr_sv' }"
    )
    pseudo_set: str = Field(
        "potpaw_PBE", description="folder of the data sets, below pseudo_dir or VASP_PP_PATH"
    )
    pseudo_dir: str | None = Field(None, description="VASP_PP_PATH if unset")
    command: str | None = Field(
        None, description="what runs VASP, such as 'srun vasp_std'; vasp_std if unset"
    )


_CHOICE = (
    "give exactly one of eam = 'FILE', a table gpaw, espresso or vasp, and "
    "calculator = 'MODULE:CLASS' or 'FILE.py:FUNCTION'"
)


class ReferenceConfig(Strict):
    """Which calculator labels configurations: one of the recipes, or any of ASE's."""

    eam: str | None = Field(
        None, description="setfl file, here or among the potentials that LAMMPS ships"
    )
    gpaw: GpawConfig | None = Field(None, description="GPAW, plane waves")
    espresso: EspressoConfig | None = Field(None, description="pw.x of Quantum ESPRESSO")
    vasp: VaspConfig | None = None
    calculator: str | None = Field(
        None,
        description="what makes an ASE calculator: a class or function by its import path, "
        "'ase.calculators.emt:EMT', or a function of a file, 'dft.py:calculator'",
    )
    options: dict[str, Any] = Field(
        default_factory=dict, description="keyword arguments of the calculator"
    )
    timeout: PositiveFloat | None = Field(
        None, description="s; an attempt that takes longer is killed with all it started"
    )
    attempts: PositiveInt = Field(2, description="most attempts at one label")
    retry: tuple[dict[str, Any], ...] = Field(
        (),
        description="what changes at the second attempt, the third, …: options of the "
        "calculator, or mixing, max_steps and algorithm of a recipe",
    )
    max_force: PositiveFloat | None = Field(
        None, description="eV/Å; labels with a larger force are failures"
    )
    energy_limits: tuple[float, float] | None = Field(
        None, description="eV per atom; labels beyond them are failures"
    )

    @model_validator(mode="after")
    def _one_of_them(self) -> ReferenceConfig:
        given = [name for name in _RECIPE_KEYS if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(_CHOICE + (f"; {' and '.join(given)} are given" if given else ""))
        if given == ["eam"] and self.options:
            raise ValueError("options go with calculator, the eam recipe has none")
        if given != ["calculator"] and self.options:
            raise ValueError(f"options of {given[0]} go into its table: {given[0]}.options")
        self._check_retry(given[0])
        if self.energy_limits and self.energy_limits[0] >= self.energy_limits[1]:
            raise ValueError(f"energy_limits = {list(self.energy_limits)} do not rise")
        return self

    def _check_retry(self, recipe: str) -> None:
        if recipe == "calculator":
            return
        known = () if recipe == "eam" else STEERING
        wrong = sorted({key for changes in self.retry for key in changes} - set(known))
        if wrong:
            allowed = f"may change {', '.join(known)} only" if known else "goes with other recipes"
            raise ValueError(f"retry: {wrong[0]!r} would change labels; retry {allowed}")

    @property
    def recipe(self) -> str:
        """Which of the recipes: ``"file"`` for a calculator of the user's own file."""
        if self.calculator is not None and self.calculator.partition(":")[0].endswith(".py"):
            return "file"
        return next(name for name in _RECIPE_KEYS if getattr(self, name) is not None)


_RECIPE_KEYS = ("eam", "gpaw", "espresso", "vasp", "calculator")


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
        """Return the changed options of an attempt.

        Parameters
        ----------
        attempt
            Its number, from 1.
        """
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
        """Context manager: a calculator for several evaluations, closed in any case.

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
        source = ReferenceConfig(eam=rest) if kind == "eam" else ReferenceConfig(calculator=source)
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
