import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator

from pescape.calculators.bpnn import BPNNPotential, Scaling
from pescape.calculators.bpnn.data import Normalization, Units
from pescape.calculators.doptimality.active_set import ActiveSet


def assert_same(a, b):
    """The same numbers to the last bit."""
    assert (a.species, a.units) == (b.species, b.units)
    for one, other in zip(a.elements, b.elements, strict=True):
        assert one.functions == other.functions
        for name in ("slope", "intercept", "atom_energy"):
            assert getattr(one, name) == getattr(other, name)
        assert_same_scaling(one.scaling, other.scaling)
        assert len(one.layers) == len(other.layers)
        for x, y in zip(one.layers, other.layers, strict=True):
            assert x.activation == y.activation
            assert (x.weights is None) == (y.weights is None)
            if x.weights is not None:
                assert (x.weights == y.weights).all()
                assert (x.bias == y.bias).all()


def assert_same_scaling(a, b):
    assert (a.kind, a.low, a.high, a.tolerance) == (b.kind, b.low, b.high, b.tolerance)
    for name in ("minimum", "maximum", "mean", "sigma"):
        x, y = getattr(a, name), getattr(b, name)
        assert (x is None) == (y is None), name
        assert x is None or (x == y).all(), name


def through(potential, path):
    potential.write(path)
    return BPNNPotential.read(path)


def crystals():
    for seed in range(3):
        atoms = bulk("Zr") * (2, 1, 1)
        atoms.symbols[1] = "O"
        atoms.rattle(0.2, seed=seed)
        atoms.calc = SinglePointCalculator(atoms, energy=-1.25 / 3, forces=atoms.positions / 3)
        yield atoms


@pytest.fixture
def guarded(potential):
    size = potential.active_size("output")
    matrix = np.random.default_rng(1).normal(size=(size, size))
    origins = np.full((size, 2), -1)
    origins[0], origins[5] = (0, 3), (2, 1)
    frames = tuple(crystals())
    return potential.with_active_set(
        ActiveSet(
            matrix, np.linalg.inv(matrix), "neighborhood", 2.0, origins, configurations=frames
        ),
        "output",
    )


def test_a_potential_survives_its_file(potential, tmp_path):
    again = through(potential, tmp_path / "x.bpnn")
    assert_same(again, potential)
    assert again.source == str(tmp_path / "x.bpnn")
    assert again.name == "BPNN"
    again.write(tmp_path / "y.bpnn")
    assert (tmp_path / "x.bpnn").read_bytes() == (tmp_path / "y.bpnn").read_bytes()


def test_all_scalings_units_and_cutoffs_survive(potential, tmp_path):
    from dataclasses import replace

    rng = np.random.default_rng(2)
    statistics = {
        "minimum": rng.normal(size=6),
        "maximum": 9 + rng.normal(size=6),
        "mean": rng.normal(size=6),
        "sigma": rng.lognormal(size=6),
    }
    for kind in ("none", "range", "range-centered", "centered", "sigma"):
        scaling = Scaling(kind, -1 / 3, 0.7, **statistics, tolerance=1e-8)
        assert_same_scaling(
            through(potential.with_scaling({"Zr": scaling}), tmp_path / "x.bpnn")
            .element("Zr")
            .scaling,
            scaling,
        )
    units = Units(0.529177, 27.2114, Normalization(-3.86, 7.3890846653659121, 1 / 3))
    assert_same(
        through(replace(potential, units=units), tmp_path / "x.bpnn"),
        replace(potential, units=units),
    )


def test_an_untrained_potential_survives_its_file(functions, tmp_path):
    untrained = BPNNPotential.untrained(["Zr", "O"], functions, hidden=(), activation="relu")
    again = through(untrained, tmp_path / "x.bpnn")
    assert_same(again, untrained)
    assert not again.is_trained


def test_an_active_set_survives_its_file(guarded, tmp_path):
    again = through(guarded, tmp_path / "x.bpnn")
    assert_same(again, guarded)
    a, b = again.active_set, guarded.active_set
    assert (a.matrix == b.matrix).all()
    assert (a.inverse == b.inverse).all()
    assert (a.origins == b.origins).all()
    assert (a.mode, a.weight_scaling) == (b.mode, b.weight_scaling)
    assert again.active_parameters == "output"
    for one, other in zip(a.configurations, b.configurations, strict=True):
        assert (one.positions == other.positions).all()
        assert one.get_potential_energy() == other.get_potential_energy()
        assert (one.get_forces() == other.get_forces()).all()


def test_an_active_set_of_all_parameters_survives_its_file(functions, tmp_path):
    potential = BPNNPotential.untrained(["O"], functions[:1], hidden=(2,)).randomized(1)
    size = potential.parameter_count
    empty = ActiveSet(1e-5 * np.eye(size), 1e5 * np.eye(size), "configuration", 0.0)
    again = through(potential.with_active_set(empty, "all"), tmp_path / "x.bpnn")
    assert again.active_parameters == "all"
    assert again.active_set.filled == 0
    assert again.active_set.mode == "configuration"


def test_a_file_may_be_commented(potential, tmp_path):
    path = tmp_path / "x.bpnn"
    potential.write(path)
    path.write_text(path.read_text().replace("\n", "  # so it is\n\n   # and so on\n"))
    assert_same(BPNNPotential.read(path), potential)


@pytest.mark.parametrize("cut", [0.1, 0.5, 0.9, 0.999])
def test_a_file_cut_short_is_told(guarded, tmp_path, cut):
    path = tmp_path / "x.bpnn"
    guarded.write(path)
    data = path.read_bytes()
    path.write_bytes(data[: int(cut * len(data))])
    with pytest.raises(ValueError, match=r"x\.bpnn, line \d+: "):
        BPNNPotential.read(path)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("pescape-bpnn 1", "pescape-bpnn 2", "line 1: version 1 expected, found '2'"),
        ("species Zr O", "species Zr Xx", "line 3: unknown element 'Xx'"),
        ("units 1.0", "units -1.0", "line 4: the unit of length must be a positive"),
        ("element Zr", "element O", "element Zr expected, found 'O'"),
        ("slope 1.3", "slope nan", "slope must be a finite number, not nan"),
        ("slope 1.3", "slope __import__('os')", "slope must be a number"),
        ("functions 6", "functions 7", "10 words expected for a symmetry function"),
        ("functions 6", "functions 6e3", "a whole number from 1 to"),
        ("functions 6", "functions 99999999999999999999", "a whole number from 1 to"),
        ("G2 O -", "G2 O O", "G2 has 1 neighbor elements"),
        ("G2 O -", "G7 O -", "unknown symmetry function 'G7'"),
        ("cosine 4.3", "sine 4.3", "unknown cut-off function 'sine'"),
        ("scaling range", "scaling rage", "unknown scaling 'rage'"),
        ("minimum maximum", "maximum minimum", "columns must be among"),
        ("layer 5 3 tanh", "layer 5 4 tanh", "4 numbers expected for the weights of layer 2"),
        ("layer 6 5 tanh", "layer 6 5 tanch", "unknown activation 'tanch'"),
        ("layers 3 trained", "layers 2 trained", "the network has 3 outputs, not 1"),
        ("layers 3 trained", "layers 3 well", "'trained' or 'untrained' expected"),
        ("active_set output", "active_set all", "8 rows, but the potential has 104"),
        ("neighborhood 2.0 8 3", "neighborhood 2.0 8 4", "4 configurations expected, found 3"),
        (
            "neighborhood 2.0",
            "nearby 2.0",
            "'neighborhood' or 'configuration' expected, found 'nearby'",
        ),
        ("\n0 3\n", "\n0 4\n", "row 1 of the active set comes from atom 4 of configuration 0"),
        ("\nend", "\nend\nend", "the file should end here, found 'end'"),
        (" Size", " Sighs", "Sighs"),
    ],
)
def test_errors_name_file_and_line(guarded, tmp_path, old, new, message):
    path = tmp_path / "x.bpnn"
    guarded.write(path)
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(ValueError, match=r"x\.bpnn, line \d+: ") as error:
        BPNNPotential.read(path)
    assert message in str(error.value)
    assert len(str(error.value).splitlines()) == 1


def test_what_is_no_potential_is_told(tmp_path):
    (tmp_path / "x.txt").write_text("hello")
    with pytest.raises(ValueError, match=r"x\.txt: not a BPNN potential; known are a pescape"):
        BPNNPotential.read(tmp_path / "x.txt")
    with pytest.raises(ValueError, match="not a BPNN potential"):
        BPNNPotential.read(tmp_path)
    with pytest.raises(FileNotFoundError):
        BPNNPotential.read(tmp_path / "nothing")
    (tmp_path / "y").write_bytes(b"pescape-bpnn 1\nname \xff\xfe\n")
    with pytest.raises(ValueError, match=r"y, line 2: this is not text"):
        BPNNPotential.read(tmp_path / "y")


def test_units_belong_to_folders_only(potential, tmp_path):
    potential.write(tmp_path / "x.bpnn")
    with pytest.raises(ValueError, match="which is in Å and eV: leave the units out"):
        BPNNPotential.read(tmp_path / "x.bpnn", length_unit="Bohr")
    with pytest.raises(ValueError, match="length_unit must be 'angstrom' or 'bohr' or a number"):
        BPNNPotential.read(tmp_path / "x.bpnn", length_unit="foot")


def test_writing_elsewhere_is_told(potential, tmp_path):
    with pytest.raises(ValueError, match="written as pescape or n2p2, not 'amp'"):
        potential.write(tmp_path / "x.amp", "amp")
    from dataclasses import replace

    with pytest.raises(ValueError, match="must be one line without '#'"):
        replace(potential, name="a # b").write(tmp_path / "x.bpnn")
    assert list(tmp_path.iterdir()) == []
