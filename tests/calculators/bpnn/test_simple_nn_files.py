import numpy as np
import pytest

from pescape.calculators.bpnn import BPNNPotential

TEXT = """ELEM_LIST Si O

POT Si 6.0
SYM 3
2 6.0 0.05 0.5 0.0 O
4 6.0 0.01 2.0 -1.0 Si O
5 5.5 0.02 4.0 1.0 O O
scale1 0.5 0.25 0.125
scale2 2.0 1.0 0.5
NET 2 3 2 1
LAYER 0 linear PCA
w0 1.0 0.0 0.0
b0 0.1
w1 0.0 2.0 0.0
b1 0.2
w2 0.0 0.5 3.0
b2 -0.3
LAYER 1 sigmoid
w0 1.0 2.0 3.0
b0 0.5
w1 4.0 5.0 6.0
b1 -0.5
LAYER 2 linear
w0 7.0 8.0
b0 -1.5

POT O 6.0
SYM 1
2 6.0 0.05 0.0 0.0 Si
scale1 0.0
scale2 1.0
NET 1 2 1
LAYER 0 tanh
w0 1.0
b0 0.5
w1 4.0
b1 -0.5
LAYER 1 linear
w0 7.0 8.0
b0 -1.5
"""


def read(tmp_path, text=TEXT):
    (tmp_path / "potential_saved").write_text(text)
    return BPNNPotential.read(tmp_path / "potential_saved")


def test_every_number_finds_its_place(tmp_path):
    potential = read(tmp_path)
    assert potential.species == ("Si", "O")
    si, o = potential.elements
    pair, narrow, wide = si.functions
    assert (pair.kind, pair.neighbors, pair.eta, pair.shift) == ("G2", ("O",), 0.05, 0.5)
    assert (narrow.kind, narrow.neighbors) == ("G4", ("Si", "O"))
    assert (narrow.zeta, narrow.lambda_, narrow.shift) == (2.0, -1.0, 0.0)
    assert (wide.kind, wide.cutoff.radius, wide.cutoff.kind) == ("G5", 5.5, "cosine")
    scale, offset = si.scaling.coefficients(3)
    assert scale.tolist() == [0.5, 1.0, 2.0]
    assert offset.tolist() == [-0.25, -0.25, -0.25]
    assert [layer.activation for layer in si.layers] == ["linear", "sigmoid", "linear"]
    assert si.layers[0].weights.tolist() == [[1, 0, 0], [0, 2, 0.5], [0, 0, 3]]
    assert si.layers[0].bias.tolist() == [0.1, 0.2, -0.3]
    assert si.layers[1].weights.tolist() == [[1, 4], [2, 5], [3, 6]]
    assert o.hidden == (2,)


def test_it_is_kept_by_our_format_and_n2p2s(tmp_path):
    potential = read(tmp_path)
    for target in ("x.bpnn", "nnp"):
        potential.write(tmp_path / target)
        again = BPNNPotential.read(tmp_path / target)
        assert (again.parameters == potential.parameters).all()
        assert again.elements[0].functions == potential.elements[0].functions
        np.testing.assert_array_equal(
            again.elements[0].scaling.coefficients(3), potential.elements[0].scaling.coefficients(3)
        )


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("ELEM_LIST Si O", "ELEM_LIST Si Si", "line 1: an element appears twice"),
        ("POT O 6.0", "POT Si 6.0", "line 27: one of Si O expected, once, found 'Si'"),
        ("SYM 3", "SYM 4", "symmetry function of kind 2, 4 or 5 expected, found 'scale1'"),
        ("2 6.0 0.05 0.5 0.0 O", "3 6.0 0.05 0.5 0.0 O", "line 5: symmetry function of kind"),
        ("2 6.0 0.05 0.5 0.0 O", "2 6.0 0.05 0.5 0.0 H", "line 5: H is not one of Si O"),
        ("2 6.0 0.05 0.5 0.0 O", "2 6.0 0.05", "kind, four numbers and elements expected"),
        ("2 6.0 0.05 0.5", "2 6.0 nan 0.5", "line 5: eta must be a finite number, not nan"),
        ("scale2 2.0 1.0", "scale2 0.0 1.0", "line 9: symmetry function 1 has sigma = 0"),
        ("scale1 0.5", "scale1", "line 8: 3 numbers expected for scale1, found 2"),
        ("NET 2 3 2 1", "NET 3 3 2 1", "line 10: the number of hidden layers"),
        ("NET 2 3 2 1", "NET", "line 10: the number of hidden layers"),
        ("LAYER 1 sigmoid", "LAYER 2 sigmoid", "line 18: layer 1 and its activation expected"),
        ("LAYER 1 sigmoid", "LAYER 1 selu", "the activation must be one of linear, tanh"),
        ("w1 4.0 5.0 6.0", "w1 4.0 5.0", "line 21: 3 numbers expected for the weights w1"),
        ("b1 -0.5", "c1 -0.5", "line 22: 'b1' expected, found 'c1'"),
    ],
)
def test_errors_name_file_and_line(tmp_path, old, new, message):
    assert old in TEXT
    with pytest.raises(ValueError, match=r"potential_saved, line \d+: ") as error:
        read(tmp_path, TEXT.replace(old, new, 1))
    assert message in str(error.value)


def test_a_file_cut_short_is_told(tmp_path):
    for cut in (20, 100, 300, len(TEXT) - 12):
        with pytest.raises(ValueError, match=r"potential_saved, line \d+: "):
            read(tmp_path, TEXT[:cut])
