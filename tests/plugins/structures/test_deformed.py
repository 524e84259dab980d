import numpy as np
import pytest

from pescape.plugins.structures import DEFORMATIONS, BulkCrystal, deformation_grid, deformed, replay

FCC = BulkCrystal("Zr", "fcc", 4.55)


@pytest.mark.parametrize(
    ("lattice", "count", "atoms"), [("hcp", 39, 4), ("bcc", 32, 2), ("fcc", 98, 4)]
)
def test_grids_have_the_numbers_of_table_1_and_no_crystal_twice(lattice, count, atoms):
    host = BulkCrystal("Zr", lattice, 3.5)
    built = [deformed(host, *one) for one in deformation_grid(lattice)]
    assert [len(one) for one in built] == [atoms] * count
    metrics = {tuple(np.round(one.cell @ one.cell.T, 6).ravel()) for one in built}
    assert len(metrics) == count
    assert len({one.info["name"] for one in built}) == count


@pytest.mark.parametrize("mode", DEFORMATIONS)
def test_modes_strain_as_they_are_named(mode):
    atoms = deformed(FCC, mode, 0.04)
    change = np.linalg.solve(FCC.atoms().cell.array, atoms.cell.array) - np.eye(3)
    np.testing.assert_allclose(change, change.T, atol=1e-12)
    ratio = atoms.get_volume() / FCC.atoms().get_volume()
    if mode == "volumetric":
        assert ratio == pytest.approx(1.04**3)
    elif mode in {"tetragonal", "orthorhombic"}:
        assert ratio == pytest.approx(1.0)
    elif mode.startswith("shear"):
        assert np.abs(change).max() == pytest.approx(0.02)
        assert np.trace(change) == pytest.approx(0.0, abs=1e-12)
    else:
        stretched = 2 if mode.startswith("biaxial") else 1
        assert sorted(np.linalg.eigvalsh(change))[-stretched:] == pytest.approx([0.04] * stretched)


def test_stretching_fcc_to_bcc_leads_along_bains_path():
    bcc = deformed(FCC, "tetragonal", -0.2)
    ratio = bcc.cell.lengths()[2] / bcc.cell.lengths()[0]
    assert ratio == pytest.approx(0.8 / 1.1)
    assert bcc.get_volume() == pytest.approx(FCC.atoms().get_volume())


def test_modes_and_magnitudes_can_be_chosen():
    grid = deformation_grid("hcp", ["uniaxial_z", "shear_xz"], [0.01, 0.03])
    assert grid == [
        ("uniaxial_z", -0.01),
        ("uniaxial_z", 0.01),
        ("uniaxial_z", -0.03),
        ("uniaxial_z", 0.03),
        ("shear_xz", 0.01),
        ("shear_xz", 0.03),
    ]
    with pytest.raises(ValueError, match="deformation 'bend' is not one of volumetric, "):
        deformation_grid("hcp", ["bend"])
    with pytest.raises(ValueError, match=r"magnitude -0.1 of a deformation is not between 0 and"):
        deformation_grid("hcp", magnitudes=[-0.1])


def test_records_build_it_again():
    atoms = deformed(BulkCrystal("Zr", "omega", 5.05), "shear_yz", 0.03, repeat=(1, 1, 2))
    assert replay(atoms.info["record"]) == atoms
