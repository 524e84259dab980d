"""Compare MD, contour exploration and dimer searches as sources of training data.

    python examples/sampling/emt/run.py [--seeds 3] [-o FOLDER]

Runs the campaign of sample.toml with several seeds, measures how diverse the samplers' images
are at equal force calls and at matched energies, trains a small moment tensor potential on
each sampler's images and tests every potential on every sampler's test set. Leaves
diversity.png, cross_evaluation.png and results.json; killed and started again, it goes on.
"""

import argparse
from dataclasses import asdict
from pathlib import Path

from ase import Atoms

from pescape.calculators.fit.cross import cross_evaluate
from pescape.calculators.mtp import MTPotential
from pescape.calculators.mtp.fit import FitSettings, fit_mtp
from pescape.cli.evaluation import print_cross_errors
from pescape.cli.sampling import print_comparison
from pescape.config import load_config
from pescape.data.configurations import read_configurations, species_of
from pescape.figures.evaluation import draw_cross_evaluation
from pescape.figures.sampling import draw_diversity
from pescape.files import write_json
from pescape.sampling import SampleConfig, sample
from pescape.sampling.diversity import measure_diversity
from pescape.sampling.diversity.axes import moment_descriptors, waters_rondinelli_descriptors
from pescape.sampling.diversity.data import sampled_sets
from pescape.sampling.diversity.measure import Diversity, DiversitySettings

HERE = Path(__file__).parent
SAMPLERS = ("md", "contour", "dimer")


def campaigns(folder: Path, seeds: int, workers: int) -> dict[str, dict[str, list[Atoms]]]:
    """Run or finish the campaigns; images by set ("train", "test") and sampler."""
    config = load_config(HERE / "sample.toml", SampleConfig)
    images: dict[str, dict[str, list[Atoms]]] = {"train": {}, "test": {}}
    for seed in range(1, seeds + 1):
        own = config.model_copy(update={"seed": seed, "workers": workers})
        result = sample(own, folder / f"seed-{seed}", base=HERE, command="run.py")
        print(
            f"seed {seed}: {len(result.records)} trajectories, {len(result.failed)} failed; "
            f"{result.train} images to train, {result.test} to test, {result.rejected} rejected",
            flush=True,
        )
        for name, by_sampler in images.items():
            for atoms in read_configurations(result.folder / f"{name}.xyz"):
                atoms.info["campaign_seed"] = seed
                by_sampler.setdefault(atoms.info["sampler"], []).append(atoms)
    return images


def diversities(images: dict[str, dict[str, list[Atoms]]]) -> tuple[Diversity, Diversity]:
    """Measure with the paper's descriptors, and with others to see what depends on them."""
    names = list(images["train"])
    sets = sampled_sets({name: images["train"][name] + images["test"][name] for name in names})
    elements = species_of([atoms for one in sets for atoms in one.frames])
    by_paper = measure_diversity(sets, waters_rondinelli_descriptors(elements), "md")
    moments = moment_descriptors(elements, cutoff=5.0, min_dist=1.5)
    settings = DiversitySettings(scaling="deviation", resamples=100)
    return by_paper, measure_diversity(sets, moments, "md", settings)


def trained(images: dict[str, list[Atoms]], count: int, folder: Path) -> dict[str, Path]:
    """Fit a potential to equally many images of each sampler."""
    files = {}
    for name in SAMPLERS:
        frames = images[name][:: max(1, len(images[name]) // count)][:count]
        start = MTPotential.untrained(8, ["Cu", "Au"], cutoff=5.0, min_dist=1.5)
        result = fit_mtp(start, frames, FitSettings(iterations=300, starts=2, seed=1))
        print(
            f"trained on {len(frames)} images of {name}: {result.errors.energy_rmse:.1f} meV/atom,"
            f" {result.errors.force_rmse:.3f} eV/Å (RMSE)",
            flush=True,
        )
        files[name] = folder / f"{name}.mtp"
        result.potential.write(files[name])
    return files


def main() -> None:
    """Sample, compare, train, test."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--images", type=int, default=500, help="to train each potential on")
    parser.add_argument("-o", "--output", type=Path, default=HERE / "sampled")
    given = parser.parse_args()

    images = campaigns(given.output, given.seeds, given.workers)
    by_paper, by_moments = diversities(images)
    for comparison in by_paper.comparisons:
        print_comparison(comparison)
    print("\nwith moment tensors as descriptors, scaled to unit variance:")
    for comparison in by_moments.comparisons:
        print_comparison(comparison)
    draw_diversity(by_paper, given.output / "diversity.png")

    count = min(given.images, *(len(images["train"][name]) for name in SAMPLERS))
    potentials = trained(images["train"], count, given.output)
    found = cross_evaluate(potentials, {name: images["test"][name][::2] for name in SAMPLERS})
    print_cross_errors(found)
    draw_cross_evaluation(found, given.output / "cross_evaluation.png")
    results = {
        "diversity": by_paper.summary(),
        "diversity_by_moments": by_moments.summary(),
        "errors": [asdict(one) for one in found.errors],
    }
    write_json(given.output / "results.json", results)
    print(f"{given.output / 'diversity.png'}")


if __name__ == "__main__":
    main()
