import numpy as np
import pytest

from pescape.validation.crystals import Crystal, minimised, relaxed_crystal
from pescape.validation.properties.defects.point_defects import (
    DivacancyConfig,
    InterstitialConfig,
    VacancyConfig,
    divacancy,
    interstitial,
    vacancy,
)
from pescape.validation.properties.paths.migration import (
    VacancyMigrationConfig,
    vacancy_migration,
)
from pescape.validation.property import PropertyError

from ..conftest import DEPTH


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
    assert found["extrapolated"] == pytest.approx(found["unrelaxed"], abs=1e-5)
    assert list(result.curves["formation"].x) == [32.0, 108.0]


def test_neighbouring_vacancies_win_the_bond_that_they_share(springs, copper):
    # 23 instead of 24 bonds are cut; second neighbours share none.
    config = DivacancyConfig(crystal=copper, pairs=["first", "second"], repeats=[(3, 3, 3)])
    result = divacancy(springs, config)
    assert set(result.values) == set(config.value_names)
    found = numbers(result)
    assert found["first.formation"] == pytest.approx(11.0 * DEPTH, abs=1e-5)
    assert found["first.binding"] == found["first.binding_108"] == pytest.approx(DEPTH, abs=1e-5)
    assert found["second.binding"] == pytest.approx(0.0, abs=1e-5)


def test_divacancies_lie_in_the_plane_and_across(zr, zirconium):
    config = DivacancyConfig(crystal=zirconium, repeats=[(3, 2, 2), (5, 3, 3)])
    result = divacancy(zr, config)
    assert set(result.values) == set(config.value_names)
    found = numbers(result)
    single = numbers(vacancy(zr, VacancyConfig(crystal=zirconium, repeats=[(5, 3, 3)])))
    for pair in ("basal", "out_of_basal"):
        assert found[f"{pair}.formation"] == found[f"{pair}.formation_180"]
        bound = 2.0 * single["formation"] - found[f"{pair}.formation"]
        assert found[f"{pair}.binding"] == pytest.approx(bound, abs=1e-6)
        assert list(result.curves[f"{pair}.binding"].x) == [48.0, 180.0]
    assert found["basal.binding"] > found["out_of_basal.binding"]


def test_the_vacancy_of_the_zr_potential_converges_with_the_cell(zr, zirconium):
    config = VacancyConfig(crystal=zirconium)
    result = vacancy(zr, config)
    assert tuple(result.values) == config.value_names
    found = numbers(result)
    sizes = [found[name] for name in ("formation_48", "formation_96", "formation_180")]
    assert sizes[0] > sizes[1] > sizes[2]
    # What the cell's images add falls with its volume: so the limit of large cells can be seen.
    large = numbers(vacancy(zr, VacancyConfig(crystal=zirconium, repeats=[(8, 5, 5)])))
    assert found["extrapolated"] == pytest.approx(large["formation"], abs=0.002)
    assert sizes[2] - large["formation"] > 0.002
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


@pytest.mark.slow
def test_interstitials_of_the_zr_potential_cost_what_is_published(zr, zirconium):
    # Fan, Yip and Yildiz, J. Phys.: Condens. Matter 26, 365402 (2014), in 2700 atoms: BO 2.86 eV,
    # BC 2.83 eV; O decays to a distorted O of 2.74 eV, the lowest.
    config = InterstitialConfig(crystal=zirconium, sites=["BO", "BC", "O"], repeat=(8, 5, 5))
    result = interstitial(zr, config)
    assert tuple(result.values) == config.value_names
    found = numbers(result)
    assert found["BO"] == pytest.approx(2.86, abs=0.05)
    assert found["BC"] == pytest.approx(2.83, abs=0.05)
    assert found["O_freed"] == pytest.approx(2.74, abs=0.05)
    assert found["lowest"] == found["O_freed"]
    assert [told.split(":")[0] for told in result.warnings] == ["O is no minimum"]
    assert len(result.structures[0]) == 801


def test_sites_that_give_way_are_told(zr, zirconium):
    config = InterstitialConfig(crystal=zirconium, sites=["BC", "BO"], repeat=(4, 2, 3), rattle=0)
    result = interstitial(zr, config)
    assert tuple(result.values) == config.value_names
    found = numbers(result)
    assert found["BC"] == pytest.approx(found["BO"], abs=1e-3)
    assert found["BC_moved"] > 0.8
    assert result.warnings == ("BC has relaxed to BO, whose energy it has",)


def test_a_site_that_does_not_relax_is_left_out(zr, zirconium):
    def config(steps):
        return InterstitialConfig(
            crystal=zirconium,
            sites=["BO", "BT"],
            repeats=[(3, 2, 2), (4, 2, 3)],
            rattle=0.0,
            relaxation={"steps": steps},
        )

    result = interstitial(zr, config(45))
    assert {"BO", "BO_96", "BO_48"} <= set(result.values) < set(config(45).value_names)
    assert "BT" not in result.values
    assert "among 96 sites at BT: not relaxed after 45 steps" in result.warnings[-1]
    with pytest.raises(PropertyError, match="not relaxed after 2 steps"):
        interstitial(zr, config(2))


def test_defects_that_make_no_sense_are_refused(zirconium):
    with pytest.raises(ValueError, match="site 'X' of hcp is not one of O, BO"):
        InterstitialConfig(crystal=zirconium, sites=["X"])
    with pytest.raises(ValueError, match="vacancies jump in bcc, fcc and hcp"):
        VacancyMigrationConfig(crystal=Crystal(element="Si", lattice="diamond"))
    with pytest.raises(ValueError, match="divacancy 'third_basal' of hcp is not one of basal"):
        DivacancyConfig(crystal=zirconium, pairs=["third_basal"])
    with pytest.raises(ValueError, match="has no room for a divacancy second: take a larger one"):
        DivacancyConfig(
            crystal=Crystal(element="Cu", lattice="fcc"), pairs=["second"], repeats=[(1, 1, 1)]
        )
    with pytest.raises(ValueError, match="one cell or several"):
        InterstitialConfig(crystal=zirconium, repeat=(3, 2, 2), repeats=[(3, 2, 2)])
