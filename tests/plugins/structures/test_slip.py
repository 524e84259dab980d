import numpy as np
import pytest
from ase.calculators.lj import LennardJones

from pescape.plugins.structures import BulkCrystal, cut, shortest_distance, stacking_fault
from pescape.plugins.structures.stacking_faults import SLIP, displacement_symmetries

A = 3.2
HOSTS = {
    "hcp": BulkCrystal("Mg", "hcp", A, 1.6),
    "fcc": BulkCrystal("Al", "fcc", A * 2**0.5),
    "bcc": BulkCrystal("W", "bcc", A * 2 / 3**0.5),
}
ALL = [(HOSTS[lattice], slip) for lattice, planes in SLIP.items() for slip in planes]
NAMES = [f"{host.lattice}-{slip.name}" for host, slip in ALL]


def energy(host, slip, displacement):
    atoms = stacking_fault(host, slip.indices, displacement, layers=4)
    atoms.calc = LennardJones(sigma=A / 2 ** (1 / 6), epsilon=0.1, rc=7.0, smooth=True)
    return atoms.get_potential_energy()


@pytest.mark.parametrize(("host", "slip"), ALL, ids=NAMES)
def test_displacements_that_symmetry_makes_the_same_have_one_energy(host, slip):
    displacement = np.array([0.23, 0.31])
    energies = [
        energy(host, slip, matrix @ displacement)
        for matrix in displacement_symmetries(host, slip.indices)
    ]
    np.testing.assert_allclose(energies, energies[0], rtol=1e-7)
    assert abs(energy(host, slip, displacement[::-1] * [1.0, 0.9]) - energies[0]) > 1e-3


def test_planes_have_the_symmetry_of_the_textbooks():
    counts = [len(displacement_symmetries(host, slip.indices)) for host, slip in ALL]
    # 3m, 2mm, 3m, 2mm, and m: 1/2[11-1] slips easier one way, that of twins, than the other.
    assert dict(zip(NAMES, counts, strict=True)) == {
        "hcp-basal": 6,
        "hcp-prismatic": 4,
        "fcc-111": 6,
        "bcc-110": 4,
        "bcc-112": 2,
    }


@pytest.mark.parametrize(("host", "slip"), ALL, ids=NAMES)
def test_lines_are_as_long_as_the_period_of_their_name(host, slip):
    periods = cut(host, slip.indices).layer.cell.array[:2]
    first, second = (np.array(line.period) @ periods for line in slip.lines[:2])
    assert first @ second == pytest.approx(0.0, abs=1e-9)
    c = host.a * (host.c_over_a or 0.0)
    lengths = {
        "1/3[1-210]": host.a,
        "[1-100]": 3**0.5 * host.a,
        "[0001]": c,
        "1/2[1-10]": host.a / 2**0.5,
        "1/2[11-2]": host.a * 1.5**0.5,
        "[001]": host.a,
        "[1-10]": host.a * 2**0.5,
        "1/2[1-11]": host.a * 0.75**0.5,
        "1/2[11-1]": host.a * 0.75**0.5,
    }
    for line in slip.lines:
        assert np.linalg.norm(line.period @ periods) == pytest.approx(lengths[line.label])


@pytest.mark.parametrize("lattice", ["hcp", "fcc"])
def test_intrinsic_faults_leave_the_distances_of_neighbors_alone(lattice):
    host = HOSTS["fcc"] if lattice == "fcc" else BulkCrystal("Mg", "hcp", A)
    slip = SLIP[lattice][0]
    line = slip.lines[1]
    ((place, _),) = line.faults
    assert place == pytest.approx(1 / 3)
    good, bad = (stacking_fault(host, slip.indices, line.at(p), layers=4) for p in (1 / 3, 2 / 3))
    assert shortest_distance(good) == pytest.approx(host.nearest)
    assert shortest_distance(bad) < 0.85 * host.nearest
