"""Fitting a potential and choosing its active set, as a task whose result is kept.

The key of the task is made of all that the fit depends on, under names that never change, so
that a campaign begun by an earlier version of pescape finds its fits again. Tasks share labeled
configurations through a file instead of carrying them along.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, cast

import ase.io
import numpy as np

from pescape.calculators.bpnn.fit.settings import FitSettings as BPNNFitSettings
from pescape.calculators.doptimality.active_set import build_active_set
from pescape.calculators.fit.shards import world
from pescape.calculators.mtp import MTPotential
from pescape.calculators.mtp.fit import FitSettings, fit_mtp, raised
from pescape.calculators.mtp.fit.settings import Repulsion
from pescape.calculators.zbl import ZBL
from pescape.data.configurations import configuration_id
from pescape.errors import SOURCE, DataError, TaskError, frame_name
from pescape.files import atomic, fingerprint, write_json
from pescape.tasks.store import Task, task_kind

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ase import Atoms

    from pescape.calculators.bpnn import BPNNPotential
    from pescape.calculators.doptimality.design_matrix import Mode
    from pescape.calculators.fit.shards import Communicator
    from pescape.calculators.potential import Potential


class LabelledData:
    """Labeled configurations and a file that holds them, first of all its content.

    Pickled, it is the path of the file, how many configurations count and a fingerprint of
    these: a task that is given it reads the file.

    Parameters
    ----------
    frames
        Configurations with labels, ``info["configuration_id"]`` and ``info["reference_id"]``.
    path
        extxyz, or ``.traj`` for what `on_disk` writes: a trajectory of ASE keeps every digit.
    """

    def __init__(self, frames: Sequence[Atoms], path: Path) -> None:
        self.frames = list(frames)
        self.path = path

    @cached_property
    def ids(self) -> list[tuple[str, str]]:
        """What each configuration is and who labeled it."""
        return [
            (atoms.info["configuration_id"], atoms.info["reference_id"]) for atoms in self.frames
        ]

    @contextlib.contextmanager
    def on_disk(self) -> Iterator[None]:
        """Context manager: the file is there in the block, digit by digit, and gone after it."""
        with atomic(self.path) as path:
            ase.io.write(path, self.frames, format="traj")
        try:
            yield
        finally:
            self.path.unlink(missing_ok=True)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the name of the file instead of its content."""
        return _read, (self.path, len(self.frames), fingerprint(self.ids))


def _read(path: Path, count: int, digest: str) -> LabelledData:
    """Read the data that was pickled by name."""
    data_format = "traj" if path.suffix == ".traj" else "extxyz"
    frames = cast("list[Atoms]", ase.io.read(path, f":{count}", format=data_format))
    data = LabelledData(frames, path)
    if fingerprint(data.ids) != digest:
        raise TaskError(
            f"{path}: is not what it was when the task was made: start again, which makes it whole"
        )
    return data


def identified(atoms: Atoms) -> Atoms:
    """Copy a labeled configuration and say what it is, where its data set does not.

    Parameters
    ----------
    atoms
        With its labels.

    Returns
    -------
    Atoms
        With ``configuration_id`` and ``reference_id`` in ``info``.

    Raises
    ------
    DataError
        It has no labels.
    """
    source = frame_name(atoms, "a configuration")
    if atoms.calc is None:
        raise DataError(f"{source} has no labels")
    new = atoms.copy()
    new.calc = atoms.calc
    # The folder it was read from must not make a difference to what is fitted to it.
    new.info[SOURCE] = source.rpartition("/")[2]
    labels = {
        name: np.asarray(value, dtype=float).tolist()
        for name, value in atoms.calc.results.items()
        if name in ("energy", "free_energy", "forces", "stress")
    }
    new.info.setdefault("configuration_id", configuration_id(atoms))
    new.info.setdefault("reference_id", fingerprint(labels))
    return new


#: Settings of a fit, each kind of start with its own.
AnySettings = FitSettings | BPNNFitSettings


class FitStart(Protocol):
    """Where a fit starts from."""

    @property
    def kind(self) -> Literal["mtp", "bpnn"]:
        """Of the potential."""

    @property
    def level(self) -> int:
        """Of the moment tensor potential, or the place of the network in a schedule of sizes."""

    def potential(self, seed: int = 0) -> Potential:
        """Make the potential that is fitted.

        Parameters
        ----------
        seed
            Of new coefficients where a fitted potential is raised to the level.
        """

    def record(self, settings: Any) -> tuple[object, bytes, object]:  # noqa: ANN401
        """Return what the result of a fit depends on, beside the data.

        Parameters
        ----------
        settings
            Of the fit.

        Returns
        -------
        tuple
            The start, the file of the potential it goes on from, and the settings.
        """

    def fit(
        self,
        frames: Sequence[Atoms],
        settings: Any,  # noqa: ANN401
        checkpoint: str,
        ranks: Communicator,
    ) -> tuple[Potential, dict[str, Any]]:
        """Fit.

        Parameters
        ----------
        frames
            Labeled configurations.
        settings
            Of the fit, for this kind of potential.
        checkpoint
            File for the state of an unfinished fit.
        ranks
            MPI ranks that make this call together.

        Returns
        -------
        tuple
            The potential, without an active set, and a summary of the fit for JSON.
        """


@dataclass(frozen=True)
class MTPStart:
    """Where the fit of a moment tensor potential starts from.

    Parameters
    ----------
    level
        Of the potential to fit.
    species, cutoff, min_dist, radial_basis_size
        Of a new potential.
    path
        A fitted potential, of this level or a lower one; None for random starts.
    repulsion
        The wall beside the potential.
    """

    level: int
    species: tuple[str, ...]
    cutoff: float
    min_dist: float
    radial_basis_size: int
    path: str | None = None
    repulsion: Repulsion = field(default_factory=Repulsion)

    @property
    def kind(self) -> Literal["mtp", "bpnn"]:
        """Of the potential."""
        return "mtp"

    def potential(self, seed: int = 0) -> MTPotential:
        """Make the potential that is fitted.

        Parameters
        ----------
        seed
            Of the new coefficients where a fitted potential is raised to the level.
        """
        untrained = MTPotential.untrained(
            self.level, self.species, self.cutoff, self.min_dist, self.radial_basis_size
        )
        if self.path is None:
            return self.repulsion.beside(untrained)
        fitted = self.repulsion.beside(MTPotential.read(self.path))
        if fitted.parameter_count == untrained.parameter_count:
            return fitted
        return raised(fitted, self.level, seed=seed)

    def record(self, settings: Any) -> tuple[object, bytes, object]:  # noqa: ANN401
        """Return what the result of a fit depends on; see `FitStart`.

        Parameters
        ----------
        settings
            Of the fit.
        """
        start = dataclasses.asdict(dataclasses.replace(self, path=None))
        repulsion = start.pop("repulsion")
        start |= {"zbl": repulsion.zbl} if repulsion.zbl or repulsion.no_zbl else {"wall": ZBL.WALL}
        return start, Path(self.path).read_bytes() if self.path else b"", settings.as_record()

    def fit(
        self,
        frames: Sequence[Atoms],
        settings: Any,  # noqa: ANN401
        checkpoint: str,
        ranks: Communicator,
    ) -> tuple[Potential, dict[str, Any]]:
        """Fit on all ranks together; see `FitStart`.

        Parameters
        ----------
        frames, settings, checkpoint, ranks
            As `FitStart` names them.
        """
        start = self.potential(settings.seed)
        result = fit_mtp(
            start,
            frames,
            settings,
            checkpoint=checkpoint,
            ranks=ranks,
            wall=not self.repulsion.no_zbl,
        )
        return result.potential, result.summary()


@dataclass(frozen=True)
class BPNNStart:
    """Where the fit of a network starts from: random weights, and scaling that the data gives.

    Networks are fitted anew to every data set, as users of n2p2 and Amp do it: the scaling of
    symmetry functions has to fit the data, and weights belong to a scaling.

    Parameters
    ----------
    level
        Place in a schedule of sizes, from 1.
    species
        Elements.
    hidden
        Nodes of the hidden layers.
    cutoff
        Å; None for that of the preset.
    radial, angular
        Numbers of symmetry functions, as `pescape fit bpnn` takes them.
    preset
        ``"default"``, or ``"paper"`` for functions and activations of Waters and Rondinelli.
    """

    level: int
    species: tuple[str, ...]
    hidden: tuple[int, ...] | None = None
    cutoff: float | None = None
    radial: int = 8
    angular: int = 16
    preset: Literal["default", "paper"] = "default"

    @property
    def kind(self) -> Literal["mtp", "bpnn"]:
        """Of the potential."""
        return "bpnn"

    def potential(self, seed: int = 0) -> BPNNPotential:  # noqa: ARG002 (nothing is random)
        """Make the network that is fitted, without weights; see `FitStart`.

        Parameters
        ----------
        seed
            Of no meaning here.
        """
        from pescape.calculators.bpnn.fit.settings import BPNNArchitecture

        architecture = BPNNArchitecture(
            hidden=self.hidden, cutoff=self.cutoff, radial=self.radial, angular=self.angular
        )
        return architecture.untrained(self.species, self.preset)

    def record(self, settings: Any) -> tuple[object, bytes, object]:  # noqa: ANN401
        """Return what the result of a fit depends on; see `FitStart`.

        Parameters
        ----------
        settings
            Of the fit.
        """
        start = {"kind": self.kind, **dataclasses.asdict(self)}
        return start, b"", dataclasses.asdict(settings)

    def fit(
        self,
        frames: Sequence[Atoms],
        settings: Any,  # noqa: ANN401
        checkpoint: str,
        ranks: Communicator,
    ) -> tuple[Potential, dict[str, Any]]:
        """Fit, each rank for itself with the same result; see `FitStart`.

        Parameters
        ----------
        frames, settings, checkpoint, ranks
            As `FitStart` names them.
        """
        from pescape.calculators.bpnn.fit import fit_bpnn

        own = f"{checkpoint}.{ranks.rank}" if ranks.rank else checkpoint
        result = fit_bpnn(self.potential(), frames, settings, checkpoint=own)
        Path(own).unlink(missing_ok=True)
        return result.potential, result.summary()


_FIT = task_kind("fit")
_POTENTIAL_FILES = {"mtp": "potential.almtp", "bpnn": "potential.bpnn"}
_FIT_FILE = "fit.json"


@dataclass(frozen=True)
class Fitted:
    """A fitted potential: its file and the fingerprint of the file's content."""

    path: Path
    digest: str

    @classmethod
    def of(cls, folder: Path) -> Fitted:
        """Take the potential from the folder of a finished fit.

        Parameters
        ----------
        folder
            Of the fit's task.
        """
        path = next(path for name in _POTENTIAL_FILES.values() if (path := folder / name).exists())
        return cls(path, fingerprint(path.read_bytes()))

    @property
    def summary(self) -> dict[str, Any]:
        """Errors, iterations, … of the fit."""
        summary: dict[str, Any] = json.loads((self.path.parent / _FIT_FILE).read_text())
        return summary


def fit_task(
    start: FitStart,
    data: LabelledData,
    settings: Any,  # noqa: ANN401 (those of the start's kind)
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
        Labeled configurations.
    settings
        Of the fit, for the start's kind of potential.
    mode
        Of the active set.
    checkpoints
        Folder in which an unfinished fit keeps its state.
    ranks
        MPI ranks that share the work where the executor can start them; the result is the same.
    """
    described, begin, record = start.record(settings)
    key = fingerprint(described, begin, data.ids, record, mode)
    arguments = start, data, settings, mode, str(checkpoints / f"{key}.npz")
    return Task(_FIT, key, _fit, arguments, cores=settings.threads, ranks=ranks)


def _fit(
    folder: Path,
    start: FitStart,
    data: LabelledData,
    settings: Any,  # noqa: ANN401
    mode: Mode,
    checkpoint: str,
) -> None:
    """Fit in a folder: what a ``fit`` task does."""
    ranks = world()
    frames = data.frames
    potential, summary = start.fit(frames, settings, checkpoint, ranks)
    if ranks.rank:
        return
    active = build_active_set(potential, frames, mode, threads=settings.threads)
    potential.with_active_set(active).write(folder / _POTENTIAL_FILES[start.kind])
    write_json(folder / _FIT_FILE, summary | {"active_rows": active.filled})
    Path(checkpoint).unlink(missing_ok=True)
