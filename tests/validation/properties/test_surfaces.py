import numpy as np
import pytest
from ase.units import J, m

from pescape.validation import PropertyError
from pescape.validation.crystals import Crystal
from pescape.validation.predicates import Predicate
from pescape.validation.properties.planes.surfaces import SurfaceConfig, plane_title, surface

from ..conftest import DEPTH, LENGTH


def numbers(result):
    return {name: one.value for name, one in result.values.items()}


def test_surfaces_cost_the_bonds_that_they_break(springs, copper):
    # Of the twelve bonds of an fcc atom, (111) breaks 3, (100) 4 and (110) 5 and one of the next
    # layer; each belongs to two surfaces. No bond is strained, so nothing relaxes.
    config = SurfaceConfig(
        crystal=copper, thicknesses=(6.0, 9.0), in_plane=(1, 1), rattle=0.0, vacuum=6.0
    )
    result = surface(springs, config)
    assert set(result.values) == set(config.value_names)
    assert not result.warnings
    found = numbers(result)
    per_area = DEPTH / 2.0 / LENGTH**2 / (J / m**2)
    broken = {"111": 3 * 2 / 3**0.5, "100": 4.0, "110": 6 / 2**0.5}
    for rank, (plane, bonds) in enumerate(broken.items(), 1):
        for name in ("energy", "direct", "unrelaxed"):
            assert found[f"{plane}.{name}"] == pytest.approx(bonds * per_area, rel=1e-4)
        assert found[f"{plane}.bulk_difference"] == pytest.approx(0.0, abs=0.1)
        assert found[f"{plane}.spread"] < 1e-3
        assert found[f"{plane}.stable"] == 1.0
        assert found[f"{plane}.rank"] == rank


def test_zr_surfaces_converge_and_the_wide_gap_is_the_easier_to_cut(zr, zirconium):
    config = SurfaceConfig(
        crystal=zirconium, planes=[(0, 0, 0, 1), (1, 0, -1, 0)], thicknesses=(12.0, 16.0, 20.0)
    )
    result = surface(zr, config)
    assert set(result.values) == set(config.value_names)
    assert not result.warnings
    found = numbers(result)
    assert found["10m10.energy"] == found["10m10.energy_1"] < found["10m10.energy_2"]
    assert found["0001.rank"] == 1.0
    for plane in ("0001", "10m10"):
        assert found[f"{plane}.energy"] < found[f"{plane}.unrelaxed"]
        assert found[f"{plane}.energy"] == pytest.approx(found[f"{plane}.direct"], abs=1e-3)
        assert abs(found[f"{plane}.bulk_difference"]) < 0.1
        curve = result.curves[plane]
        assert (np.diff(curve.x) > 0.0).all()
        assert curve.y[-1] == found[f"{plane}.direct"]
    assert [atoms.info["name"] for atoms in result.structures] == ["0001", "10m10"]
    assert Predicate.parse("surface.0001.energy < surface.10m10.energy").holds(
        {f"surface.{name}": value for name, value in found.items()}
    )


def test_energies_that_vary_with_the_size_are_told(zr, zirconium):
    # Two layers of (11-22), 2.7 Å, are no crystal with two surfaces yet.
    config = SurfaceConfig(
        crystal=zirconium, planes=[(1, 1, -2, 2)], thicknesses=(2.0, 12.0), in_plane=(1, 1)
    )
    result = surface(zr, config)
    found = numbers(result)
    assert found["11m22.spread"] > config.tolerance
    assert found["11m22.stable"] == 0.0
    assert "11m22 is unstable: its energy varies by" in result.warnings[0]


def test_a_plane_that_does_not_relax_leaves_the_others(zr, zirconium):
    config = SurfaceConfig(
        crystal=zirconium,
        planes=[(0, 0, 0, 1), (1, 0, -1, 1)],
        relaxation={"fmax": 0.005, "steps": 25},
        in_plane=(1, 1),
        rattle=0.0,
        thicknesses=(8.0, 12.0),
    )
    result = surface(zr, config)
    assert "0001.energy" in result.values
    assert any("10m11, termination 2: a slab of" in one for one in result.warnings)
    with pytest.raises(PropertyError, match="not relaxed after 1 steps"):
        surface(
            zr,
            config.model_copy(
                update={"relaxation": config.relaxation.model_copy(update={"steps": 1})}
            ),
        )


def test_planes_are_named_so_that_predicates_can_name_them():
    assert plane_title((1, 0, -1, 0)) == "10m10"
    assert plane_title((1, 1, -2, 2)) == "11m22"
    assert plane_title((1, 1, 1)) == "111"


@pytest.mark.parametrize(
    ("lattice", "given", "message"),
    [
        ("diamond", {}, "planes: give those of diamond"),
        ("hcp", {"planes": [(0, 0, 0, 1), (0, 0, 0, 1)]}, "planes: one is given twice"),
        ("hcp", {"planes": [(1, 0, 0, 0)]}, "do not sum to 0"),
        ("hcp", {"thicknesses": (11.0, 12.0)}, r"all are 3 layers of \(0001\)"),
    ],
)
def test_surfaces_that_make_no_sense_are_refused(lattice, given, message):
    with pytest.raises(ValueError, match=message):
        SurfaceConfig(crystal=Crystal(element="Zr", lattice=lattice, a=3.2), **given)
