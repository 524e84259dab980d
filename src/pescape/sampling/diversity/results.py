"""Settings and results of comparisons of diversity."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from pescape.sampling.diversity.axes import ElementAxes, Scaling

Kind = Literal["all images", "equal calls", "equal energy histogram", "equal mean energy"]
KINDS: tuple[Kind, ...] = (
    "all images",
    "equal calls",
    "equal energy histogram",
    "equal mean energy",
)


@dataclass(frozen=True)
class DiversitySettings:
    """How to compare.

    Parameters
    ----------
    scaling
        ``"minmax"`` brings each descriptor to 0 … 1 over all sets together, as in the
        paper; ``"deviation"``, which one stray atom cannot rule, to unit joint variance;
        ``"none"`` leaves descriptors as they are.
    resamples
        Bootstrap replicates of the trajectories.
    bins
        Of the energy histogram.
    components
        Principal axes to report and to draw.
    seed
        Of the bootstrap.
    """

    scaling: Scaling = "minmax"
    resamples: int = 400
    bins: int = 12
    components: int = 12
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (("resamples", 10), ("bins", 1), ("components", 2)):
            if getattr(self, name) < least:
                raise ValueError(f"diversity: {name} {getattr(self, name)} is not at least {least}")
        if self.scaling not in ("minmax", "deviation", "none"):
            raise ValueError(
                f"diversity: scaling has to be minmax, deviation or none, not {self.scaling!r}"
            )


@dataclass(frozen=True)
class SetDiversity:
    """One data set in one comparison.

    Parameters
    ----------
    name
        Of the method.
    images, trajectories
        That count at all.
    calls
        Force calls of these trajectories up to the last image that counts; None if unknown.
    mean_energy
        Above the start, eV/atom, with the weights of the comparison; None without labels.
    effective_images, effective_trajectories
        Kish's effective numbers under the weights. The second is the honest one: images of
        one trajectory are not independent.
    norm
        L2 norm of the root-variances of all elements.
    ratio
        `norm` over the baseline's.
    error
        Standard deviation of the ratio over the bootstrap.
    low, high
        95 % interval of the ratio (percentiles of the bootstrap).
    within_ratio, within_error
        The same, of the variance around the mean of each start's images: what the methods
        add to the variety of the starts, which all sets share.
    element_ratios
        The ratio of each element by itself.
    root_variances
        By element, along the first joint principal axes.
    seed_ratios
        The ratio in each campaign by itself, by the campaign's seed.
    seed_error
        Standard error of the mean of `seed_ratios`; None with fewer than two seeds.
    """

    name: str
    images: int
    trajectories: int
    calls: int | None
    mean_energy: float | None
    effective_images: float
    effective_trajectories: float
    norm: float
    ratio: float
    error: float
    low: float
    high: float
    within_ratio: float
    within_error: float
    element_ratios: dict[str, float]
    root_variances: dict[str, tuple[float, ...]]
    seed_ratios: dict[str, float]
    seed_error: float | None


@dataclass(frozen=True)
class Comparison:
    """All data sets under equal conditions.

    Parameters
    ----------
    kind
        What is equal.
    statement
        How it was made equal, in words.
    sets
        In the order given.
    support
        Share of each set's images that have energies within the common support; None where
        energies are not matched by histogram.
    failed
        Bootstrap replicates that could not be matched and are left out.
    """

    kind: Kind
    statement: str
    sets: tuple[SetDiversity, ...]
    support: tuple[float, ...] | None = None
    failed: int = 0

    def __getitem__(self, name: str) -> SetDiversity:
        """Look a set up by its name."""
        for one in self.sets:
            if one.name == name:
                return one
        raise KeyError(f"no data set {name!r}, there are {', '.join(s.name for s in self.sets)}")


@dataclass(frozen=True)
class Diversity:
    """The diversity of data sets in all comparisons that their images allow.

    Parameters
    ----------
    baseline
        Name of the set that has ratio one.
    resampled
        What the bootstrap draws: ``"starts"``, jointly for all sets where all began from the
        same ones, else ``"trajectories"`` of each set by itself.
    elements
        Joint axes of each element and the distributions along the first two.
    comparisons
        What was compared; energies are matched among the images kept at equal calls where
        calls are known.
    missing
        Why other comparisons were not made.
    """

    baseline: str
    resampled: str
    settings: DiversitySettings
    elements: tuple[ElementAxes, ...]
    comparisons: tuple[Comparison, ...]
    missing: tuple[str, ...]

    def __getitem__(self, kind: Kind) -> Comparison:
        """Look a comparison up by its kind."""
        for one in self.comparisons:
            if one.kind == kind:
                return one
        raise KeyError(f"no comparison {kind!r}: {'; '.join(self.missing) or 'unknown'}")

    def summary(self) -> dict[str, Any]:
        """Convert all of it to what JSON can hold."""
        return asdict(self)
