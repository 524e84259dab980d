"""The samplers of a campaign, compared."""

import pytest

from pescape.data.configurations import read_configurations
from pescape.sampling.diversity import measure_diversity
from pescape.sampling.diversity.axes import waters_rondinelli_descriptors
from pescape.sampling.diversity.data import sampled_sets
from pescape.sampling.diversity.measure import KINDS, DiversitySettings


@pytest.mark.slow
def test_images_of_campaigns_know_all_that_a_comparison_needs(tmp_path, tiny, write, run):
    text = tiny + (
        '[[structures]]\nbuilder = "packing"\nboxes = [6.0]\ncomposition = { Cu = 1.0 }\n'
        "volume_fraction = 0.3\ncount = 1\n"
    )
    result = run(write(tmp_path, text))
    images = {}
    for name in ("train.xyz", "test.xyz"):
        for atoms in read_configurations(result.folder / name):
            images.setdefault(atoms.info["sampler"], []).append(atoms)
    sets = sampled_sets(images)
    assert [one.name for one in sets] == ["md", "contour", "dimer"]
    for one in sets:
        assert sorted(set(one.starts)) == ["/packing/0", "/rattled/0", "/rattled/1"]
        assert one.calls is not None
        assert one.calls.max() == 12
        assert one.energies is not None
        assert -1.0 < one.energies.min() < one.energies.max() < 5.0
    found = measure_diversity(
        sets,
        waters_rondinelli_descriptors(["Cu"], cutoff=5.0),
        "md",
        DiversitySettings(resamples=10, bins=2),
    )
    assert found.resampled == "starts"
    assert [one.kind for one in found.comparisons][:2] == list(KINDS[:2])
