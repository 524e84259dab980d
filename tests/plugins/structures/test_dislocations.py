import numpy as np
import pytest
from ase.calculators.lj import LennardJones
from ase.neighborlist import neighbor_list

from pescape.plugins.structures import (
    BulkCrystal,
    dipole_repeat,
    dislocation_dipole,
    replay,
    shortest_distance,
)

A = 3.2
HCP = BulkCrystal("Mg", "hcp", A)
# Glide, normal and line among x, y and z.
KINDS = {
    ("edge", "basal"): (0, 2, 1),
    ("edge", "prismatic"): (0, 1, 2),
    ("screw", "basal"): (1, 2, 0),
    ("screw", "prismatic"): (2, 1, 0),
}
every_kind = pytest.mark.parametrize(("character", "plane"), KINDS)


@pytest.fixture(scope="module")
def built():
    return {
        (*kind, arrangement): dislocation_dipole(
            HCP, *kind, repeat=dipole_repeat(HCP, *kind, 512), arrangement=arrangement
        )
        for kind in KINDS
        for arrangement in ("quadrupole", "dipole")
    }


def ideal_steps():
    """Ways to nearest neighbors in the perfect crystal, from both of its sublattices."""
    return np.unique(neighbor_list("D", HCP.atoms(), 1.1 * A).round(9), axis=0)


def burgers_circuit(atoms, center, widths, axes):
    """Walk around a core from atom to atom; what the same steps miss in the perfect crystal."""
    glide, normal, _ = axes
    first, second, vectors = neighbor_list("ijD", atoms, 1.25 * A)
    steps = ideal_steps()
    corner = np.zeros((4, 3))
    corner[:, glide] = center[0] + widths[0] * np.array([-1, 1, 1, -1])
    corner[:, normal] = center[1] + widths[1] * np.array([-1, -1, 1, 1])
    here = int(np.linalg.norm(atoms.positions - corner[0], axis=1).argmin())
    place = start = atoms.positions[here]
    total = np.zeros(3)
    for target in (*corner[1:], start):
        while True:
            ways = np.flatnonzero(first == here)
            best = ways[np.linalg.norm(place + vectors[ways] - target, axis=1).argmin()]
            if np.linalg.norm(place + vectors[best] - target) >= np.linalg.norm(place - target):
                break
            total += steps[np.linalg.norm(steps - vectors[best], axis=1).argmin()]
            place, here = place + vectors[best], int(second[best])
    np.testing.assert_allclose(place, start, atol=1e-6)
    return total


@every_kind
@pytest.mark.parametrize("arrangement", ["quadrupole", "dipole"])
def test_circuits_around_the_cores_miss_opposite_burgers_vectors(
    built, character, plane, arrangement
):
    atoms, axes = built[character, plane, arrangement], KINDS[character, plane]
    perfect = HCP.atoms(repeat=dipole_repeat(HCP, character, plane, 512)).cell.lengths()
    long, high = perfect[axes[0]], perfect[axes[1]]
    found = [
        burgers_circuit(atoms, (part * long, high / 2), (0.18 * long, 0.3 * high), axes)
        for part in (0.25, 0.75)
    ]
    np.testing.assert_allclose(np.abs(found[0]), (A, 0, 0), atol=1e-6)
    np.testing.assert_allclose(found[0] + found[1], 0.0, atol=1e-6)
    around_both = burgers_circuit(atoms, (0.5 * long, high / 2), (0.45 * long, 0.35 * high), axes)
    np.testing.assert_allclose(around_both, 0.0, atol=1e-6)


@every_kind
@pytest.mark.parametrize("arrangement", ["quadrupole", "dipole"])
def test_atoms_keep_their_number_and_distance(built, character, plane, arrangement):
    atoms = built[character, plane, arrangement]
    assert len(atoms) == 512
    assert atoms.pbc.all()
    assert shortest_distance(atoms) > 0.7 * A


@every_kind
def test_strain_far_from_the_cores_is_small(built, character, plane):
    atoms = built[character, plane, "quadrupole"]
    normal = KINDS[character, plane][1]
    perfect = HCP.atoms(repeat=dipole_repeat(HCP, character, plane, 512)).cell.lengths()
    far = np.flatnonzero(np.abs(atoms.positions[:, normal] - perfect[normal] / 2) > 10.0)
    first, distances = neighbor_list("id", atoms, 1.2 * A)
    own = np.isin(first, far)
    assert (np.bincount(first, minlength=512)[far] == 12).all()
    assert distances[own] == pytest.approx(A, rel=0.06)


@every_kind
def test_the_tilt_of_the_cell_takes_the_mean_shear_stress_out(built, character, plane):
    glide, normal, line = KINDS[character, plane]
    atoms = built[character, plane, "dipole"].copy()
    upright = atoms.copy()
    cell = atoms.cell.array.copy()
    cell[normal, [glide, line]] = 0.0
    upright.set_cell(cell, scale_atoms=True)
    voigt = {(0, 1): 5, (0, 2): 4, (1, 2): 3}[tuple(sorted((0, normal)))]
    stresses = []
    for one in (atoms, upright):
        one.calc = LennardJones(sigma=A / 2 ** (1 / 6), epsilon=0.5, rc=7.0, smooth=True)
        stresses.append(abs(one.get_stress()[voigt]))
    assert stresses[0] < 0.2 * stresses[1]
    assert atoms.get_potential_energy() < upright.get_potential_energy()


@every_kind
def test_records_build_it_again(built, character, plane):
    atoms = built[character, plane, "dipole"]
    assert replay(atoms.info["record"]) == atoms


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: dipole_repeat(HCP, "edge", "basal", 100), "has 100 atoms: give a multiple of 8"),
        (lambda: dipole_repeat(HCP, "edge", "conic", 512), "'edge' on 'conic' is not one of edge"),
        (
            lambda: dipole_repeat(BulkCrystal("Al", "fcc", 4.0), "edge", "basal", 512),
            "dislocation dipoles are built in hcp, not in fcc",
        ),
        (
            lambda: dislocation_dipole(HCP, "edge", "basal", repeat=(7, 1, 4)),
            r"repeat = \[7, 1, 4\] is odd along x, where glide is: make it even",
        ),
        (
            lambda: dislocation_dipole(HCP, "edge", "basal", repeat=(8, 1, 4), poisson=0.7),
            r"poisson = 0.7 is not between -1 and 0.5",
        ),
        (
            lambda: dislocation_dipole(HCP, "edge", "basal", repeat=(8, 1, 4), arrangement="row"),
            "arrangement 'row' is not one of quadrupole, dipole",
        ),
    ],
)
def test_dipoles_that_cannot_be_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
