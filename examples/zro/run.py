"""Networks for Zr-O, trained on what MD, contour exploration and dimer searches sampled.

    pip install sevenn
    python examples/zro/run.py --size small        about twenty minutes of one core

The protocol of Waters and Rondinelli: the campaign of sample.toml, a network for each sampler
trained with the preset "paper" on equally many images, every network on every test set. Leaves
networks, errors.json and figures in FOLDER/paper; killed and started again, it goes on.
--preset default trains on the same images as pescape does of itself, into FOLDER/default.
"""

import argparse
from pathlib import Path

from ase import Atoms

from pescape.cli import main as pescape
from pescape.config import load_config
from pescape.data.configurations import read_configurations, write_configurations
from pescape.sampling import SampleConfig, sample

HERE = Path(__file__).parent
SAMPLERS = ("md", "contour", "dimer")


def small(config: SampleConfig) -> SampleConfig:
    """Take fewer and smaller starts and shorter trajectories, and more images of each."""
    polymorphs, packings = config.structures
    starts = (
        polymorphs.model_copy(update={"count": 10, "max_atoms": 12}),
        packings.model_copy(update={"count": 6, "boxes": (5.0, 6.0)}),
    )
    samplers = tuple(one.model_copy(update={"calls": 40, "every": 2}) for one in config.samplers)
    return config.model_copy(update={"structures": starts, "samplers": samplers})


def campaign(config: SampleConfig, folder: Path) -> None:
    """Run the campaign or finish it; then write each sampler's images to files of their own."""
    result = sample(config, folder / "sampled", base=HERE, command="run.py")
    print(
        f"{len(result.records)} trajectories, {len(result.failed)} failed, "
        f"{sum(one.cpu for one in result.records):.0f} CPU s; {result.train} images to train, "
        f"{result.test} to test, {result.rejected} rejected",
        flush=True,
    )
    for name in ("train", "test"):
        images = read_configurations(result.folder / f"{name}.xyz")
        split = {one: [a for a in images if a.info["sampler"] == one] for one in SAMPLERS}
        count = min(map(len, split.values()))
        for sampler, own in split.items():
            write_configurations(folder / f"{sampler}-{name}.xyz", thinned(own, count))


def thinned(images: list[Atoms], count: int) -> list[Atoms]:
    """Take so many of the images, evenly."""
    return [images[index * len(images) // count] for index in range(count)]


def command(*arguments: object) -> None:
    """Say a command of pescape and run it; raises SystemExit where it fails."""
    given = [str(argument) for argument in arguments]
    print("\npescape", *given, flush=True)
    try:
        pescape(given)
    except SystemExit as end:
        if end.code:
            raise


def train(folder: Path, sampler: str, preset: str) -> None:
    """Train a network on one sampler's images, unless that is done."""
    network = folder / preset / f"{sampler}.bpnn"
    if not network.with_name(f"{network.name}.json").exists():
        data = folder / f"{sampler}-train.xyz"
        how = ("--preset", preset, "--species", "Zr,O", "--seed", 1, "--resume", "--no-check")
        command("fit", "bpnn", data, "-o", network, *how)


def main() -> None:
    """Sample, train, test."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", choices=("small", "paper"), default="small")
    parser.add_argument(
        "--preset", choices=("paper", "default"), default="paper", help="of pescape fit bpnn"
    )
    parser.add_argument("--workers", type=int, default=1, help="processes of the campaign")
    parser.add_argument("-o", "--output", type=Path, help="(beside this file, by size)")
    given = parser.parse_args()
    folder = given.output or HERE / f"sampled-{given.size}"

    config = load_config(HERE / "sample.toml", SampleConfig)
    config = small(config) if given.size == "small" else config
    campaign(config.model_copy(update={"workers": given.workers}), folder)
    for sampler in SAMPLERS:
        train(folder, sampler, given.preset)
    models = [f"{sampler}={folder / given.preset / sampler}.bpnn" for sampler in SAMPLERS]
    tests = [f"--test={sampler}={folder / sampler}-test.xyz" for sampler in SAMPLERS]
    trains = [f"--train={sampler}={folder / sampler}-train.xyz" for sampler in SAMPLERS]
    command("evaluate", "--cross", *models, *tests, *trains, "-o", folder / given.preset)


if __name__ == "__main__":
    main()
