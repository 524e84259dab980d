import pytest

from pescape.validation.properties.crystal.lattice import LatticeConfig, lattice
from pescape.validation.properties.defects.point_defects import InterstitialConfig, interstitial
from pescape.validation.references import read_values, shipped_values


@pytest.fixture
def known():
    return read_values(shipped_values()["zr-mendelev-ackland"]).content.values


def test_the_crystal_of_the_eam_is_the_published_one(zr, zirconium, known):
    # a and c that OpenKIM gives for its model MO_004835508849, and the energy that Plowman and
    # Race, arXiv:2009.05347 (2020), have of 104 atoms.
    values = lattice(zr, LatticeConfig(phases=[zirconium])).values
    for name in ("a", "c", "c_over_a", "cohesive"):
        published = known[f"lattice.hcp.{name}"].value
        assert values[f"hcp.{name}"].value == pytest.approx(published, abs=1e-5), name


@pytest.mark.slow
def test_interstitials_of_the_eam_have_their_published_energies(zr, zirconium, known):
    # Y. Fan et al., J. Phys.: Condens. Matter 26, 365402 (2014), in a cell of
    # 38.8 × 39.2 × 41.3 Å. Whether it keeps its volume is not told, which the tolerance of the
    # energies allows for; their differences do not depend on it.
    config = InterstitialConfig(
        crystal=zirconium, sites=("BC", "BO"), repeat=(12, 7, 8), rattle=0.0
    )
    values = interstitial(zr, config).values
    found = {site: values[site].value for site in config.chosen}
    published = {site: known[f"interstitial.{site}"].value for site in config.chosen}
    assert found == pytest.approx(published, abs=0.05)
    assert found["BO"] - found["BC"] == pytest.approx(published["BO"] - published["BC"], abs=0.01)
