"""The repulsion of nuclei: its formula, its switching, its derivatives."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms

from pescape.calculators.neighbors import neighbors
from pescape.calculators.zbl import ZBL

# Universal screening function: weights and decays, as in Ziegler, Biersack and Littmark (1985).
WEIGHTS = np.array([0.18175, 0.50986, 0.28022, 0.02817])
DECAYS = np.array([3.19980, 0.94229, 0.40290, 0.20162])
INNER, OUTER = 0.8, 1.8


def dimer(r: float, repulsion: ZBL | None = None) -> tuple[float, np.ndarray]:
    """Energy (eV) and forces (2, 3) of Zr and O, r Å apart along a slanted line."""
    axis = np.array([1.0, -2.0, 2.0]) / 3.0
    atoms = Atoms("ZrO", [[0.2, 0.1, 0.3], np.array([0.2, 0.1, 0.3]) + r * axis])
    kernel = (repulsion or ZBL(INNER, OUTER)).kernel(["O", "Zr"])
    lists = neighbors(atoms, 5.0).arrays
    energies, forces, _ = kernel.evaluate(atoms.positions, np.array([1, 0], np.int32), *lists)
    assert energies[0] == energies[1]
    np.testing.assert_array_equal(forces[0], -forces[1])
    return energies.sum(), forces


def slope(r: float, h: float = 1e-4) -> float:
    return (dimer(r + h)[0] - dimer(r - h)[0]) / (2 * h)


def test_below_inner_it_is_the_screened_repulsion_up_to_a_constant():
    r = np.array([0.05, 0.2, 0.4, 0.79])
    a = 0.46850 / (40**0.23 + 8**0.23)
    screening = (WEIGHTS * np.exp(-np.outer(r / a, DECAYS))).sum(axis=1)
    expected = 14.399645 * 40 * 8 / r * screening
    found = np.array([dimer(one)[0] for one in r])
    np.testing.assert_allclose(found[:-1] - found[-1], expected[:-1] - expected[-1], rtol=1e-12)


@pytest.mark.parametrize("r", [0.1, 0.5, 0.9, 1.3, 1.7])
def test_forces_are_derivatives_of_the_energy(r):
    axis = np.array([1.0, -2.0, 2.0]) / 3.0
    np.testing.assert_allclose(dimer(r)[1][0], axis * slope(r, 1e-5), rtol=1e-6)


def test_energy_force_and_curvature_end_at_outer():
    for gap in (1e-2, 1e-3, 1e-4):
        energy, forces = dimer(OUTER - gap)
        pull = np.linalg.norm(forces[0])
        # A third derivative of its size is all that is left.
        assert 0.0 < energy < 100.0 * gap**3
        assert 0.0 < pull < 300.0 * gap**2
    assert dimer(OUTER)[0] == dimer(OUTER + 0.1)[0] == 0.0


def test_energy_and_its_first_two_derivatives_are_continuous_at_inner():
    h = 1e-6
    below, above = dimer(INNER - h), dimer(INNER + h)
    assert above[0] - below[0] == pytest.approx(2 * h * slope(INNER), rel=1e-4)
    curvature = [
        (np.linalg.norm(dimer(r)[1][0]) - np.linalg.norm(dimer(r + 1e-3)[1][0])) / 1e-3
        for r in (INNER - 1e-3, INNER)
    ]
    assert curvature[0] == pytest.approx(curvature[1], rel=1e-2)


def test_it_falls_all_the_way_to_outer():
    energies = np.array([dimer(r)[0] for r in np.linspace(0.02, OUTER, 400)])
    assert (np.diff(energies) < 0).all()


def test_virials_are_derivatives_with_respect_to_strain():
    rng = np.random.default_rng(3)
    atoms = Atoms("OZrO", 0.9 * rng.normal(size=(3, 3)), cell=np.eye(3) * 2.6, pbc=True)
    kernel = ZBL(0.5, 1.8).kernel(["O", "Zr"])
    species = np.array([0, 1, 0], np.int32)

    def evaluate(strain: np.ndarray):
        strained = atoms.copy()
        strained.set_cell(atoms.cell.array @ (np.eye(3) + strain), scale_atoms=True)
        lists = neighbors(strained, 2.0).arrays
        return kernel.evaluate(strained.positions, species, *lists)

    virial = evaluate(np.zeros((3, 3)))[2].sum(axis=0)
    for k, (a, b) in enumerate([(0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)]):
        strain = np.zeros((3, 3))
        strain[a, b] += 0.5e-5
        strain[b, a] += 0.5e-5
        change = (evaluate(strain)[0].sum() - evaluate(-strain)[0].sum()) / 2e-5
        assert virial[k] == pytest.approx(-change, rel=1e-5, abs=1e-4)


@pytest.mark.parametrize(
    ("inner", "outer"), [(1.8, 0.8), (1.0, 1.0), (0.0, 1.0), (-1.0, 1.0), (1.0, np.nan)]
)
def test_distances_that_make_no_sense_are_refused(inner, outer):
    with pytest.raises(ValueError, match=r"zbl: inner .* 0 < inner < outer must hold"):
        ZBL(inner, outer)
