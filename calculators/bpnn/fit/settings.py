"""Settings of fits: stages, weights, presets."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from pescape.calculators.bpnn.potential import BPNNPotential
from pescape.calculators.bpnn.symmetry import default_functions, waters_rondinelli_functions
from pescape.calculators.fit.loss import Weights
from pescape.config import Strict

if TYPE_CHECKING:
    from collections.abc import Sequence

Method = Literal["levenberg", "bfgs", "lbfgs", "adam"]
Preset = Literal["default", "paper"]
METHODS = ("levenberg", "bfgs", "lbfgs", "adam")

# Products of a Levenberg-Marquardt iteration up to which it is the method of choice: some ten
# seconds of one core.
_AFFORDABLE = 3e11
# Small weights at first keep nodes out of saturation, from where no step leads back.
_FIRST_PENALTY, _LAST_PENALTY = 1e-3, 1e-5


@dataclass(frozen=True)
class Stage:
    """One minimizer and how long it goes.

    Parameters
    ----------
    method
        "levenberg": Gauss-Newton steps, damped (Levenberg-Marquardt), on all of the data; by far
        the best for up to a few thousand parameters. "bfgs": with the full matrix. "lbfgs": with
        the last 30 steps. "adam": small batches, learning rate falling along a cosine.
    iterations
        Most passes through the data (of bfgs: steps).
    penalty
        Times the sum of the squares of the weights, added to the loss.
    batch
        Configurations in a batch of adam.
    learning_rate
        Of adam, at the beginning.
    """

    method: Method
    iterations: int
    penalty: float = 0.0
    batch: int = 8
    learning_rate: float = 5e-3

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise ValueError(f"unknown method {self.method!r}: it must be one of {METHODS}")
        for name in ("iterations", "batch"):
            if getattr(self, name) < 1:
                raise ValueError(f"fit: {name} {getattr(self, name)} is not at least 1")
        if not self.penalty >= 0.0 or not self.learning_rate > 0.0:
            raise ValueError("fit: the penalty must be ≥ 0 and the learning rate > 0")


@dataclass(frozen=True)
class FitSettings:
    """Settings of a fit.

    Parameters
    ----------
    weights
        Of energies, forces and virials in the loss.
    loss
        "mean": that of MLIP-3, the mean over configurations of w_E ΔE²/N + w_F Σ|ΔF|² +
        w_S Σ ΔW²/N. "sum": Amp's, the sum over configurations of w_E (ΔE/N)² + w_F Σ|ΔF|²/(3N),
        without stresses.
    stages
        One after the other; None: Levenberg-Marquardt where its matrix is affordable, 20
        iterations with a penalty of 1e-3, then at most 180 with 1e-5; else Adam and then L-BFGS.
    most_iterations
        Of each stage, where `stages` is None.
    scaling
        Of symmetry functions whose potential has no scaling yet. "sigma": mean 0 and standard
        deviation 1. "range": from -1 to 1, and energies scaled to their range as Amp does it.
    validation
        Fraction of the configurations kept out of the fit to say when to stop, and with which
        parameters.
    patience
        A stage ends when its best loss (of validation, if there is any) is this many iterations
        old.
    tolerance
        What counts as better: a lower loss by this fraction.
    force_limit
        eV/Å; configurations with a larger force on any atom are left out.
    energy_limit
        eV; configurations with a larger mean energy per atom, relative to isolated atoms, are
        left out.
    atom_energies
        Of isolated atoms by element, eV; `energy_limit` needs them.
    seed
        Of the first weights, the batches and the choice of validation configurations.
    threads
        Of OpenMP and torch; the result depends on them in the last digits.
    device
        "cpu", "cuda", or "auto": a graphics processor if torch sees one.
    """

    weights: Weights = field(default_factory=lambda: Weights(energy=3.0))
    loss: Literal["mean", "sum"] = "mean"
    stages: tuple[Stage, ...] | None = None
    most_iterations: int | None = None
    scaling: Literal["sigma", "range"] = "sigma"
    validation: float = 0.1
    patience: int = 20
    tolerance: float = 1e-3
    force_limit: float | None = None
    energy_limit: float | None = None
    atom_energies: dict[str, float] | None = None
    seed: int = 0
    threads: int = 1
    device: Literal["auto", "cpu", "cuda"] = "auto"

    def __post_init__(self) -> None:
        for name, allowed in (
            ("loss", ("mean", "sum")),
            ("scaling", ("sigma", "range")),
            ("device", ("auto", "cpu", "cuda")),
        ):
            if getattr(self, name) not in allowed:
                raise ValueError(f"fit: {name} {getattr(self, name)!r} is none of {allowed}")
        for name in ("patience", "threads"):
            if getattr(self, name) < 1:
                raise ValueError(f"fit: {name} {getattr(self, name)} is not at least 1")
        if not 0.0 <= self.validation < 1.0:
            raise ValueError(f"fit: validation {self.validation} is not in [0, 1)")
        if not self.tolerance >= 0.0:
            raise ValueError(f"fit: tolerance {self.tolerance} is negative")
        if self.stages is not None and not self.stages:
            raise ValueError("fit: there are no stages")

    def stages_for(self, parameters: int, rows: int) -> tuple[Stage, ...]:
        """Return the stages of a fit.

        Parameters
        ----------
        parameters
            Number of weights and biases.
        rows
            Number of residuals.
        """
        if self.stages is not None:
            return self.stages
        most = self.most_iterations or 1000
        if 2.0 * rows * parameters**2 <= _AFFORDABLE:
            return (
                Stage("levenberg", min(20, most), penalty=_FIRST_PENALTY),
                Stage("levenberg", min(180, most), penalty=_LAST_PENALTY),
            )
        return (
            Stage("adam", min(200, most), penalty=_LAST_PENALTY),
            Stage("lbfgs", most, penalty=_LAST_PENALTY),
        )


def waters_rondinelli_settings(**changes: Any) -> FitSettings:  # noqa: ANN401
    """Return the settings of M. J. Waters and J. M. Rondinelli, with Amp's loss.

    BFGS, 200 iterations with a penalty of 0.05 and 1500 with 0.001; forces count 0.1; no
    stresses, no validation.

    Parameters
    ----------
    **changes
        Fields of `FitSettings` that differ.
    """
    given: dict[str, Any] = {
        "weights": Weights(1.0, 0.1, 0.0),
        "loss": "sum",
        "stages": (Stage("bfgs", 200, penalty=0.05), Stage("bfgs", 1500, penalty=0.001)),
        "scaling": "range",
        "validation": 0.0,
        "patience": 10_000,
        "tolerance": 0.0,
    }
    return FitSettings(**(given | changes))


class BPNNFunctions(Strict):
    """The symmetry functions of a Behler-Parrinello network."""

    species: Annotated[tuple[str, ...], Field(min_length=1)] | None = Field(
        None, description="elements, such as Zr,O; those of the data if unset"
    )
    cutoff: PositiveFloat | None = Field(
        None, description="Å; 5 if unset, 7 with the paper's preset"
    )
    radial: PositiveInt = Field(8, description="G2 functions for each neighbor element")
    angular: NonNegativeInt = Field(16, description="G5 functions for each pair of elements")


class BPNNArchitecture(BPNNFunctions):
    """What a Behler-Parrinello network is made of, before it is fitted."""

    hidden: Annotated[tuple[PositiveInt, ...], Field(min_length=1)] | None = Field(
        None, description="nodes of the hidden layers; 8,8 if unset, 8 with the paper's preset"
    )

    def untrained(self, species: Sequence[str], preset: Preset = "default") -> BPNNPotential:
        """Make the network, without weights.

        Parameters
        ----------
        species
            Elements, where the architecture names none.
        preset
            "paper" for the functions and the activations of Waters and Rondinelli.
        """
        names = list(self.species or species)
        if preset == "paper":
            functions = waters_rondinelli_functions(names, self.cutoff or 7.0)
            return BPNNPotential.untrained(
                names, functions, hidden=list(self.hidden or (8,)), output_activation="tanh"
            )
        functions = default_functions(
            names, self.cutoff or 5.0, radial=self.radial, angular=self.angular
        )
        return BPNNPotential.untrained(names, functions, hidden=list(self.hidden or (8, 8)))


class BPNNFitOptions(Strict):
    """What files and command lines change in the settings of a preset."""

    energy_weight: NonNegativeFloat | None = Field(
        None, description="of energies in the loss, 1/eV²; 3 if unset, 1 with the paper's preset"
    )
    force_weight: NonNegativeFloat | None = Field(
        None, description="of forces, Å²/eV²; 0.01 if unset, 0.1 with the paper's preset"
    )
    stress_weight: NonNegativeFloat | None = Field(
        None, description="of virials, 1/eV²; 0.001 if unset, 0 with the paper's preset"
    )
    method: Method | None = Field(None, description="one method in place of the preset's stages")
    iterations: PositiveInt | None = Field(None, description="most iterations of each stage")
    penalty: NonNegativeFloat = Field(
        0.0, description="on the sum of squared weights, where a method is given"
    )
    validation: float | None = Field(
        None,
        ge=0.0,
        lt=1.0,
        description="fraction of the data that says when to stop; 0.1 if unset, 0 with the "
        "paper's preset",
    )
    patience: PositiveInt | None = Field(
        None, description="iterations without a gain that end a stage; 20 if unset"
    )
    force_limit: PositiveFloat | None = Field(
        None, description="eV/Å; configurations with larger forces are left out"
    )
    threads: PositiveInt = Field(1, description="OpenMP threads; last digits depend on them")
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="where to compute; auto takes a GPU if torch sees one"
    )

    def settings(self, preset: Preset = "default", seed: int = 0) -> FitSettings:
        """Make the settings of a fit.

        Parameters
        ----------
        preset
            What holds where an option is unset.
        seed
            Of first weights and of the data for validation.
        """
        base = waters_rondinelli_settings() if preset == "paper" else FitSettings()
        named = ("validation", "patience", "force_limit", "threads", "device")
        given = {name: getattr(self, name) for name in named}
        weights = {name: getattr(self, f"{name}_weight") for name in ("energy", "force", "stress")}
        changes: dict[str, Any] = {name: one for name, one in given.items() if one is not None}
        changes["seed"] = seed
        changes["weights"] = replace(
            base.weights, **{name: one for name, one in weights.items() if one is not None}
        )
        if self.method is not None:
            stage = Stage(self.method, self.iterations or 500, penalty=self.penalty)
            changes["stages"] = (stage,)
        elif self.iterations is not None:
            most = self.iterations
            changes["most_iterations"] = most
            if base.stages is not None:
                shorter = (
                    replace(one, iterations=min(one.iterations, most)) for one in base.stages
                )
                changes["stages"] = tuple(shorter)
        return replace(base, **changes)
