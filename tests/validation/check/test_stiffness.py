import numpy as np
import pytest
from ase.calculators.emt import EMT
from ase.units import GPa

from pescape.data.configurations import read_configurations
from pescape.validation.check.crystals import find_crystals
from pescape.validation.check.stiffness import fit_stiffness
from pescape.validation.properties.crystal.elastic import (
    ElasticConfig,
    cartesian_rotations,
    constant_names,
    elastic,
)


def regressed(frames, keep, shift=0.0):
    [crystal] = find_crystals(frames)
    chosen = [one for one in crystal.frames if keep(one.deformation.strain)]
    stresses = [
        one.deformation.pulled_back(frames[one.index].get_stress(voigt=False)) / GPa
        + shift * np.eye(3)
        for one in chosen
    ]
    rotations = cartesian_rotations(crystal.cell, crystal.symmetry)
    strains = np.array([one.deformation.strain for one in chosen])
    names = constant_names(crystal.symmetry)
    [found] = fit_stiffness(strains, [np.array(stresses)], rotations, names)
    return crystal, found


def test_strained_frames_have_the_elastic_constants_of_the_crystal(copper_frames):
    crystal, found = regressed(copper_frames, lambda strain: np.abs(strain).max() < 0.025)
    wanted = elastic(EMT(), ElasticConfig(crystal=crystal.solid)).values
    for name in ("C11", "C12", "C44"):
        one = found.constants[name]
        assert one.value == pytest.approx(wanted[name].value, rel=0.06)
        assert one.error < 0.05 * one.value


def test_a_constant_stress_changes_nothing(copper_frames):
    near = (lambda strain: np.abs(strain).max() < 0.025,)
    (_, found), (_, shifted) = (regressed(copper_frames, *near, shift) for shift in (0.0, 3.0))
    for name, one in found.constants.items():
        assert shifted.constants[name].value == pytest.approx(one.value, abs=1e-6)


def test_what_strains_do_not_determine_has_no_error_bar(copper_frames):
    # Without shear there is no C44.
    _, found = regressed(copper_frames, lambda s: np.abs(s - np.diag(np.diag(s))).max() < 1e-4)
    assert np.isinf(found.constants["C44"].error)
    assert np.isfinite(found.constants["C11"].error)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("element", "wanted"),
    [
        ("Cu", (171.0, 138.0, 85.0)),
        ("Ni", (283.0, 164.0, 139.0)),
        ("Mo", (480.0, 163.0, 109.0)),
        ("Si", (153.0, 56.4, 99.5)),
        ("Li", (None, None, None)),  # its strains have no shear to speak of
    ],
)
def test_published_data_sets_have_these_constants(shared, element, wanted):
    frames = read_configurations(shared / "data" / "mlearn" / f"{element}_train.extxyz")
    frames = [atoms for atoms in frames if atoms.info["group"] == "Elastic"]
    _, found = regressed(frames, lambda strain: np.abs(strain).max() <= 0.025)
    for one, value in zip(found.constants.values(), wanted, strict=True):
        if value is not None:
            assert one.value == pytest.approx(value, rel=0.01)
    if element == "Li":
        assert not found.constants["C44"].error < 0.2 * abs(found.constants["C44"].value)
