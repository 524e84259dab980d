import numpy as np
import pytest
from ase.build import bulk

from pescape.calculators.bpnn import BPNNPotential

DESCRIPTOR = """dict(Gs={'O': [{'type': 'G2', 'element': 'O', 'eta': 0.05},
      {'type': 'G4', 'elements': ['O', 'Zr'], 'eta': 0.005, 'gamma': -1.0, 'zeta': 2.5}],
   'Zr': [{'type': 'G2', 'element': 'Zr', 'eta': 4.0, 'offset': 1.5},
      {'type': 'G5', 'elements': ['Zr', 'Zr'], 'eta': 0.1, 'gamma': 1.0, 'zeta': 1.0}]},
   cutoff={'name': 'Cosine', 'kwargs': {'Rc': 6.0}}, elements=['O', 'Zr'],
   importname='.descriptor.gaussian.Gaussian', mode='atom-centered', version='2015.12')"""
MODEL = """dict(activation='tanh',
   fprange={'O': [[0.0, 2.0], [0.3, 0.300000001]], 'Zr': [[-1.0, 1.0], [0.5, 1.0]]},
   hiddenlayers={'O': (2,), 'Zr': [1]}, importname='.model.neuralnetwork.NeuralNetwork',
   mode='atom-centered',
   scalings=OrderedDict([('O', OrderedDict([('intercept', -4.5), ('slope', 2.0)])),
      ('Zr', {'intercept': -8, 'slope': 3.0})]), version='2015.12',
   weights=OrderedDict([('O', OrderedDict([(1, [[0.1, -0.2], [0.3, 0.4], [0.5, 0.6]]),
      (2, array([[1.0], [2.0], [-3.0]]))])), ('Zr', {1: matrix([[1.0], [0.5], [0.25]]),
      2: [[2.0], [0.125]]})]))"""


def amp_text(descriptor=DESCRIPTOR, model=MODEL):
    return f"dict(descriptor={descriptor!r},\nmodel={model!r})\n"


def read(tmp_path, text):
    (tmp_path / "x.amp").write_text(text)
    return BPNNPotential.read(tmp_path / "x.amp")


def test_every_number_finds_its_place(tmp_path):
    potential = read(tmp_path, amp_text())
    assert potential.species == ("O", "Zr")
    o, zr = potential.elements
    assert [f.kind for f in o.functions + zr.functions] == ["G2", "G4", "G2", "G5"]
    assert [f.eta * 36 for f in zr.functions] == pytest.approx([4.0, 0.1])
    assert zr.functions[0].shift == 1.5
    assert o.functions[0].shift == 0
    assert (o.functions[1].lambda_, o.functions[1].zeta) == (-1, 2.5)
    assert o.functions[1].neighbors == ("O", "Zr")
    assert (o.functions[0].cutoff.kind, o.functions[0].cutoff.radius) == ("cosine", 6.0)
    assert [layer.activation for layer in o.layers] == ["tanh", "tanh"]
    assert o.layers[0].weights.tolist() == [[0.1, -0.2], [0.3, 0.4]]
    assert o.layers[0].bias.tolist() == [0.5, 0.6]
    assert zr.layers[1].weights.tolist() == [[2.0]]
    assert (o.slope, o.intercept) == (2.0, -4.5)
    assert (zr.slope, zr.intercept) == (3.0, -8.0)
    assert o.scaling.flat.tolist() == [False, True]
    scale, offset = o.scaling.coefficients(2)
    assert scale.tolist() == [1, 1]
    assert offset.tolist() == [-1, 0]


def test_the_energy_of_lone_atoms(tmp_path, reference):
    potential = read(tmp_path, amp_text())
    atoms = bulk("Zr", "sc", a=30.0)
    x = np.array([0.0, -3.0])  # what fingerprints of nothing are scaled to
    hidden = np.tanh(x @ [1.0, 0.5] + 0.25)
    assert reference.evaluate(potential, atoms).energy == pytest.approx(
        -8 + 3 * np.tanh(2 * hidden + 0.125), rel=1e-14
    )


def test_other_cutoffs_and_a_single_element(tmp_path):
    polynomial = DESCRIPTOR.replace(
        "'Cosine', 'kwargs': {'Rc': 6.0}", "'Polynomial', 'kwargs': {'Rc': 6.0, 'gamma': 4}"
    )
    cutoff = read(tmp_path, amp_text(polynomial)).elements[0].functions[0].cutoff
    assert (cutoff.kind, cutoff.radius, cutoff.parameter) == ("amp-polynomial", 6.0, 4.0)
    old = DESCRIPTOR.replace("{'name': 'Cosine', 'kwargs': {'Rc': 6.0}}", "6.5")
    assert read(tmp_path, amp_text(old)).cutoff == 6.5


def test_the_dictionaries_may_stand_there_themselves(tmp_path):
    potential = read(tmp_path, f"dict(descriptor={DESCRIPTOR}, model={MODEL})")
    assert potential.parameter_count == 2 * 3 + 3 + 3 + 2


def test_amps_own_checkpoint_is_read_and_kept(shared, tmp_path):
    potential = BPNNPotential.read(shared / "reference" / "amp" / "ZrO_checkpoint.amp")
    assert [len(element.functions) for element in potential.elements] == [186, 186]
    assert [element.hidden for element in potential.elements] == [(16, 8, 4)] * 2
    potential.write(tmp_path / "x.bpnn")
    again = BPNNPotential.read(tmp_path / "x.bpnn")
    assert (again.parameters == potential.parameters).all()
    assert again.elements[0].functions == potential.elements[0].functions
    assert again.elements[0].scaling.tolerance == 1e-8


MALICIOUS = [
    "__import__('os').system('touch owned')",
    "dict(descriptor=__import__('os').getcwd(), model='')",
    "dict(descriptor='dict(Gs=open(\"/etc/passwd\").read())', model='dict()')",
    "dict(descriptor=(lambda: 1)(), model=1)",
    "dict(descriptor=[x for x in (1,)], model=1)",
    "dict(descriptor={**{}}, model=1)",
    "dict(descriptor=f'{1+1}', model=1)",
    "dict(descriptor=().__class__.__bases__, model=1)",
    "dict(descriptor=array.__class__, model=1)",
    "dict(descriptor=eval('1'), model=1)",
    "dict(descriptor=dict(dict)(1), model=1)",
    "dict(descriptor=array([1])[0], model=1)",
    "dict(descriptor=1+1, model=1)",
    "dict(descriptor=9**9**9**9, model=1)",
    "dict(descriptor='a'*10**9, model=1)",
    "dict(descriptor=1 if 1 else 2, model=1)",
    "dict(*[1], descriptor=1)",
    "dict(**{}, descriptor=1)",
    "dict(descriptor=OrderedDict(1), model=1)",
    "dict(descriptor=OrderedDict([(1, 2, 3)]), model=1)",
    "dict(descriptor=" + "[" * 100_000 + ", model=1)",
    "dict(descriptor=" + "-" * 100_000 + "1, model=1)",
    "dict(descriptor=" + "not " * 100_000 + "1, model=1)",
    "dict(descriptor=[0]" + "[0]" * 100_000 + ", model=1)",
    "dict(descriptor=array" + "()" * 100_000 + ", model=1)",
    "dict(descriptor=1" + "-1" * 100_000 + ", model=1)",
    "dict(descriptor=" + "1" * 100_000 + ", model=1)",
    "dict(descriptor=" + "1" * 100_000 + "x, model=1)",
    "dict(descriptor='" + "\\'" * 100_000 + ", model=1)",
    "dict(descriptor=1; import os",
    "dict(descriptor=1, descriptor=2)",
]


@pytest.mark.parametrize("text", MALICIOUS, ids=range(len(MALICIOUS)))
def test_nothing_is_evaluated(tmp_path, monkeypatch, text):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"x\.amp") as error:
        read(tmp_path, text)
    assert len(str(error.value)) < 300
    for place in (DESCRIPTOR, MODEL):
        inside = amp_text(text if place is DESCRIPTOR else DESCRIPTOR, text)
        with pytest.raises(ValueError, match=r"x\.amp"):
            read(tmp_path, inside)
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("'eta': 0.05", "'eta': 1e999", "function 1 of O: eta of G2 must be a finite number"),
        ("'eta': 0.05", "'eta': '0.05'", "function 1 of O: eta must be a number, not '0.05'"),
        ("'eta': 0.05", "'zeta': 0.05", "function 1 of O has no 'eta'"),
        ("'G4'", "'G9'", "function 2 of O: type 'G9' is not G2, G4 or G5"),
        ("'G4'", "['G4']", "type ['G4'] is not G2, G4 or G5"),
        ("'element': 'Zr'", "'element': 'H'", "function 1 of Zr is about H"),
        ("'Rc': 6.0", "'Rc': -6.0", "a cut-off radius must be positive"),
        ("'Cosine'", "'Sine'", "the name 'Sine' is not Cosine or Polynomial"),
        ("'atom-centered'", "'image-centered'", "only 'atom-centered' can be read"),
        ("gaussian.Gaussian", "zernike.Zernike", "only 'Gaussian' can be read"),
        ("elements=['O', 'Zr']", "elements=['O', 'Zr', 'H']", "has no 'H'"),
        ("elements=['O', 'Zr']", "elements=7", "elements must be a list of elements"),
        ("activation='tanh'", "activation='relu'", "activation = 'relu', which is none of"),
        ("[0.3, 0.300000001]", "[0.3]", "rows of one length"),
        (", [0.3, 0.300000001]", "", "fprange of O has shape (1, 2), not (2, 2)"),
        ("'O': (2,)", "'O': (3,)", "layer 1 has shape (3, 2), not (3, 3)"),
        ("'O': (2,)", "'O': (2, 2)", "layer 2 has shape (3, 1), not (3, 2)"),
        ("'O': (2,)", "'O': (0,)", "0 is no number of nodes"),
        ("2: [[2.0], [0.125]]", "3: [[2.0], [0.125]]", "has no 2"),
        ("[[2.0], [0.125]]", "[[2.0], [None]]", "must hold numbers, not None"),
        ("[[2.0], [0.125]]", "[[2.0], [1e999]]", "not finite"),
        ("'slope': 3.0", "'slope': 1e999", "slope must be a finite number"),
        ("'slope': 3.0", "'slop': 3.0", "has no 'slope'"),
        ("scalings=", "scaling=", "has no 'scalings'"),
    ],
)
def test_errors_name_what_is_wrong(tmp_path, old, new, message):
    assert old in DESCRIPTOR + MODEL
    text = amp_text(DESCRIPTOR.replace(old, new, 1), MODEL.replace(old, new, 1))
    with pytest.raises(ValueError, match=r"^\S*x\.amp") as error:
        read(tmp_path, text)
    assert message in str(error.value)
    assert len(str(error.value).splitlines()) == 1


def test_untrained_and_truncated_files_are_told(tmp_path):
    untrained = MODEL.partition("weights=")[0] + "weights=None)"
    with pytest.raises(ValueError, match="has no weights: it is untrained"):
        read(tmp_path, amp_text(model=untrained))
    text = amp_text()
    for cut in (50, len(text) // 3, len(text) // 2, len(text) - 10):
        with pytest.raises(ValueError, match=r"x\.amp"):
            read(tmp_path, text[:cut])
