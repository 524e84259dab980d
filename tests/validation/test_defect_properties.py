import numpy as np
import pytest

from pescape.validation.crystals import Crystal, relaxed_crystal
from pescape.validation.interstitial import InterstitialConfig, interstitial
from pescape.validation.relaxation import minimised
from pescape.validation.vacancy import VacancyConfig, vacancy
from pescape.validation.vacancy_migration import VacancyMigrationConfig, vacancy_migration

from .conftest import DEPTH


def numbers(result):
    return {name: one.value for name, one in result.values.items()}


def test_an_unrelaxed_vacancy_costs_the_bonds_that_it_breaks(springs, copper):
    # Twelve bonds are cut and six are won by the atom put back.
    config = VacancyConfig(crystal=copper, repeats=[(3, 3, 3), (2, 2, 2)])
    result = vacancy(springs, config)
    assert tuple(result.values) == config.value_names
    found = numbers(result)
    assert found["unrelaxed"] == pytest.approx(6.0 * DEPTH, abs=1e-5)
    assert found["formation"] == pytest.approx(found["formation_108"])
    assert list(result.curves["formation"].x) == [32.0, 108.0]


def test_the_vacancy_of_the_zr_potential_converges_with_the_cell(zr, zirconium):
    config = VacancyConfig(crystal=zirconium)
    result = vacancy(zr, config)
    assert tuple(result.values) == config.value_names
    found = numbers(result)
    sizes = [found[name] for name in ("formation_48", "formation_96", "formation_180")]
    assert sizes[0] > sizes[1] > sizes[2]
    # What the cell's images add falls with its volume: so the limit of large cells can be seen.
    limit = sizes[2] - (sizes[1] - sizes[2]) * (1 / 180) / (1 / 96 - 1 / 180)
    assert sizes[0] - limit == pytest.approx((sizes[1] - limit) * 96 / 48, rel=0.25)
    assert found["unrelaxed"] > found["formation"]
    assert max(np.linalg.norm(atoms.get_forces(), axis=1).max() for atoms in result.structures) < (
        0.005
    )


def saddle_by_symmetry(perfect, neighbour, calculator):
    """Energy with the jumping atom half way, where the mirror plane keeps it."""
    atoms = perfect.copy()
    vector = perfect.get_distance(neighbour, 0, mic=True, vector=True)
    atoms.positions[neighbour] += vector / 2.0
    del atoms[0]
    atoms.calc = calculator
    minimised(atoms, fmax=1e-3, steps=300, what="saddle")
    return atoms.get_potential_energy()


def test_barriers_are_the_energies_of_the_saddles_that_symmetry_gives(zr, zirconium):
    config = VacancyMigrationConfig(crystal=zirconium, repeat=(3, 2, 2))
    result = vacancy_migration(zr, config)
    assert tuple(result.values) == config.value_names
    assert not result.warnings
    found = numbers(result)
    host = zirconium.host(relaxed_crystal(zirconium, zr))
    perfect = host.atoms(repeat=(3, 2, 2))
    ground = result.structures[0].get_potential_energy()
    vectors = perfect.get_distances(0, range(len(perfect)), mic=True, vector=True)
    for jump, in_plane in (("basal", True), ("out_of_basal", False)):
        near = np.linalg.norm(vectors, axis=1)
        near[(np.abs(vectors[:, 2]) < 0.1) != in_plane] = np.inf
        near[0] = np.inf
        saddle = saddle_by_symmetry(perfect, int(near.argmin()), zr)
        assert found[jump] == pytest.approx(saddle - ground, abs=2e-4)
        assert found[f"{jump}_minima"] == 0
        curve = result.curves[jump]
        assert curve.y[0] == 0.0
        assert curve.y[-1] == pytest.approx(0.0, abs=1e-6)
        assert curve.y.max() == pytest.approx(found[jump])
    assert found["basal"] < found["out_of_basal"]


def test_a_cubic_crystal_has_one_barrier(emt, copper):
    config = VacancyMigrationConfig(crystal=copper, repeat=(2, 2, 2))
    found = numbers(vacancy_migration(emt, config))
    assert set(found) == set(config.value_names) == {"barrier", "barrier_minima"}
    assert 0.6 < found["barrier"] < 0.9


def test_the_interstitial_of_the_zr_potential_costs_what_is_published(zr, zirconium):
    # Fan, Yip and Yildiz, J. Phys.: Condens. Matter 26, 365402 (2014): BO 2.86 eV, in 2700 atoms.
    config = InterstitialConfig(crystal=zirconium, sites=["BO"], repeat=(8, 5, 5))
    result = interstitial(zr, config)
    assert tuple(result.values) == config.value_names
    found = numbers(result)
    assert found["BO"] == pytest.approx(2.86, abs=0.05)
    assert found["lowest"] == found["BO"]
    assert len(result.structures[0]) == 801


def test_sites_that_give_way_are_told(zr, zirconium):
    config = InterstitialConfig(crystal=zirconium, sites=["BO", "BC"], repeat=(4, 2, 3))
    result = interstitial(zr, config)
    found = numbers(result)
    assert found["BC"] == pytest.approx(found["BO"], abs=1e-3)
    assert found["BC_moved"] > 0.8
    assert "BC has the energy of BO" in result.warnings[0]


def test_defects_that_make_no_sense_are_refused(zirconium):
    with pytest.raises(ValueError, match="site 'X' of hcp is not one of O, BO"):
        InterstitialConfig(crystal=zirconium, sites=["X"])
    with pytest.raises(ValueError, match="vacancies jump in bcc, fcc and hcp"):
        VacancyMigrationConfig(crystal=Crystal(element="Si", lattice="diamond"))
