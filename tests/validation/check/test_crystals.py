import numpy as np
from ase.build import bulk

from pescape.validation.check.crystals import find_crystals
from pescape.validation.crystals import Crystal

from .conftest import A


def test_the_crystal_and_its_strained_cells_are_found(copper_frames):
    [found] = find_crystals(copper_frames)
    assert found.name == "Cu fcc"
    assert isinstance(found.solid, Crystal)
    assert abs(found.solid.a - A) < 1e-6
    assert found.reference == 0
    # All cells of it, the rattled one among them; neither the hot ones nor the slab.
    assert {one.index for one in found.frames} == set(range(26))


def test_unlabelled_compounds_and_several_phases_have_names():
    oxide = bulk("ZrO2", "fluorite", a=5.1)
    larger = oxide.copy()
    larger.set_cell(1.02 * larger.cell.array, scale_atoms=True)
    frames = [oxide, larger.repeat(2), bulk("Zr", "hcp", a=3.23, c=5.15), bulk("Zr", "bcc", a=3.57)]
    found = {one.name: one for one in find_crystals(frames)}
    assert set(found) == {"ZrO2 Fm 3m", "Zr hcp", "Zr bcc"}
    assert len(found["ZrO2 Fm 3m"].frames) == 2
    assert found["Zr hcp"].solid.hexagonal
    np.testing.assert_allclose(found["Zr hcp"].cell.cell.lengths(), [3.23, 3.23, 5.15], atol=1e-6)


def test_disorder_holds_no_crystal(copper_frames):
    assert find_crystals(copper_frames[-7:]) == []
