import numpy as np
import pytest

from pescape.plugins.structures import BulkCrystal, crystal, repeat_for, shortest_distance
from pescape.plugins.structures.crystals import enforce_min_distance

ZR = BulkCrystal("Zr", "hcp", 3.234, 1.598)


@pytest.mark.parametrize(
    ("host", "size", "repeat"),
    [
        (ZR, 4, (1, 1, 1)),
        (ZR, 16, (2, 1, 2)),
        (ZR, 64, (4, 2, 2)),
        (ZR, 256, (4, 4, 4)),
        (BulkCrystal("Zr", "bcc", 3.58), 128, (4, 4, 4)),
        (BulkCrystal("Al", "fcc", 4.05), 108, (3, 3, 3)),
    ],
)
def test_supercells_of_a_number_of_atoms_are_the_most_compact(host, size, repeat):
    assert repeat_for(host, size) == repeat
    assert len(host.atoms(repeat=repeat)) == size


def test_impossible_sizes_are_refused_with_the_possible_ones():
    with pytest.raises(ValueError, match=r"has 4; possible are 8 and 12"):
        repeat_for(ZR, 10)
    with pytest.raises(ValueError, match=r"has 4; possible are 4"):
        repeat_for(ZR, 3)


def test_scaling_changes_the_volume_and_keeps_the_shape():
    new, old = ZR.scaled(1.1).atoms(), ZR.atoms()
    assert new.get_volume() == pytest.approx(1.1 * old.get_volume())
    np.testing.assert_allclose(new.get_scaled_positions(), old.get_scaled_positions(), atol=1e-12)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("Zx", "hcp", 3.2), "'Zx' is no chemical symbol"),
        (("Zr", "hpc", 3.2), "lattice 'hpc' is not one of"),
        (("Zr", "hcp", -3.2), r"a = -3.2 Å is not a positive number"),
        (("Zr", "bcc", 3.6, 1.6), "c_over_a belongs to hcp and omega, not to bcc"),
        (("Zr", "hcp", 3.2, 0.0), "c_over_a = 0.0 is not a positive number"),
    ],
)
def test_hosts_that_cannot_be_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        BulkCrystal(*arguments)


def test_atoms_are_pushed_apart_even_where_pushes_cancel():
    atoms = crystal("Zr", "sc", 3.0, repeat=(2, 2, 2))
    atoms.append("Zr")
    atoms.positions[-1] = (1.5, 0.0, 0.0)  # midway between two
    assert shortest_distance(enforce_min_distance(atoms, 2.2)) >= 2.2
    untouched = crystal("Zr", "sc", 3.0)
    before = untouched.positions.copy()
    np.testing.assert_array_equal(enforce_min_distance(untouched, 2.9).positions, before)
    with pytest.raises(ValueError, match=r"Zr in 27.0 Å³ has no room .* 3.1 Å apart"):
        enforce_min_distance(untouched, 3.1)
