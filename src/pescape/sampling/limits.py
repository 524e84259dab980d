"""Limits of energy and force as filters of data sets."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ase.calculators.singlepoint import SinglePointCalculator

from pescape.errors import ConfigError, TaskError
from pescape.files import fingerprint, write_json
from pescape.labelling.label import configuration_id
from pescape.plugins.structures import EnergyForceLimits, beyond, force_energy_limits
from pescape.sampling.recording import (
    EvaluationError,
    EvaluationLog,
    RecordingCalculator,
    fresh_session,
)
from pescape.tasks import Task

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from ase import Atoms

    from pescape.labelling import Reference
    from pescape.sampling.config import LimitsConfig

LIMITS_FILE = "limits.json"


@dataclass(frozen=True)
class Limits:
    """What an image of a data set must keep; None lifts a limit.

    Parameters
    ----------
    force
        Largest force on any atom, eV/Å.
    energy
        Largest mean energy per atom relative to isolated atoms, eV.
    atom_energies
        Of isolated atoms by element, eV; `energy` needs them.
    """

    force: float | None = None
    energy: float | None = None
    atom_energies: dict[str, float] = field(default_factory=dict)

    def broken_by(self, atoms: Atoms) -> list[str]:
        """Say in which ways an image with energy and forces goes beyond the limits."""
        return beyond(atoms, force=self.force, energy=self.energy, atom_energies=self.atom_energies)


def limits_from(
    config: LimitsConfig, computed: EnergyForceLimits | None, elements: Iterable[str]
) -> Limits:
    """Make limits from what a configuration says and what was computed for it.

    Parameters
    ----------
    config
        Its numbers go before those computed.
    computed
        From the pairs of elements, where the configuration asks for them.
    elements
        That occur in the campaign.
    """
    force, energy = config.force, config.energy
    alone = dict(config.atom_energies or {})
    if computed is not None:
        alone = computed.atom_energies | alone
        try:
            force = computed.force_limit(config.pairs) if force is None else force
            energy = computed.energy_limit(config.pairs) if energy is None else energy
        except ValueError as error:
            raise ConfigError(f"limits: {error}; give force and energy instead") from error
    missing = sorted(set(elements) - set(alone)) if energy is not None else []
    if missing:
        raise ConfigError(f"limits: no energy of an isolated atom of {missing[0]}")
    return Limits(force, energy, alone)


def read_limits(path: Path) -> EnergyForceLimits:
    """Read limits from the JSON that a campaign wrote."""
    try:
        return EnergyForceLimits.from_dict(json.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise ConfigError(f"limits.file: {path}: {error.strerror}") from error
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ConfigError(f"limits.file: {path} holds no limits as pescape writes them") from error


def limits_task(
    reference: Reference, elements: Sequence[str], config: LimitsConfig, folder: Path
) -> Task:
    """Compute energy and force of all pairs of elements up their repulsive walls.

    Parameters
    ----------
    reference
        Gives energies and forces.
    elements
        Chemical symbols.
    config
        The multiple of the binding energy, and the box.
    folder
        For what was computed before a kill.
    """
    settings = (config.multiple or 2.0, config.box, config.pbc)
    key = fingerprint(sorted(elements), settings, reference.identity)
    logs, scratch = folder / "logs" / f"limits-{key}", folder / "scratch" / f"limits-{key}"
    return Task("limits", key, _run, (sorted(elements), settings, reference, logs, scratch))


def _run(
    folder: Path,
    elements: list[str],
    settings: tuple[float, float, bool],
    reference: Reference,
    logs: Path,
    scratch: Path,
) -> None:
    multiple, box, pbc = settings

    def answer(atoms: Atoms) -> SinglePointCalculator:
        """Evaluate in a session of its own: stateful references take one system only."""
        log = EvaluationLog(logs / f"{configuration_id(atoms)}.jsonl")
        recorder = RecordingCalculator(atoms, lambda: fresh_session(reference, scratch), log)
        asked = atoms.copy()
        asked.calc = recorder
        try:
            asked.get_forces()
        except EvaluationError as error:
            name = atoms.get_chemical_formula()
            raise TaskError(f"limits: {reference.name} failed on {name}: {error}") from error
        finally:
            recorder.close()
        return SinglePointCalculator(atoms, **recorder.evaluations[0].results())

    limits = force_energy_limits(answer, elements, multiple=multiple, box=box, pbc=pbc)
    write_json(folder / LIMITS_FILE, limits.as_dict())
