"""VASP, one run for each configuration."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ase.calculators.calculator import CalculationFailed
from ase.calculators.vasp import Vasp

from pescape.errors import ConfigError
from pescape.labelling.evaluation import NotConvergedError
from pescape.labelling.recipes.common import (
    PlaneWaveCalculator,
    check_command,
    check_data,
    command_of,
    digest_of_data,
    split_settings,
    with_careful_retry,
)
from pescape.labelling.reference import Reference

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np
    from ase import Atoms

    from pescape.labelling.reference import LabelPolicy, ReferenceConfig

EXTERNAL = True
LOGS = ("OUTCAR", "vasp.out")
_PROGRAM = "vasp_std"
_DATA = "reference.vasp.pseudopotentials"
_PATH = "VASP_PP_PATH"
_MIXING = 0.4  # VASP's own
_ISMEAR = {"fermi-dirac": -1, "methfessel-paxton": 1}


def reference(source: ReferenceConfig, folder: Path, policy: LabelPolicy) -> Reference:
    """Refer to VASP; what the POTCAR files hold is part of the identity.

    Parameters
    ----------
    source, folder, policy
        See `reference_from`.
    """
    config = source.vasp
    assert config is not None, "chosen by the configuration"
    settings, local = split_settings(config)
    given = config.pseudo_dir or os.environ.get(_PATH)
    if given is None:
        raise ConfigError(f"reference.vasp: set pseudo_dir or {_PATH} to where POTCAR folders are")
    where = (folder / given).resolve()
    for element, name in config.pseudopotentials.items():
        if not name.startswith(element):
            raise ConfigError(
                f"{_DATA}.{element}: {name!r} does not begin with the "
                f"element; name the folder, such as '{element}_sv'"
            )
    settings["pseudopotentials"] = {
        element: digest_of_data(where / config.pseudo_set / name / "POTCAR", f"{_DATA}.{element}")
        for element, name in sorted(config.pseudopotentials.items())
    }
    mixing = (config.mixing or _MIXING) / 2.0
    return Reference(
        name=f"VASP {config.xc}",
        version="VASP",
        recipe="vasp",
        settings=settings,
        local={**local, "pseudo_dir": str(where), "files": config.pseudopotentials},
        policy=with_careful_retry(policy, config, mixing=mixing, algorithm="All"),
    )


def check(reference: Reference, elements: Sequence[str]) -> None:
    """Look whether VASP is there and every element has a data set.

    Parameters
    ----------
    reference, elements
        See `Reference.check`.
    """
    check_command(command_of(reference.local, _PROGRAM), "reference.vasp.command")
    check_data(reference, elements, _DATA, "{}")


def make(reference: Reference, directory: Path | None) -> VaspCalculator:
    """Make the calculator.

    Parameters
    ----------
    reference, directory
        See `Reference.session`.
    """
    return VaspCalculator(reference, Path(directory or "."))


class VaspCalculator(PlaneWaveCalculator):
    """Runs VASP for every configuration."""

    def _compute(self, atoms: Atoms) -> dict[str, float | np.ndarray]:
        inner = Vasp(
            directory=str(self.folder),
            command=f"{shlex.join(command_of(self.local, _PROGRAM))} > vasp.out 2>&1",
            txt=os.devnull,  # the line above keeps it, also of a run that is killed
            **self._keywords(len(atoms)),
        )
        try:
            with _data_sets(self.local["pseudo_dir"]):
                inner.calculate(self.with_moments(atoms))
        except CalculationFailed as error:
            status = re.search(r"returned an error: (-?\d+)", str(error))
            raise CalculationFailed(
                f"VASP ended with exit status {status[1]}" if status else f"VASP: {error}"
            ) from error
        except Exception as error:
            raise CalculationFailed(
                f"VASP's output cannot be read: {type(error).__name__}: {error}"
            ) from error
        if not inner.converged:
            raise NotConvergedError(f"VASP did not converge in {self.local['max_steps']} steps")
        self.details["version"] = f"VASP {inner.version}"
        found = inner.results
        if found.get("stress") is None:
            raise CalculationFailed("VASP gave no stress")
        names = ("energy", "free_energy", "forces", "stress")
        return {name: found[name] for name in names}

    def _keywords(self, atoms: int) -> dict[str, Any]:
        settings, local = self.settings, self.local
        keywords = {
            "xc": settings["xc"],
            "pp": settings["pseudo_set"],
            "setups": {e: name.removeprefix(e) for e, name in local["files"].items()},
            "kpts": self.mesh,
            "gamma": True,
            "encut": settings["cutoff"],
            "ediff": settings["tolerance"] * atoms,
            "ismear": _ISMEAR[settings["smearing"]],
            "sigma": settings["width"],
            "ispin": 2 if settings["spin"] else 1,
            "nelm": local["max_steps"],
            "amix": local["mixing"],
            "algo": local["algorithm"] or "Normal",
            "prec": "Accurate",
            "lreal": False,
            "ibrion": -1,
            "nsw": 0,
            "isif": 2,  # stress is computed, nothing moves
            "isym": 0,
            "lwave": False,
            "lcharg": False,
        }
        given = {key: value for key, value in keywords.items() if value is not None}
        return {**given, **settings["options"]}


@contextlib.contextmanager
def _data_sets(path: str) -> Iterator[None]:
    """Context manager: the folders of POTCAR files in the environment, where ASE looks."""
    before = os.environ.get(_PATH)
    os.environ[_PATH] = path
    try:
        yield
    finally:
        os.environ.pop(_PATH)
        if before is not None:
            os.environ[_PATH] = before
