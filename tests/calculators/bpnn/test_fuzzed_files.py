"""Damaged files of every format: each is read as a potential, or told in one line.

``PESCAPE_FUZZ=100000 pytest tests/calculators/bpnn/test_fuzzed_files.py`` tries that many.
"""

import os
import random
import shutil
import warnings

import numpy as np
import pytest

from pescape.calculators.bpnn import BPNNPotential, Cutoff, SymmetryFunction
from pescape.calculators.doptimality.active_set import ActiveSet

TRIALS = int(os.environ.get("PESCAPE_FUZZ", "600"))
WORDS = [
    *("nan", "inf", "-inf", "1e999", "-1", "0", "1e308", "99999999999999999999", "9" * 5000),
    *("", " ", "\n", "#", "\x00", "é", "-", "None", "Zr", "O", "H", "'", '"', "[", "]", "(", ")"),
    *("{", "}", ",", ":", "=", "\\", "__import__('os').abort()", "lambda: 0", "()" * 50),
    *("end", "G2", "layer", "LAYER", "PCA", "a", "b", "1", "2", "1.5", "True", "[[" * 40),
]


def amp_text(potential):
    """The potential as Amp would write it, but for its numbers' meaning."""
    functions, models = {}, {}
    for name, element in zip(potential.species, potential.elements, strict=True):
        functions[name] = [_amp_function(f) for f in element.functions]
        models[name] = {
            n: [*layer.weights.tolist(), layer.bias.tolist()]
            for n, layer in enumerate(element.layers, start=1)
        }
    descriptor = (
        f"dict(Gs={functions!r}, cutoff={{'name': 'Cosine', 'kwargs': {{'Rc': 6.0}}}},\n"
        f" elements={list(potential.species)!r}, mode='atom-centered')"
    )
    sizes = {name: e.hidden for name, e in zip(potential.species, potential.elements, strict=True)}
    ranges = {name: [[0.0, 1.0]] * len(f) for name, f in functions.items()}
    scalings = {name: {"slope": 1.5, "intercept": -3.0} for name in potential.species}
    model = (
        f"dict(activation='tanh', fprange={ranges!r}, hiddenlayers={sizes!r},\n"
        f" scalings=OrderedDict({list(scalings.items())!r}), weights={models!r})"
    )
    return f"dict(descriptor={descriptor!r},\n model={model!r})"


def _amp_function(f):
    if f.kind == "G2":
        return {"type": "G2", "element": f.neighbors[0], "eta": f.eta, "offset": f.shift}
    angular = {"gamma": f.lambda_, "zeta": f.zeta}
    return {"type": f.kind, "elements": list(f.neighbors), "eta": f.eta} | angular


def simple_nn_text(potential):
    lines = [f"ELEM_LIST {' '.join(potential.species)}"]
    for name, element in zip(potential.species, potential.elements, strict=True):
        lines += [f"POT {name} 6.0", f"SYM {len(element.functions)}"]
        for f in element.functions:
            kind, numbers = f.kind[1], f"{f.zeta} {f.lambda_}" if f.kind != "G2" else "0 0"
            lines.append(f"{kind} 6.0 {f.eta} {numbers} {' '.join(f.neighbors)}")
        lines += [f"scale{n} " + "1.0 " * len(element.functions) for n in (1, 2)]
        lines.append(f"NET {len(element.hidden)} {' '.join(map(str, element.hidden))} 1")
        for n, layer in enumerate(element.layers):
            lines.append(f"LAYER {n} {layer.activation}")
            for k in range(layer.outputs):
                weights = " ".join(map(repr, layer.weights[:, k].tolist()))
                lines += [f"w{k} {weights}", f"b{k} {layer.bias[k]}"]
    return "\n".join(lines) + "\n"


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    """A folder with the same potential in every format."""
    fc = Cutoff("cosine", 6.0)
    functions = [
        SymmetryFunction("G2", ("O",), 0.1, fc),
        SymmetryFunction("G4", ("Zr", "O"), 0.02, fc, lambda_=-1.0, zeta=2.5),
    ]
    potential = BPNNPotential.untrained(["Zr", "O"], functions, hidden=(2,)).randomized(seed=1)
    folder = tmp_path_factory.mktemp("fuzz")
    potential.write(folder / "n2p2")
    (folder / "amp").write_text(amp_text(potential))
    (folder / "simple-nn").write_text(simple_nn_text(potential))
    size = potential.active_size()
    active_set = ActiveSet(np.eye(size), np.eye(size), leverage=np.eye(size))
    potential.with_active_set(active_set).write(folder / "pescape", "pescape")
    for path in folder.iterdir():
        assert BPNNPotential.read(path).species == ("Zr", "O")
    return folder


def damaged(data, chance):
    """Cut, double, swap, flip or replace something."""
    how = chance.randrange(6)
    where = chance.randrange(len(data) + 1)
    if how == 0:
        return data[:where]
    if how == 1:
        stop = min(where + chance.randrange(1, 60), len(data))
        return data[:stop] + data[where:stop] + data[stop:]
    if how == 2:
        return data[:where] + data[where + chance.randrange(1, 30) :]
    if how == 3 and where < len(data):
        flipped = bytearray(data)
        flipped[where] ^= 1 << chance.randrange(8)
        return bytes(flipped)
    if how == 4:
        lines = data.split(b"\n")
        i, j = chance.randrange(len(lines)), chance.randrange(len(lines))
        lines[i], lines[j] = lines[j], lines[i]
        return b"\n".join(lines)
    word = chance.choice(WORDS).encode()
    return data[:where] + word + data[where + chance.randrange(3) * len(word) :]


def attempt(path):
    """The potential, or what is wrong with it; any other error than ValueError is a bug."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            return BPNNPotential.read(path, length_unit=1, energy_unit=1), ""
        except ValueError as error:
            return None, str(error)


@pytest.mark.parametrize("name", ["pescape", "amp", "simple-nn", "n2p2"])
def test_damaged_files_are_read_or_told(originals, tmp_path, name):
    chance, read, told = random.Random(name), 0, 0
    files = sorted(p.name for p in (originals / name).iterdir()) if name == "n2p2" else [None]
    if name == "n2p2":
        shutil.copytree(originals / name, tmp_path / name)
    for trial in range(TRIALS // 4):
        which = files[trial % len(files)]
        path = tmp_path / name / which if which else tmp_path / name
        original = (originals / name / which if which else originals / name).read_bytes()
        data = damaged(original, chance)
        for _ in range(chance.randrange(3)):
            data = damaged(data, chance)
        path.write_bytes(data)
        potential, message = attempt(tmp_path / name)
        if potential is None:
            told += 1
            assert message.startswith(str(tmp_path / name)), data
            assert len(message.splitlines()) == 1, data
            assert len(message) < len(str(tmp_path)) + 400, data
        else:
            read += 1
            assert np.isfinite(potential.parameters).all()
            arguments = potential.kernel_arguments()
            assert all(np.isfinite(e["scale"]).all() for e in arguments["elements"])
        path.write_bytes(original)
    assert told > read
