"""The tasks of a learning campaign: fit, molecular dynamics, select; labels are labelling's."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import ase.io

from pescape.calculators.doptimality.active_set import build_active_set
from pescape.calculators.doptimality.select import choose
from pescape.calculators.fit.shards import world
from pescape.calculators.mtp import MTPotential
from pescape.calculators.mtp.fit import FitSettings, fit_mtp, raised
from pescape.calculators.zbl import ZBL
from pescape.data.configurations import configuration_id
from pescape.files import fingerprint, write_json
from pescape.learning.dynamics import Exploration, Run, risky_of, run_dynamics, run_exploration
from pescape.tasks.store import Task

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ase import Atoms

    from pescape.calculators.doptimality.active_set import Mode
    from pescape.learning.config import GuardConfig, PotentialConfig

POTENTIAL_FILE = "potential.almtp"
FIT_FILE = "fit.json"
CHOSEN_FILE = "chosen.xyz"
CHOICE_FILE = "choice.json"


@dataclass(frozen=True)
class FitStart:
    """Where a fit starts from.

    Parameters
    ----------
    level
        Of the potential to fit.
    species, cutoff, min_dist, radial_basis_size
        Of a new potential.
    path
        A fitted potential, of this level or a lower one; None for random starts.
    zbl
        Å; from where to where the repulsion beside it is switched off. None: it has none.
    """

    level: int
    species: tuple[str, ...]
    cutoff: float
    min_dist: float
    radial_basis_size: int
    path: str | None = None
    zbl: tuple[float, float] | None = None

    @classmethod
    def new(cls, config: PotentialConfig, zbl: tuple[float, float] | None = None) -> FitStart:
        """Start at random, at the first of the levels."""
        return cls(
            level=config.levels[0],
            species=config.species,
            cutoff=config.cutoff,
            min_dist=config.min_dist,
            radial_basis_size=config.radial_basis_size,
            zbl=zbl,
        )

    def potential(self, seed: int) -> MTPotential:
        """Make the potential the fit is given."""
        repulsion = None if self.zbl is None else ZBL(*self.zbl)
        untrained = MTPotential.untrained(
            self.level, self.species, self.cutoff, self.min_dist, self.radial_basis_size
        ).with_repulsion(repulsion)
        if self.path is None:
            return untrained
        fitted = MTPotential.read(self.path).with_repulsion(repulsion)
        if fitted.parameter_count == untrained.parameter_count:
            return fitted
        return raised(fitted, self.level, seed=seed)


def fit_task(
    start: FitStart,
    training: Sequence[Atoms],
    settings: FitSettings,
    mode: Mode,
    checkpoints: Path,
    *,
    ranks: int = 1,
) -> Task:
    """Fit a potential and choose its active set.

    Where the executor can start MPI ranks, they share the work; the result is the same.
    """
    content = [(atoms.info["configuration_id"], atoms.info["reference_id"]) for atoms in training]
    begin = Path(start.path).read_bytes() if start.path else b""
    described = dataclasses.asdict(dataclasses.replace(start, path=None))
    key = fingerprint(described, begin, content, dataclasses.asdict(settings), mode)
    checkpoint = str(checkpoints / f"{key}.npz")
    arguments = start, list(training), settings, mode, checkpoint
    return Task("fit", key, _fit, arguments, cores=settings.threads, ranks=ranks)


def _fit(
    folder: Path,
    start: FitStart,
    training: list[Atoms],
    settings: FitSettings,
    mode: Mode,
    checkpoint: str,
) -> None:
    ranks = world()
    result = fit_mtp(
        start.potential(settings.seed), training, settings, checkpoint=checkpoint, ranks=ranks
    )
    if ranks.rank:
        return
    active = build_active_set(result.potential, training, mode, threads=settings.threads)
    result.potential.with_active_set(active).write(folder / POTENTIAL_FILE)
    write_json(folder / FIT_FILE, result.summary() | {"active_rows": active.filled})
    Path(checkpoint).unlink(missing_ok=True)


def select_task(
    runs: Sequence[Path],
    potential: Fitted,
    training: Sequence[Atoms],
    guard: GuardConfig,
    min_distance: float,
) -> Task:
    """Choose which risky configurations of MD runs are worth a label."""
    known = [atoms.info["configuration_id"] for atoms in training]
    key = fingerprint(
        [run.name for run in runs],
        potential.digest,
        known,
        guard.model_dump(),
        min_distance,
    )
    arguments = list(runs), str(potential.path), list(training), guard, min_distance
    return Task("select", key, _select, arguments)


def _select(
    folder: Path,
    runs: list[Path],
    potential: str,
    training: list[Atoms],
    guard: GuardConfig,
    min_distance: float,
) -> None:
    candidates = []
    for run in runs:
        for frame in risky_of(run, guard.most_per_run):
            frame.info["parent"] = f"md/{run.name} step {frame.info['step']}"
            candidates.append(frame)
    choice = choose(
        MTPotential.read(potential),
        candidates,
        training=training,
        min_distance=min_distance,
        similarity=guard.similarity,
    )
    if choice.configurations:
        ase.io.write(folder / CHOSEN_FILE, choice.configurations, format="extxyz")
    summary = {
        "candidates": len(candidates),
        "unphysical": choice.unphysical,
        "redundant": choice.redundant,
        "similar": choice.similar,
        "known": choice.known,
    }
    write_json(folder / CHOICE_FILE, summary)


def read_chosen(folder: Path) -> tuple[list[Atoms], dict[str, int]]:
    """Read the chosen configurations of a finished task, and how many were left out and why."""
    chosen = folder / CHOSEN_FILE
    frames = ase.io.read(chosen, ":", format="extxyz") if chosen.exists() else []
    return list(frames), json.loads((folder / CHOICE_FILE).read_text())


@dataclass(frozen=True)
class Fitted:
    """A fitted potential: its file, and the fingerprint of what that holds."""

    path: Path
    digest: str

    @classmethod
    def of(cls, folder: Path) -> Fitted:
        """Take the potential of a finished fit."""
        path = folder / POTENTIAL_FILE
        return cls(path, fingerprint(path.read_bytes()))


def dynamics_task(run: Run, start: Atoms, potential: Fitted) -> Task:
    """Run MD under the guard of a potential."""
    key = fingerprint(dataclasses.asdict(run), configuration_id(start), potential.digest)
    arguments = run, start, str(potential.path)
    return Task("md", key, run_dynamics, arguments, cores=run.ranks)


def exploration_task(run: Exploration, start: Atoms, potential: Fitted) -> Task:
    """Run another sampler under the guard of a potential."""
    key = fingerprint(run.described(), configuration_id(start), potential.digest)
    return Task("explore", key, run_exploration, (run, start, str(potential.path)))


def read_fit(folder: Path) -> dict[str, object]:
    """Read the summary of a finished fit."""
    return json.loads((folder / FIT_FILE).read_text())
