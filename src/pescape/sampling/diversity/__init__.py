"""How diverse the atomic environments of data sets are, beside each other."""

from pescape.figures.sampling import draw_diversity
from pescape.sampling.diversity.data import (
    InfoKeys,
    SampledSet,
    equal_call_masks,
    moment_descriptors,
    paper_descriptors,
    sampled_sets,
)
from pescape.sampling.diversity.measure import measure_diversity
from pescape.sampling.diversity.results import (
    Comparison,
    Diversity,
    DiversitySettings,
    SetDiversity,
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
    "paper_descriptors",
    "sampled_sets",
]
