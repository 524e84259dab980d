import re
from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms
from ase.units import Bohr, Hartree

from pescape.calculators.bpnn import BPNNPotential, Cutoff, Scaling, SymmetryFunction

INPUT = """# A test.
number_of_elements 2
elements Zr O   # in this order
atom_energy Zr -1.5
atom_energy O -0.25
cutoff_type 6 0.25
scale_symmetry_functions
scale_min_short 0.5
scale_max_short 2.0
global_hidden_layers_short 1
global_nodes_short 2
global_activation_short t l
epochs 10
symfunction_short O 9 Zr O 0.02 1 2.5 8.0
symfunction_short O 3 O Zr 0.03 -1 4.0 8.0 0.5
symfunction_short O 2 Zr 0.5 1.0 8.0
symfunction_short O 2 O 0.5 1.0 8.0
symfunction_short O 2 O 0.1 0.0 8.0
symfunction_short O 2 O 0.1 0.0 7.0
symfunction_short Zr 13 0.01 0.0 -1.0 3.0 8.0
symfunction_short Zr 12 0.2 0.5 8.0
"""
# The programs' order: by kind, radius, η, shift, and neighbors by atomic number.
ORDER_O = [
    (2, 7.0, 0.1, ("O",)),
    (2, 8.0, 0.1, ("O",)),
    (2, 8.0, 0.5, ("O",)),
    (2, 8.0, 0.5, ("Zr",)),
    (3, 8.0, 0.03, ("O", "Zr")),
    (9, 8.0, 0.02, ("Zr", "O")),
]


def scaling_text():
    """Element 1 is oxygen: elements are counted by atomic number."""
    rows = [
        f"{element} {number} {0.1 * number} {number + 1.0} {0.5 * number} 0.3"
        for element, count in ((1, 6), (2, 2))
        for number in range(1, count + 1)
    ]
    return "# comment\n" + "\n".join(rows) + "\n"


def weights_text(inputs, shift=0.0):
    lines = [
        f"{0.1 * index + shift} a {index + 1} 0 {index // 2 + 1} 1 {index % 2 + 1}"
        for index in range(inputs * 2)
    ]
    lines += ["0.5 b 1 1", "-0.5 b 1 2", "2.0 a 1 1 2 1", "-3.0 a 1 2 2 1", "0.25 b 2 1"]
    return "# comment\n" + "\n".join(lines) + "\n"


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "nnp"
    folder.mkdir()
    (folder / "input.nn").write_text(INPUT)
    (folder / "scaling.data").write_text(scaling_text())
    (folder / "weights.008.data").write_text(weights_text(6))
    (folder / "weights.040.data").write_text(weights_text(2, 1.0))
    return folder


def edit(folder, name, old, new):
    text = (folder / name).read_text()
    assert old in text
    (folder / name).write_text(text.replace(old, new, 1))


def read(folder, length="Angstrom", energy="eV"):
    return BPNNPotential.read(folder, length_unit=length, energy_unit=energy)


@pytest.fixture
def zirconia():
    atoms = Atoms("ZrO2", [[0, 0, 0], [1.3, 1.2, 1.4], [-1.2, 1.3, -1.4]])
    atoms.set_cell([[4.4, 0, 0], [0.3, 4.6, 0], [0, -0.2, 5.0]])
    atoms.pbc = True
    return atoms


def test_rows_and_weights_follow_the_programs_order(folder):
    potential = read(folder)
    assert potential.species == ("Zr", "O")
    zr, o = potential.elements
    kinds = {"G2": 2, "G4": 3, "G5": 9}
    found = [(kinds[f.kind], f.cutoff.radius, f.eta, f.neighbors) for f in o.functions]
    assert found == ORDER_O
    assert [f.kind for f in zr.functions] == ["G2W", "G4W"]
    assert zr.functions[1].lambda_ == -1
    assert zr.functions[1].zeta == 3
    assert o.functions[4].shift == 0.5
    assert {f.cutoff.kind for f in o.functions} == {"poly2"}
    assert {f.cutoff.parameter for f in o.functions} == {0.25}
    assert o.scaling.minimum.tolist() == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
    assert (o.scaling.kind, o.scaling.low, o.scaling.high) == ("range", 0.5, 2.0)
    assert o.layers[0].weights[3].tolist() == pytest.approx([0.6, 0.7])
    assert zr.layers[0].weights[0].tolist() == [1.0, 1.1]
    assert zr.layers[0].bias.tolist() == [0.5, -0.5]
    assert zr.layers[1].weights.tolist() == [[2.0], [-3.0]]
    assert [layer.activation for layer in zr.layers] == ["tanh", "linear"]
    assert (zr.atom_energy, o.atom_energy) == (-1.5, -0.25)


@pytest.mark.parametrize(
    ("keywords", "kind"),
    [
        ("", "none"),
        ("scale_symmetry_functions", "range"),
        ("center_symmetry_functions", "centered"),
        ("scale_symmetry_functions\ncenter_symmetry_functions", "range-centered"),
        ("scale_symmetry_functions_sigma", "sigma"),
    ],
)
def test_all_ways_of_scaling(folder, keywords, kind):
    edit(folder, "input.nn", "scale_symmetry_functions\n", keywords + "\n")
    scaling = read(folder).element("O").scaling
    assert scaling.kind == kind
    low, width = (0.5, 1.5) if kind not in ("none", "centered") else (0.0, 1.0)
    assert (scaling.low, scaling.high) == (low, low + width)
    again = folder.parent / "again"
    read(folder).write(again)
    assert (again / "input.nn").read_text().count("_symmetry_functions") == keywords.count("_symm")
    assert read(again).element("O").scaling.kind == kind


def test_old_files_without_sigma(folder):
    text = re.sub(r" 0\.3$", "", scaling_text(), flags=re.MULTILINE)
    (folder / "scaling.data").write_text(text + "-1.0 2.0\n")  # RuNNer's range of energies
    assert read(folder).element("O").scaling.sigma is None
    edit(folder, "input.nn", "scale_symmetry_functions\n", "scale_symmetry_functions_sigma\n")
    with pytest.raises(ValueError, match=r"scaling\.data, element Zr: .* needs the sigma"):
        read(folder)


def test_bohr_and_hartree(folder, reference, zirconia):
    ase_units = reference.evaluate(read(folder), zirconia)
    atomic = read(folder, "Bohr", "Hartree")
    assert atomic.cutoff == 8.0 * Bohr
    shrunk = zirconia.copy()
    shrunk.set_cell(zirconia.cell * Bohr, scale_atoms=True)
    result = reference.evaluate(atomic, shrunk)
    assert result.energy == pytest.approx(ase_units.energy * Hartree, rel=1e-13)
    np.testing.assert_allclose(result.forces, ase_units.forces * Hartree / Bohr, atol=1e-10)
    assert read(folder, Bohr, str(Hartree)).cutoff == atomic.cutoff


def test_a_normalised_data_set(folder, reference, zirconia):
    plain = reference.evaluate(read(folder), zirconia)
    edit(
        folder,
        "input.nn",
        "# A test.",
        "mean_energy -3.25\nconv_energy 7.3890846653659121E+00\nconv_length 1.7",
    )
    result = reference.evaluate(read(folder), zirconia)
    offsets = -1.5 - 2 * 0.25
    expected = (plain.energy - offsets) / 7.3890846653659121 - 3 * 3.25 + offsets
    assert result.energy == pytest.approx(expected, rel=1e-13)
    np.testing.assert_allclose(result.forces, plain.forces / 7.3890846653659121, rtol=1e-12)


def test_normalised_nodes(folder):
    edit(folder, "input.nn", "epochs", "normalize_nodes\nepochs")
    zr = read(folder).element("Zr")
    assert zr.layers[0].weights[0].tolist() == pytest.approx([0.5, 0.55])
    assert zr.layers[0].bias.tolist() == [0.25, -0.25]
    assert zr.layers[1].bias.tolist() == [0.125]
    again = folder.parent / "again"
    read(folder).write(again)
    assert (read(again).parameters == read(folder).parameters).all()


def test_networks_of_single_elements(folder):
    more = "element_hidden_layers_short O 2\nelement_nodes_short O 2 1\n"
    more += "element_activation_short O p S l\n"
    edit(folder, "input.nn", "epochs", more + "epochs")
    with (folder / "weights.008.data").open("a") as file:
        file.write("1.5 a\n0.75 b\n")
    potential = read(folder)
    assert [e.hidden for e in potential.elements] == [(2,), (2, 1)]
    o = potential.element("O")
    assert [layer.activation for layer in o.layers] == ["softplus", "reverse-sigmoid", "linear"]
    again = folder.parent / "again"
    potential.write(again)
    assert read(again).element("O").hidden == (2, 1)
    assert (read(again).parameters == potential.parameters).all()


@pytest.mark.parametrize("units", [("Angstrom", "eV"), ("Bohr", "Hartree"), (0.123456789, 3.3)])
@pytest.mark.parametrize("normalised", [False, True])
def test_writing_back_gives_the_same_numbers(folder, units, normalised):
    if normalised:
        head = f"mean_energy {-1 / 3!r}\nconv_energy {7 / 3!r}\nconv_length {1.1 / 3!r}"
        edit(folder, "input.nn", "# A test.", head)
    potential = read(folder, *units)
    again = folder.parent / "again"
    potential.write(again)
    assert sorted(p.name for p in again.iterdir()) == sorted(p.name for p in folder.iterdir())
    for name in ("scaling.data", "weights.008.data", "weights.040.data"):
        width = 6 if name == "scaling.data" else 1
        values = [
            [
                [float(word) for word in line.split()[:width]]
                for line in (where / name).read_text().splitlines()
                if not line.startswith("#")
            ]
            for where in (folder, again)
        ]
        assert values[0] == values[1]
    given = sorted(line for line in _settings(folder) if "epochs" not in line)
    assert given == sorted(_settings(again))
    # The units stand in the folder now.
    assert BPNNPotential.read(again).units == potential.units
    repeated = folder.parent / "repeated"
    BPNNPotential.read(again).write(repeated)
    for path in again.iterdir():
        assert path.read_bytes() == (repeated / path.name).read_bytes()


def _settings(folder):
    """Lines of input.nn with numbers as numbers."""
    for line in (folder / "input.nn").read_text().splitlines():
        words = line.partition("#")[0].split()
        if words:
            yield " ".join(
                str(float(w)) if re.fullmatch(r"[-+]?\d[-+.\deE]*", w) else w for w in words
            )


def test_our_format_between_keeps_everything(folder):
    first, second = folder.parent / "first", folder.parent / "second"
    potential = read(folder, "Bohr", "Hartree")
    potential.write(first)
    potential.write(folder.parent / "x.bpnn")
    BPNNPotential.read(folder.parent / "x.bpnn").write(second)
    for path in first.iterdir():
        assert path.read_bytes() == (second / path.name).read_bytes()


@pytest.mark.parametrize("output", ["tanh", "linear"])
@pytest.mark.parametrize("hidden", [(), (3,), (4, 2)])
def test_what_n2p2_has_no_place_for_becomes_equivalent(
    reference, functions, crystal, tmp_path, output, hidden
):
    untrained = BPNNPotential.untrained(
        ["Zr", "O"], functions, hidden=hidden, output_activation=output
    )
    potential = untrained.randomized(seed=2).with_output(
        slope={"Zr": 2.0, "O": 0.3}, intercept={"Zr": -7.0, "O": 1 / 3}, atom_energy={"O": -9.1}
    )
    low, high = np.zeros(6), np.array([1, 2, 1e-9, 2, 3, 4.0])
    amp = Scaling("range", -1.0, 1.0, low, high, tolerance=1e-8)
    sigma = Scaling("sigma", mean=[1, 2, 3, 4, 5, 6], sigma=[1, 2, 1, 2, 1, 0.5])
    for scaling in ({"O": amp}, {"Zr": sigma, "O": amp}, {}):
        scaled = potential.with_scaling(scaling)
        folder = tmp_path / f"nnp{len(scaling)}"
        scaled.write(folder)
        a = reference.evaluate(scaled, crystal)
        b = reference.evaluate(BPNNPotential.read(folder), crystal)
        np.testing.assert_allclose(b.energies, a.energies, rtol=1e-13)
        np.testing.assert_allclose(b.forces, a.forces, atol=1e-12)


def test_amps_output_node_becomes_a_layer(shared, reference, tmp_path):
    potential = BPNNPotential.read(shared / "reference" / "amp" / "ZrO_checkpoint.amp")
    potential.write(tmp_path / "nnp")
    again = BPNNPotential.read(tmp_path / "nnp")
    assert [layer.activation for layer in again.elements[0].layers] == ["tanh"] * 4 + ["linear"]
    atoms = Atoms("ZrO2", [[0, 0, 0], [1.6, 1.2, 0.5], [-1.0, 1.8, 0.4]])
    a, b = reference.evaluate(potential, atoms), reference.evaluate(again, atoms)
    np.testing.assert_allclose(b.energies, a.energies, rtol=1e-14)
    np.testing.assert_allclose(b.forces, a.forces, atol=1e-13)


def test_amps_polynomial_is_one_of_n2p2s_or_refused(tmp_path):
    fc = Cutoff("amp-polynomial", 5.0, 2.0)
    one = BPNNPotential.untrained(["O"], [SymmetryFunction("G2", ("O",), 0.1, fc)]).randomized(1)
    one.write(tmp_path / "a")
    assert BPNNPotential.read(tmp_path / "a").elements[0].functions[0].cutoff.kind == "poly1"
    four = replace(one.elements[0].functions[0], cutoff=replace(fc, parameter=4.0))
    other = one.with_elements([replace(one.elements[0], functions=(four,))])
    with pytest.raises(ValueError, match="does not have Amp's polynomial cut-off with gamma = 4"):
        other.write(tmp_path / "b")
    both = (one.elements[0].functions[0], replace(four, cutoff=Cutoff("cosine", 5.0)))
    mixed = BPNNPotential.untrained(["O"], both).randomized(1)
    with pytest.raises(ValueError, match="one cut-off function for all; this potential has sever"):
        mixed.write(tmp_path / "b")
    assert not (tmp_path / "b").exists()


COMPACT = """symfunction_short O 22 Zr O -8.0 8.0 90.0 270.0 p2a
symfunction_short O 22 Zr O -8.0 8.0 0.0 60.5 p2
symfunction_short O 22 O O 1.5 9.0 0.0 180.0 p2
symfunction_short O 20 Zr 2.5 7.0 p1a
symfunction_short O 20 O 2.5 8.0 p1a
symfunction_short O 20 O 2.5 7.0 p1a
symfunction_short Zr 23 0.0 6.0 p4
symfunction_short Zr 24 0.0 6.0 0.0 120.0 p3
"""


def test_compact_functions(folder):
    text = INPUT[: INPUT.index("symfunction_short")] + COMPACT
    (folder / "input.nn").write_text(text)
    potential = read(folder, "Bohr", "eV")
    zr, o = potential.elements
    assert [f.kind for f in zr.functions] == ["C2W", "C4W"]
    assert [f.cutoff.kind for f in zr.functions] == ["window4", "window3"]
    # By kind, form, neighbors, outer and inner radius, and angles.
    assert [(f.neighbors, round(f.cutoff.radius / Bohr), f.angles[0]) for f in o.functions] == [
        (("O",), 7, 0),
        (("O",), 8, 0),
        (("Zr",), 7, 0),
        (("O", "O"), 9, 0),
        (("Zr", "O"), 8, 0),
        (("Zr", "O"), 8, 90),
    ]
    assert o.functions[5].cutoff.kind == "skewed2"
    assert o.functions[5].cutoff.parameter == -8.0 * Bohr
    assert o.functions[5].angles == (90, 270)
    first, second = folder.parent / "first", folder.parent / "second"
    potential.write(first)
    lines = {line for line in _settings(first) if line.startswith("symf")}
    assert lines == {line for line in _settings(folder) if line.startswith("symf")}
    potential.write(folder.parent / "x.bpnn")
    again = BPNNPotential.read(folder.parent / "x.bpnn")
    assert [e.functions for e in again.elements] == [e.functions for e in potential.elements]
    again.write(second)
    for path in first.iterdir():
        assert path.read_bytes() == (second / path.name).read_bytes()


def test_folders_that_are_there_are_kept(folder, potential):
    with pytest.raises(FileExistsError, match="give the name of a new folder"):
        potential.write(folder)
    assert (folder / "input.nn").read_text() == INPUT
    assert sorted(p.name for p in folder.parent.iterdir()) == ["nnp"]


@pytest.mark.parametrize("name", ["Cu2S_PBE", "Anisole_SCAN"])
def test_n2p2s_own_examples_survive(shared, tmp_path, name):
    given = shared / "reference" / "n2p2" / name
    potential = BPNNPotential.read(given, length_unit="Bohr", energy_unit="Hartree")
    potential.write(tmp_path / "nnp")
    for path in [given / "scaling.data", *given.glob("weights*")]:
        rows = [
            [line.split() for line in (f / path.name).read_text().splitlines() if line[0] != "#"]
            for f in (given, tmp_path / "nnp")
        ]
        assert rows[0] == rows[1]
    for keyword in ("symfunction_short", "mean_energy", "conv_", "elements", "global_", "scale_"):
        lines = [
            sorted(line for line in _settings(folder) if line.startswith(keyword))
            for folder in (given, tmp_path / "nnp")
        ]
        # A shift of 0 is not written.
        assert [re.sub(r" 0\.0$", "", line) for line in lines[0]] == (
            [re.sub(r" 0\.0$", "", line) for line in lines[1]]
        )


def test_units_must_be_said(folder):
    with pytest.raises(ValueError, match="does not say its units: name them, as in length_unit="):
        BPNNPotential.read(folder)
    with pytest.raises(ValueError, match="does not say its units"):
        BPNNPotential.read(folder, length_unit="Bohr")


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        ("input.nn", "elements Zr O ", "elements Zr Q ", "line 3: unknown element 'Q'"),
        ("input.nn", "elements Zr O ", "elements Zr ", "line 3: 2 elements expected, found 1"),
        ("input.nn", "elements Zr O ", "elemental Zr ", "the keyword elements is missing"),
        ("input.nn", "cutoff_type 6 0.25", "cutoff_type 9", "line 6: the cut-off type must be"),
        ("input.nn", "cutoff_type 6 0.25", "cutoff_type 6 1", "line 6: the inner fraction"),
        ("input.nn", "epochs 10", "epochs 1\nepochs 2", "epochs is given twice, first in line 13"),
        ("input.nn", "epochs 10", "nnp_type 4G", "line 13: only short-range networks (2G)"),
        ("input.nn", "epochs 10", "use_electrostatics", "use_electrostatics is not supported"),
        ("input.nn", "epochs 10", "mean_energy 1.0", "mean_energy needs conv_energy beside it"),
        ("input.nn", "epochs 10", "atom_energy O 2", "for one of the elements Zr O, once"),
        ("input.nn", "O 9 Zr O 0.02", "O 9 Zr H 0.02", "line 14: H is not one of the elements"),
        ("input.nn", "O 9 Zr O 0.02", "O 26 Zr O 0.02", "symmetry functions of kind 26 cannot"),
        ("input.nn", "O 9 Zr O 0.02 1 2.5 8.0", "O 20 O 1 2 p5", "the window 'p5' is none of p1"),
        ("input.nn", "O 9 Zr O 0.02 1 2.5 8.0", "O 20 O 3 2 p2", "must be below the outer one"),
        ("input.nn", "O 9 Zr O 0.02", "O 9 Zr O", "line 14: a symmetry function of kind 9 needs"),
        ("input.nn", "O 9 Zr O 0.02", "O 9 Zr O inf", "eta must be a finite number, not inf"),
        ("input.nn", "short t l", "short q l", "line 12: the activation 'q' is none of"),
        ("input.nn", "short t l", "short t t", "the output's activation is 't'"),
        ("input.nn", "short t l", "short t t l", "2 activations expected, found 3"),
        ("input.nn", "nodes_short 2", "nodes_short 2 2", "1 numbers of nodes expected, found 2"),
        ("input.nn", "nodes_short 2", "nodes_short 0", "must be a whole number from 1 on"),
        ("input.nn", "nodes_short 2", "nodes_short 3", "which column 2 calls 'a', not 'b'"),
        (
            "input.nn",
            "symfunction_short O 2 Zr 0.5 1.0 8.0\n",
            "",
            "input.nn has 2 functions for Zr",
        ),
        ("scaling.data", "1 3 ", "1 4 ", "element 1 (O), function 3 expected, found 1, 4"),
        ("scaling.data", "1 3 ", "1 3 nan ", "5 or 6 columns expected"),
        ("scaling.data", "2 2 ", "2 2 0 0 0 0\n3 1", "the file should end here, found '3'"),
        ("scaling.data", "0.2 3.0", "0.2 0.2", "function 2 has maximum - minimum = 0"),
        ("scaling.data", "0.2 3.0", "0.2 1e999", "must be a finite number, not 1e999"),
        ("weights.008.data", "0.5 b", "nan b", "line 14: bias of layer 1"),
        ("weights.008.data", "0.25 b 2 1", "", "the file ends, but bias of layer 2 (2 inputs, 1"),
        ("weights.008.data", "0.25 b 2 1", "0.25 b\n1.0 b", "asks for no more weights"),
        ("weights.008.data", "2.0 a 1", "2.0 b 1", "weight of layer 2 (2 inputs, 1 nodes), 1 of 2"),
    ],
)
def test_errors_name_file_and_line(folder, name, old, new, message):
    edit(folder, name, old, new)
    with pytest.raises(ValueError, match=re.escape(str(folder))) as error:
        read(folder)
    assert message in str(error.value)
    assert len(str(error.value).splitlines()) == 1


def test_missing_files_are_told(folder):
    (folder / "weights.008.data").unlink()
    with pytest.raises(FileNotFoundError, match=r"weights\.008\.data"):
        read(folder)
