"""Hold the campaign's coarse DFT against a data set with finer settings of the same functional.

    python examples/zirconium_dft/compare.py DATA.extxyz [--count 8]

Labels frames of the data set that hold zirconium only, evenly chosen, and prints what the
settings of ``learn.toml`` change: free energies relative to their mean, and forces.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from pescape.config import load_config
from pescape.data.configurations import read_configurations
from pescape.labelling import LabelFailure, reference_from
from pescape.labelling.label import label_all
from pescape.learning.config import LearnConfig

HERE = Path(__file__).parent


def main() -> None:
    """Label, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--count", type=int, default=8)
    parser.add_argument("--tasks", type=Path, default=HERE / "compared", help="keeps labels")
    given = parser.parse_args()
    frames = [f for f in read_configurations(given.data) if set(f.symbols) == {"Zr"}]
    chosen = [frames[i] for i in np.linspace(0, len(frames) - 1, given.count).astype(int)]
    reference = reference_from(load_config(HERE / "learn.toml", LearnConfig).reference, HERE)
    pairs = [
        (fine, coarse)
        for fine, coarse in zip(chosen, label_all(chosen, reference, given.tasks), strict=True)
        if not isinstance(coarse, LabelFailure)
    ]
    energies = np.array([[a.calc.results["free_energy"] / len(a) for a in pair] for pair in pairs])
    energies -= energies.mean(axis=0)
    print("free energy per atom from the mean, meV: finer settings, these, difference")
    for (fine, _), (a, b) in zip(pairs, 1000.0 * energies, strict=True):
        name = fine.info.get("config_type", fine.get_chemical_formula())
        print(f"{name:14s} {a:8.1f} {b:8.1f} {b - a:8.1f}")
    forces = [np.concatenate([pair[k].get_forces() for pair in pairs]) for k in (0, 1)]
    print(f"energies differ by {_rms(1000.0 * (energies[:, 1] - energies[:, 0])):.1f} meV/atom")
    print(f"forces differ by {_rms(forces[1] - forces[0]):.3f} of {_rms(forces[0]):.3f} eV/Å")


def _rms(values: np.ndarray) -> float:
    """Root of the mean square of all entries."""
    return float(np.sqrt(np.mean(np.square(values))))


if __name__ == "__main__":
    main()
