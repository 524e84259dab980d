"""The measure of diversity, on data whose diversity is known."""

import json

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator

from pescape.errors import DataError
from pescape.figures.sampling import draw_diversity
from pescape.sampling.diversity import measure_diversity
from pescape.sampling.diversity.axes import moment_descriptors
from pescape.sampling.diversity.data import InfoKeys, equal_call_masks, sampled_sets
from pescape.sampling.diversity.measure import DiversitySettings

KEYS = InfoKeys("run", ("start",), "calls", "seed", "reference")


def features(atoms):
    return atoms.arrays["x"]


def image(symbols, x, energy=None, **info):
    """Give an image whose descriptors are what a test wants."""
    atoms = Atoms(symbols, positions=np.zeros((len(x), 3)), info=info)
    atoms.arrays["x"] = np.asarray(x, dtype=float)
    if energy is not None:
        atoms.calc = SinglePointCalculator(atoms, energy=energy)
    return atoms


def gaussian(rng, widths, trajectories=20, images=10, atoms=4, between=0.0, **info):
    """Draw images whose atoms are normal with the widths; trajectories may differ."""
    frames = []
    for run in range(trajectories):
        center = between * rng.normal(size=len(widths))
        for number in range(images):
            x = center + rng.normal(size=(atoms, len(widths))) * widths
            frames.append(image(f"Cu{atoms}", x, run=run, calls=number + 1, **info))
    return frames


def measure(sets, baseline="md", **options):
    settings = DiversitySettings(**{"resamples": 60, "scaling": "none"} | options)
    return measure_diversity(sampled_sets(sets, KEYS), features, baseline, settings)


def test_gaussians_of_known_widths_have_their_ratio_and_root_variances():
    rng = np.random.default_rng(1)
    widths = np.array([3.0, 2.0, 1.0, 0.5])
    found = measure(
        {
            "md": gaussian(rng, widths, 40, 20),
            "wide": gaussian(rng, widths * [2, 1, 1, 1], 40, 20),
        }
    )["equal calls"]
    expected = np.linalg.norm(widths * [2, 1, 1, 1]) / np.linalg.norm(widths)
    assert found["wide"].ratio == pytest.approx(expected, rel=0.02)
    assert found["wide"].low < expected < found["wide"].high
    assert found["md"].norm == pytest.approx(np.linalg.norm(widths), rel=0.02)
    assert found["wide"].root_variances["Cu"] == pytest.approx([6, 2, 1, 0.5], rel=0.05)
    assert found["md"].ratio == 1.0
    assert found["md"].error == 0.0


def test_elements_enter_one_vector():
    rng = np.random.default_rng(2)

    def frames(oxygen):
        return [
            image(
                "CuO",
                [rng.normal(size=2) * 2.0, rng.normal(size=2) * oxygen],
                run=number % 20,
            )
            for number in range(1000)
        ]

    found = measure({"md": frames(1.0), "other": frames(3.0)})["all images"]["other"]
    assert found.element_ratios["Cu"] == pytest.approx(1.0, rel=0.05)
    assert found.element_ratios["O"] == pytest.approx(3.0, rel=0.05)
    assert found.ratio == pytest.approx(np.sqrt((4 + 9) / (4 + 1)), rel=0.05)


@pytest.mark.parametrize("scaling", ["minmax", "deviation"])
def test_units_of_descriptors_do_not_matter_when_they_are_scaled(scaling):
    rng = np.random.default_rng(3)
    sets = {"md": gaussian(rng, np.ones(3)), "other": gaussian(rng, np.array([2.0, 1.0, 0.5]))}
    before = measure(sets, scaling=scaling)["all images"]["other"]
    for frames in sets.values():
        for atoms in frames:
            atoms.arrays["x"] = atoms.arrays["x"] * [10.0, 0.01, 3.0] + [5.0, 0.0, -2.0]
    after = measure(sets, scaling=scaling)["all images"]["other"]
    assert after.ratio == pytest.approx(before.ratio, rel=1e-9)
    assert after.error == pytest.approx(before.error, rel=1e-6)


def test_rotated_descriptors_give_the_same_ratio_and_variances_when_unscaled():
    rng = np.random.default_rng(4)
    widths = np.array([2.0, 1.0, 0.5])
    sets = {"md": gaussian(rng, np.ones(3)), "other": gaussian(rng, widths)}
    before = measure(sets)["all images"]["other"]
    rotation = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    for frames in sets.values():
        for atoms in frames:
            atoms.arrays["x"] = atoms.arrays["x"] @ rotation
    after = measure(sets)["all images"]["other"]
    assert after.ratio == pytest.approx(before.ratio, rel=1e-10)
    assert after.root_variances["Cu"] == pytest.approx(before.root_variances["Cu"], rel=1e-8)


def test_norm_over_joint_axes_equals_the_norm_over_own_axes():
    rng = np.random.default_rng(5)
    twist = np.linalg.qr(rng.normal(size=(20, 20)))[0]
    widths = np.geomspace(5.0, 0.05, 20)
    other = gaussian(rng, widths)
    for atoms in other:
        atoms.arrays["x"] = atoms.arrays["x"] @ twist
    found = measure({"md": gaussian(rng, widths), "other": other}, components=5, scaling="minmax")
    (axes,) = found.elements
    assert max(axes.axes_difference.values()) < 1e-10
    assert 0.0 < axes.captured["other"] < axes.captured_by_own["other"] < 1.0


def test_equal_sets_have_ratio_one_and_other_seeds_of_one_law_have_it_within_error():
    rng = np.random.default_rng(6)
    frames = gaussian(rng, np.ones(4), between=0.5)
    same = measure({"md": frames, "again": frames})["all images"]["again"]
    assert same.ratio == 1.0
    other = gaussian(rng, np.ones(4), between=0.5)
    found = measure({"md": frames, "other": other})["all images"]["other"]
    assert found.error > 0.0
    assert abs(found.ratio - 1.0) < 3.0 * found.error


@pytest.mark.slow
def test_bootstrap_over_trajectories_covers_the_truth_where_one_over_images_would_not():
    rng = np.random.default_rng(7)
    covered, narrow = 0, 0
    for _ in range(40):
        sets = {
            name: gaussian(rng, np.full(3, 0.3), 25, 8, 2, between=1.0) for name in ("md", "ce")
        }
        found = measure(sets, resamples=80)["all images"]["ce"]
        covered += found.low < 1.0 < found.high
        for frames in sets.values():  # as if every image were independent
            for number, atoms in enumerate(frames):
                atoms.info["run"] = number
        found = measure(sets, resamples=80)["all images"]["ce"]
        narrow += found.low < 1.0 < found.high
    assert covered >= 33
    assert narrow < covered - 5


def test_shared_starts_are_drawn_together_and_tighten_the_ratio():
    rng = np.random.default_rng(8)
    centers = 3.0 * rng.standard_t(3, size=(20, 2))

    def frames(width):
        return [
            image("Cu2", centers[run] + width * rng.normal(size=(2, 2)), run=run, start=run)
            for run in range(20)
            for _ in range(10)
        ]

    sets = {"md": frames(1.0), "ce": frames(1.5)}
    paired = measure(sets)
    found = paired["all images"]["ce"]
    assert found.within_ratio == pytest.approx(1.5, rel=0.1)
    assert abs(found.within_ratio - 1.5) < 3.0 * found.within_error
    assert 1.0 < found.ratio < 1.2
    for name, images in sets.items():
        for atoms in images:
            atoms.info["start"] = f"{name} {atoms.info['run']}"
    alone = measure(sets)
    assert (paired.resampled, alone.resampled) == ("starts", "trajectories")
    assert paired["all images"]["ce"].error < 0.5 * alone["all images"]["ce"].error


def energetic(rng, mean, own, trajectories=20, images=30):
    """Draw images whose spread grows with energy; `own` is a spread beyond that."""
    frames = []
    for run in range(trajectories):
        for _ in range(images):
            energy = rng.gamma(4.0, mean / 4.0)
            x = rng.normal(size=(4, 3)) * np.sqrt(0.05 + energy) * own
            frames.append(image("Cu4", x, 4 * energy - 7.0, run=run, start=run, reference=-7.0))
    return frames


def test_matched_energy_removes_what_only_energy_made():
    rng = np.random.default_rng(9)
    found = measure({"md": energetic(rng, 0.2, 1.0), "ce": energetic(rng, 0.4, 1.0)}, bins=20)
    assert found["all images"]["ce"].ratio > 1.25
    assert found["all images"]["ce"].mean_energy == pytest.approx(0.4, rel=0.1)
    for kind in ("equal energy histogram", "equal mean energy"):
        matched = found[kind]
        assert abs(matched["ce"].ratio - 1.0) < max(0.05, 3.0 * matched["ce"].error)
        assert matched["ce"].mean_energy == pytest.approx(matched["md"].mean_energy, rel=0.05)
        assert matched["ce"].effective_images < 600
    assert found["equal mean energy"]["md"].effective_images == pytest.approx(600)
    support = found["equal energy histogram"].support
    assert support is not None
    assert all(0.5 < share <= 1.0 for share in support)


def test_matched_energy_keeps_what_energy_did_not_make():
    rng = np.random.default_rng(10)
    found = measure({"md": energetic(rng, 0.2, 1.0), "ce": energetic(rng, 0.4, 1.3)}, bins=20)
    for kind in ("equal energy histogram", "equal mean energy"):
        assert found[kind]["ce"].ratio == pytest.approx(1.3, abs=0.1)


def test_energies_without_overlap_are_said_not_to_match():
    rng = np.random.default_rng(11)
    low, high = energetic(rng, 0.2, 1.0), energetic(rng, 0.2, 1.0)
    for atoms in high:
        atoms.info["reference"] = -1000.0
    found = measure({"md": low, "ce": high})
    assert [one.kind for one in found.comparisons] == ["all images"]
    with pytest.raises(KeyError, match="no weights give a mean energy"):
        found["equal mean energy"]
    assert any("no energies in common" in reason for reason in found.missing)


def test_energies_count_from_the_lowest_of_any_method_where_the_start_is_not_told():
    rng = np.random.default_rng(12)
    sets = {"md": energetic(rng, 0.2, 1.0), "ce": energetic(rng, 0.4, 1.0)}
    for frames in sets.values():
        for atoms in frames:
            del atoms.info["reference"]
    md, ce = sampled_sets(sets, KEYS)
    assert md.energies is not None
    assert ce.energies is not None
    for start in np.unique(md.starts):
        both = np.concatenate([one.energies[one.starts == start] for one in (md, ce)])
        assert both.min() == pytest.approx(0.0, abs=1e-12)


def test_equal_calls_cut_the_dearer_set_to_what_the_cheaper_spent():
    def frames(spent):
        return [
            image("Cu2", np.zeros((2, 1)), run=run, calls=call)
            for run, calls in enumerate(spent)
            for call in range(1, calls + 1)
        ]

    cheap, dear = sampled_sets({"dimer": frames([5, 10, 3]), "md": frames([20, 4, 20])}, KEYS)
    kept = equal_call_masks([cheap, dear])
    assert kept[0].all()
    assert cheap.total_calls == 18
    # min(calls, 7) of 20, 4 and 20 is 18 together.
    assert kept[1].sum() == 18
    assert dear.calls is not None
    assert dear.calls[kept[1]].max() == 7


def test_campaigns_of_several_seeds_are_measured_one_by_one():
    rng = np.random.default_rng(13)

    def frames(width):
        return [
            atoms
            for seed in range(4)
            for atoms in gaussian(rng, width * np.ones(3), 10, 10, seed=seed)
        ]

    found = measure({"md": frames(1.0), "ce": frames(2.0)})["equal calls"]["ce"]
    assert sorted(found.seed_ratios) == ["0", "1", "2", "3"]
    assert list(found.seed_ratios.values()) == pytest.approx([2.0] * 4, rel=0.1)
    assert found.seed_error is not None
    assert found.seed_error < 0.1
    assert found.trajectories == 40


def test_results_can_be_written_and_drawn(tmp_path):
    rng = np.random.default_rng(14)
    sets = {"md": energetic(rng, 0.2, 1.0), "ce": energetic(rng, 0.3, 1.2)}
    for frames in sets.values():
        for number, atoms in enumerate(frames):
            atoms.info["calls"] = number % 30 + 1
    found = measure(sets, scaling="minmax")
    summary = json.loads(json.dumps(found.summary(), allow_nan=False))
    assert [one["kind"] for one in summary["comparisons"]][1] == "equal calls"
    draw_diversity(found, tmp_path / "diversity.png")
    first = (tmp_path / "diversity.png").read_bytes()
    draw_diversity(found, tmp_path / "again.png")
    assert (tmp_path / "again.png").read_bytes() == first
    (axes,) = found.elements
    for distribution in axes.distributions:
        widths = np.diff(distribution.edges)
        assert (np.array(distribution.densities["md"]) @ widths) == pytest.approx(1.0, abs=0.02)


def test_moment_descriptors_do_not_change_under_rotation_and_see_the_temperature():
    describe = moment_descriptors(["Cu"], cutoff=5.0, min_dist=1.8, level=8, draws=2)
    sets = {}
    for seed, (name, width) in enumerate([("cold", 0.05), ("warm", 0.2)]):
        sets[name] = []
        for run in range(6):
            atoms = bulk("Cu", cubic=True).repeat(2)
            atoms.rattle(width, seed=100 * seed + run)
            atoms.calc = EMT()
            atoms.info["run"] = run
            sets[name].append(atoms)
    turned = sets["cold"][0].copy()
    turned.rotate(37.0, (1, 2, 3), rotate_cell=True)
    assert describe(turned) == pytest.approx(describe(sets["cold"][0]), rel=1e-8, abs=1e-12)
    found = measure_diversity(
        sampled_sets(sets, KEYS), describe, "cold", DiversitySettings(resamples=20)
    )
    assert found["all images"]["warm"].ratio > 2.0


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda sets: sets.pop("ce"), "at least two"),
        (lambda sets: sets["ce"].clear(), "'ce' holds no images"),
        (lambda sets: sets["ce"][3].info.pop("run"), r"'ce', image 3 has no info\['run'\]"),
        (lambda sets: sets["ce"][3].info.pop("calls"), r"'ce', image 3 has no info\['calls'\]"),
        (lambda sets: [a.info.update(run=0) for a in sets["ce"]], "'ce' has 200 images of one"),
        (lambda sets: [a.set_atomic_numbers([8] * 4) for a in sets["ce"]], "0 atoms of O"),
        (lambda sets: sets["ce"][0].arrays.update(x=np.full((4, 2), np.nan)), "image 0 are not"),
        (lambda sets: sets["ce"][1].arrays.update(x=np.zeros((3, 2))), r"\(3, 2\), expected \(4"),
        (
            lambda sets: [a.arrays.update(x=np.zeros((4, 2))) for s in sets.values() for a in s],
            "all descriptors of Cu are constant",
        ),
    ],
)
def test_unusable_sets_get_one_clear_error(spoil, message):
    rng = np.random.default_rng(15)
    sets = {name: gaussian(rng, np.ones(2)) for name in ("md", "ce")}
    spoil(sets)
    with pytest.raises(DataError, match=message):
        measure(sets)


def test_images_without_labels_or_calls_leave_comparisons_out_and_say_so():
    rng = np.random.default_rng(16)
    sets = {name: gaussian(rng, np.ones(2)) for name in ("md", "ce")}
    for frames in sets.values():
        for atoms in frames:
            del atoms.info["calls"]
    found = measure(sets)
    assert [one.kind for one in found.comparisons] == ["all images"]
    assert "force calls" in found.missing[0]
    assert "not all images have energies" in found.missing[1]


def test_unknown_baseline_and_scaling_name_what_there_is():
    rng = np.random.default_rng(17)
    sets = {name: gaussian(rng, np.ones(2), 4) for name in ("md", "ce")}
    with pytest.raises(DataError, match="no data set 'dft' to compare with, there are md, ce"):
        measure(sets, baseline="dft")
    with pytest.raises(ValueError, match="scaling has to be"):
        DiversitySettings(scaling="maxmin")
