import numpy as np
import pytest
from ase.build import bulk, fcc111
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator

A = 3.59


def labeled(atoms):
    atoms.calc = EMT()
    results = {
        "energy": atoms.get_potential_energy(),
        "forces": atoms.get_forces(),
        "stress": atoms.get_stress(),
    }
    atoms.calc = SinglePointCalculator(atoms, **results)
    return atoms


def strained(atoms, strain):
    new = atoms.copy()
    new.set_cell(new.cell.array @ (np.eye(3) + strain), scale_atoms=True)
    return new


@pytest.fixture(scope="session")
def copper_frames():
    """Copper by EMT: the crystal, strained cells (0 to 24), a rattled one, hot ones, a slab."""
    rng = np.random.default_rng(0)
    cube = bulk("Cu", "fcc", a=A, cubic=True)
    frames = [cube.copy()]
    for size in (-0.02, -0.01, 0.01, 0.02):
        for row, column in ((0, 0), (1, 1), (0, 1), (1, 2)):
            strain = np.zeros((3, 3))
            strain[row, column] = strain[column, row] = size
            frames.append(strained(cube, strain))
    frames += [strained(cube, size * np.eye(3)) for size in np.linspace(-0.04, 0.04, 8)]
    rattled = cube.repeat(2)
    rattled.positions += rng.normal(scale=0.02, size=rattled.positions.shape)
    frames.append(rattled)
    for _ in range(6):
        hot = cube.repeat((2, 1, 1))
        hot.positions += rng.normal(scale=0.25, size=hot.positions.shape)
        frames.append(hot)
    frames.append(fcc111("Cu", (1, 1, 4), a=A, vacuum=6.0, periodic=True))
    return [labeled(atoms) for atoms in frames]
