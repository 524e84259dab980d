"""What is fitted, and how: moment tensor potentials and Behler-Parrinello networks."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from pescape.calculators.bpnn.fit.settings import FitSettings as BPNNFitSettings
from pescape.calculators.mtp import MTPotential
from pescape.calculators.mtp.fit import FitSettings, fit_mtp, raised
from pescape.calculators.zbl import ZBL

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ase import Atoms

    from pescape.calculators.bpnn import BPNNPotential
    from pescape.calculators.fit.shards import Communicator
    from pescape.calculators.potential import Potential


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
            Labelled configurations.
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

    def record(self, settings: Any) -> tuple[object, bytes, object]:  # noqa: ANN401
        """Return what the result of a fit depends on; see `FitStart`.

        Parameters
        ----------
        settings
            Of the fit.
        """
        start = dataclasses.asdict(dataclasses.replace(self, path=None))
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
        result = fit_mtp(start, frames, settings, checkpoint=checkpoint, ranks=ranks)
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
