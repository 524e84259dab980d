"""How diverse the atomic environments of data sets are, beside each other."""

from pescape.figures.sampling import draw_diversity
from pescape.sampling.diversity.axes import moment_descriptors, waters_rondinelli_descriptors
from pescape.sampling.diversity.data import InfoKeys, SampledSet, equal_call_masks, sampled_sets
from pescape.sampling.diversity.measure import (
    Comparison,
    Diversity,
    DiversitySettings,
    SetDiversity,
    measure_diversity,
)

__all__ = [
    "Comparison",
    "Diversity",
    "DiversitySettings",
    "InfoKeys",
    "SampledSet",
    "SetDiversity",
    "draw_diversity",
    "equal_call_masks",
    "measure_diversity",
    "moment_descriptors",
    "sampled_sets",
    "waters_rondinelli_descriptors",
]
