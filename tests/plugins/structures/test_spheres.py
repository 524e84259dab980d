import numpy as np
import pytest

from pescape.plugins.structures import recommended_box, sphere_metrics, table_a1

PI = np.pi
#: Closed forms of table A1: D/L, (a), (b), (c), (d). The table's text lost the divisors π of
#: (c) in two rows, and the signs of the exponents of (d) in the last two.
ROOT = 6 ** (2 / 3) * PI ** (1 / 3)
TABLE = {
    "inscribed sphere": (1.0, PI / 6, 1.0, 6 / PI, 1.0),
    "unique volume = SOI volume": (
        2 / ((PI / 6) ** (1 / 3) + 1),
        288 * PI / (ROOT + 6) ** 3,
        ROOT / 6,
        1.0,
        (ROOT + 6) ** 3 / 1728,
    ),
    "cell volume = SOI volume": (
        (6 / PI) ** (1 / 3),
        1.0,
        ROOT / 3 - 1,
        (2 * PI ** (1 / 3) - 6 ** (1 / 3)) ** 3 / PI,
        PI / 6,
    ),
    "inner half of the cut-off is unique": (
        4 / 3,
        (4 / 3) ** 3 * PI / 6,
        1 / 2,
        3 / (4 * PI),
        (3 / 4) ** 3,
    ),
    "SOI touches cell edges": (
        2**0.5,
        PI * 2**0.5 / 3,
        2**0.5 - 1,
        (30 * 2**0.5 - 42) / PI,
        2**-1.5,
    ),
    "SOI circumscribes cell": (
        3**0.5,
        PI * 3**0.5 / 2,
        2 / 3**0.5 - 1,
        (52 / 3**0.5 - 30) / PI,
        3**-1.5,
    ),
}


@pytest.mark.parametrize("row", TABLE)
def test_table_a1_is_exact(row):
    metrics = table_a1()[row]
    found = (
        metrics.diameter_length,
        metrics.soi_cell,
        metrics.unique_cutoff,
        metrics.unique_soi,
        metrics.relative_cell,
    )
    np.testing.assert_allclose(found, TABLE[row], rtol=1e-12)
    assert list(table_a1()) == list(TABLE)


def test_metrics_agree_with_geometry():
    cutoff, edge = 5.0, 8.0
    metrics = sphere_metrics(2 * cutoff / edge)
    assert metrics.soi_cell == pytest.approx(4 / 3 * PI * cutoff**3 / edge**3)
    assert metrics.unique_cutoff == pytest.approx((edge - cutoff) / cutoff)
    assert metrics.unique_soi == pytest.approx(
        (2 * (edge - cutoff)) ** 3 / (4 / 3 * PI * cutoff**3)
    )
    assert metrics.relative_cell == pytest.approx(edge**3 / (2 * cutoff) ** 3)


def test_ratios_without_unique_neighbors_are_refused():
    assert sphere_metrics(2.0).unique_soi == 0.0
    for ratio in (0.0, 2.1):
        with pytest.raises(ValueError, match="at most 2"):
            sphere_metrics(ratio)


def test_boxes_shrink_with_density_within_the_reasonable_range():
    edges = [recommended_box(7.0, volume_fraction=f) for f in np.linspace(0.05, 0.5, 10)]
    assert (np.diff(edges) < 0).all()
    assert edges[0] == pytest.approx(14.0 / TABLE["unique volume = SOI volume"][0])
    assert edges[-1] == pytest.approx(14.0 / 2**0.5)
    assert recommended_box(7.0) == pytest.approx(10.5)
    with pytest.raises(ValueError, match="cutoff = 0"):
        recommended_box(0.0)
