"""Draw how a finished campaign's data set and errors go with the level: figure 2 of Luo et al.

    python examples/zirconium/levels_figure.py FOLDER [-o levels.png]

FOLDER is the output of ``pescape learn``. Beside what the campaign reached, each level is fitted
to the initial data set alone, as the paper does for its data set of fixed size.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path

from pescape.calculators.fit.errors import stated
from pescape.calculators.mtp import MTPotential
from pescape.calculators.mtp.fit import evaluate, fit_mtp, raised
from pescape.data.configurations import read_configurations
from pescape.figures.learning import draw_levels
from pescape.fits.config import FitConfig, PotentialConfig
from pescape.learning.records import LevelSummary, read_levels


def fixed_data_levels(folder: Path) -> list[LevelSummary]:
    """Fit every level, each from the one below, to the initial data set of a campaign."""
    config = json.loads((folder / "config.json").read_text())
    settings = PotentialConfig(**config["potential"])
    fit = FitConfig(**config["fit"]).settings(config["seed"])
    initial = [a for a in read_configurations(folder / "train.xyz") if a.info["round"] == 0]
    test = read_configurations(folder / "test.xyz")
    found = []
    potential = MTPotential.untrained(
        settings.levels[0],
        settings.species,
        settings.cutoff,
        settings.min_dist,
        settings.radial_basis_size,
    )
    for one in read_levels(folder):
        if potential.is_trained:
            potential = raised(potential, one.level)
        result = fit_mtp(potential, initial, fit)
        potential = result.potential
        tested = evaluate(potential, test)
        print(
            f"level {one.level}, {len(initial)} initial configurations: "
            f"{result.errors.energy_rmse:.1f} meV/atom, {result.errors.force_rmse:.3f} eV/Å; "
            f"on the campaign's {len(test)} test configurations {stated(tested, 'energy_rmse')}, "
            f"{stated(tested, 'force_rmse')}"
        )
        found.append(
            dataclasses.replace(
                one,
                energy_rmse=result.errors.energy_rmse,
                force_rmse=result.errors.force_rmse,
            )
        )
    return found


def main() -> None:
    """Draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("-o", "--output", type=Path, default=Path("levels.png"))
    given = parser.parse_args()
    draw_levels(read_levels(given.folder), given.output, fixed=fixed_data_levels(given.folder))
    print(given.output)


if __name__ == "__main__":
    main()
