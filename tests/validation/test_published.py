import pytest

from pescape.validation.interstitial import InterstitialConfig, interstitial
from pescape.validation.values import read_values, shipped_values


def test_interstitials_of_the_eam_have_their_published_energies(zr, zirconium):
    # Y. Fan et al., J. Phys.: Condens. Matter 26, 365402 (2014), in a cell of
    # 38.8 × 39.2 × 41.3 Å. Whether it keeps its volume is not told, which the tolerance of the
    # energies allows for; their differences do not depend on it.
    known = read_values(shipped_values()["zr-mendelev-ackland"]).content.values
    config = InterstitialConfig(
        crystal=zirconium, sites=("BC", "BO"), repeat=(12, 7, 8), rattle=0.0
    )
    values = interstitial(zr, config).values
    found = {site: values[site].value for site in config.chosen}
    published = {site: known[f"interstitial.{site}"].value for site in config.chosen}
    assert found == pytest.approx(published, abs=0.05)
    assert found["BO"] - found["BC"] == pytest.approx(published["BO"] - published["BC"], abs=0.01)
