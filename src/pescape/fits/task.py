"""Fitting a potential and choosing its active set, as a task whose result is kept.

The key of the task is made of all that the fit depends on, under names that never change, so
that a campaign begun by an earlier version of pescape finds its fits again.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pescape.calculators.doptimality.active_set import build_active_set
from pescape.calculators.fit.shards import world
from pescape.calculators.mtp import MTPotential
from pescape.calculators.mtp.fit import FitSettings, fit_mtp, raised
from pescape.calculators.zbl import ZBL
from pescape.files import fingerprint, write_json
from pescape.tasks.store import Task

if TYPE_CHECKING:
    from pescape.calculators.doptimality.active_set import Mode
    from pescape.fits.config import BasisConfig
    from pescape.fits.data import LabelledData

POTENTIAL_FILE = "potential.almtp"
FIT_FILE = "fit.json"


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
        Distances in Å between which the repulsion beside the potential is switched off; None
        for no repulsion.
    """

    level: int
    species: tuple[str, ...]
    cutoff: float
    min_dist: float
    radial_basis_size: int
    path: str | None = None
    zbl: tuple[float, float] | None = None

    @classmethod
    def new(
        cls,
        config: BasisConfig,
        level: int,
        zbl: tuple[float, float] | None = None,
    ) -> FitStart:
        """Start from random coefficients.

        Parameters
        ----------
        config
            The architecture of the potential.
        level, zbl
            As in the class.
        """
        size = config.radial_basis_size
        return cls(level, config.species or (), config.cutoff, config.min_dist, size, zbl=zbl)

    def potential(self, seed: int) -> MTPotential:
        """Make the potential that is fitted.

        Parameters
        ----------
        seed
            Of the new coefficients where a fitted potential is raised to the level.
        """
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


@dataclass(frozen=True)
class Fitted:
    """A fitted potential: its file and the fingerprint of the file's content."""

    path: Path
    digest: str

    @classmethod
    def of(cls, folder: Path) -> Fitted:
        """Take the potential from the folder of a finished fit."""
        path = folder / POTENTIAL_FILE
        return cls(path, fingerprint(path.read_bytes()))

    @property
    def summary(self) -> dict[str, Any]:
        """Errors, iterations, … of the fit."""
        summary: dict[str, Any] = json.loads((self.path.parent / FIT_FILE).read_text())
        return summary


def fit_task(
    start: FitStart,
    data: LabelledData,
    settings: FitSettings,
    mode: Mode,
    checkpoints: Path,
    *,
    ranks: int = 1,
) -> Task:
    """Make the task that fits a potential and chooses its active set.

    Parameters
    ----------
    start
        Where the fit starts from.
    data
        Labelled configurations.
    settings
        Of the fit.
    mode
        Of the active set.
    checkpoints
        Folder in which an unfinished fit keeps its state.
    ranks
        MPI ranks that share the work where the executor can start them; the result is the same.
    """
    key = fingerprint(
        dataclasses.asdict(dataclasses.replace(start, path=None)),
        Path(start.path).read_bytes() if start.path else b"",
        data.ids,
        settings.as_record(),
        mode,
    )
    arguments = start, data, settings, mode, str(checkpoints / f"{key}.npz")
    return Task("fit", key, _fit, arguments, cores=settings.threads, ranks=ranks)


def _fit(
    folder: Path,
    start: FitStart,
    data: LabelledData,
    settings: FitSettings,
    mode: Mode,
    checkpoint: str,
) -> None:
    """Fit in a folder: what a ``fit`` task does."""
    ranks = world()
    frames = data.frames
    result = fit_mtp(
        start.potential(settings.seed), frames, settings, checkpoint=checkpoint, ranks=ranks
    )
    if ranks.rank:
        return
    active = build_active_set(result.potential, frames, mode, threads=settings.threads)
    result.potential.with_active_set(active).write(folder / POTENTIAL_FILE)
    write_json(folder / FIT_FILE, result.summary() | {"active_rows": active.filled})
    Path(checkpoint).unlink(missing_ok=True)
