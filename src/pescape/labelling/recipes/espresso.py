"""pw.x of Quantum ESPRESSO, one run for each configuration."""

from __future__ import annotations

import copy
import re
import shlex
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ase.calculators.calculator import CalculationFailed
from ase.calculators.espresso import Espresso, EspressoProfile
from ase.units import Ry

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
    zero_smearing,
)
from pescape.labelling.reference import Reference

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from ase import Atoms

    from pescape.labelling.reference import LabelPolicy, ReferenceConfig

EXTERNAL = True
LOGS = ("espresso.pwo", "espresso.err")
_PROGRAM = "pw.x"
_DATA = "reference.espresso.pseudopotentials"
_MIXING = 0.7  # pw.x's own


def reference(source: ReferenceConfig, folder: Path, policy: LabelPolicy) -> Reference:
    """Refer to pw.x; what the pseudopotential files hold is part of the identity.

    Parameters
    ----------
    source, folder, policy
        See `reference_from`.
    """
    config = source.espresso
    assert config is not None, "chosen by the configuration"
    settings, local = split_settings(config)
    where = (folder / config.pseudo_dir).resolve()
    settings["pseudopotentials"] = {
        element: _digest(where / name, element)
        for element, name in sorted(config.pseudopotentials.items())
    }
    mixing = (config.mixing or _MIXING) / 2.0
    return Reference(
        name="Quantum ESPRESSO",
        version="pw.x",
        recipe="espresso",
        settings=settings,
        local={**local, "pseudo_dir": str(where), "files": config.pseudopotentials},
        policy=with_careful_retry(policy, config, mixing=mixing, algorithm="cg"),
    )


def check(reference: Reference, elements: Sequence[str]) -> None:
    """Look whether pw.x is there and every element has a pseudopotential.

    Parameters
    ----------
    reference, elements
        See `Reference.check`.
    """
    check_command(command_of(reference.local, _PROGRAM), "reference.espresso.command")
    check_data(reference, elements, _DATA, "FILE.UPF")
    known, folder = reference.settings["pseudopotentials"], Path(reference.local["pseudo_dir"])
    for element, name in reference.local["files"].items():
        if _digest(folder / name, element) != known[element]:
            raise ConfigError(f"reference.espresso: {name} has changed meanwhile: start again")


def make(reference: Reference, directory: Path | None) -> EspressoCalculator:
    """Make the calculator.

    Parameters
    ----------
    reference, directory
        See `Reference.session`.
    """
    return EspressoCalculator(reference, Path(directory or "."))


class EspressoCalculator(PlaneWaveCalculator):
    """Runs pw.x for every configuration."""

    def _compute(self, atoms: Atoms) -> dict[str, float | np.ndarray]:
        inner = self._inner(atoms)
        output = self.folder / "espresso.pwo"
        magnetic = self.with_moments(atoms)
        try:
            inner.calculate(magnetic, ["energy", "forces", "stress"], [])
        except Exception as error:
            # Without convergence pw.x ends with an error, or prints no energy to read.
            _check_output(_text(output))
            if isinstance(error, subprocess.CalledProcessError):
                raise CalculationFailed(
                    f"pw.x ended with exit status {error.returncode}"
                ) from error
            if isinstance(error, OSError):
                raise CalculationFailed(f"pw.x cannot be started: {error}") from error
            raise CalculationFailed(
                f"pw.x's output cannot be read: {type(error).__name__}: {error}"
            ) from error
        text = _text(output)
        _check_output(text)
        found = dict(inner.results)
        free = float(found["energy"])  # pw.x's "total energy" holds -TS
        minus_ts = _last(r"smearing contrib\. \(-TS\)\s*=\s*(\S+) Ry", text)
        results: dict[str, float | np.ndarray] = {
            "free_energy": free,
            "energy": zero_smearing(free, minus_ts * Ry, self.settings["smearing"]),
            "forces": found["forces"],
        }
        if found.get("stress") is not None:
            results["stress"] = found["stress"]
        version = re.search(r"Program PWSCF\s+v\.(\S+)", text)
        self.details["version"] = f"Quantum ESPRESSO {version[1] if version else '(unknown)'}"
        return results

    def _inner(self, atoms: Atoms) -> Espresso:
        return Espresso(
            profile=EspressoProfile(
                command=shlex.join(command_of(self.local, _PROGRAM)),
                pseudo_dir=self.local["pseudo_dir"],
            ),
            directory=self.folder,
            pseudopotentials=self.local["files"],
            kpts=self.mesh,
            koffset=(0, 0, 0),
            input_data=self._namelists(len(atoms)),
        )

    def _namelists(self, atoms: int) -> dict[str, dict[str, Any]]:
        settings, local = self.settings, self.local
        density = settings["density_cutoff"] or 8.0 * settings["cutoff"]
        system = {
            "ecutwfc": settings["cutoff"] / Ry,
            "ecutrho": density / Ry,
            "occupations": "smearing",
            "smearing": settings["smearing"],
            "degauss": settings["width"] / Ry,
        }
        if settings["spin"]:
            system["nspin"] = 2
        if settings["xc"]:
            system["input_dft"] = settings["xc"]
        electrons = {
            "conv_thr": settings["tolerance"] * atoms / Ry,
            "electron_maxstep": local["max_steps"],
            "mixing_beta": local["mixing"],
            "diagonalization": local["algorithm"],
        }
        namelists = {
            "control": {
                "calculation": "scf",
                "tprnfor": True,
                "tstress": True,
                "outdir": "scratch",
                "disk_io": "none",
            },
            "system": system,
            "electrons": {key: value for key, value in electrons.items() if value is not None},
        }
        return _merged(namelists, settings["options"])


def _merged(
    namelists: dict[str, dict[str, Any]], options: dict[str, Any]
) -> dict[str, dict[str, Any]]:
    """Merge the user's keywords, which win: by namelist, or bare ones into the one of theirs."""
    from ase.io.espresso_namelist.keys import pw_keys

    new = copy.deepcopy(namelists)
    for key, value in options.items():
        if isinstance(value, dict):
            new.setdefault(key, {}).update(value)
            continue
        section = next((name for name, known in pw_keys.items() if key in known), None)
        if section is None:
            raise ConfigError(f"reference.espresso.options: pw.x knows no keyword {key!r}")
        new.setdefault(section, {})[key] = value
    return new


def _check_output(text: str) -> None:
    if "convergence NOT achieved" in text:
        steps = re.search(r"convergence NOT achieved after\s+(\d+) iterations", text)
        after = f" after {steps[1]} steps" if steps else ""
        raise NotConvergedError(f"pw.x did not converge{after}")
    error = re.search(r"Error in routine (.+?)\n\s*(.+?)\n", text)
    if error:
        raise CalculationFailed(f"pw.x: error in routine {error[1].strip()}: {error[2].strip()}")
    if text and "JOB DONE" not in text:
        raise CalculationFailed("pw.x ended before its output was complete")


def _last(pattern: str, text: str) -> float:
    """Read the last number a pattern finds, 0 where there is none."""
    found = re.findall(pattern, text)
    return float(found[-1]) if found else 0.0


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""


def _digest(path: Path, element: str) -> str:
    return digest_of_data(path, f"{_DATA}.{element}", "; pseudo_dir is where they are")
