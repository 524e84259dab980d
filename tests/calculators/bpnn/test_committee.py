import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator

from pescape.calculators import BPNN
from pescape.calculators.bpnn import BPNNPotential
from pescape.calculators.bpnn.fit import FitSettings, default_functions, fit_bpnn
from pescape.calculators.bpnn.fit import committee as bpnn_committee
from pescape.calculators.bpnn.fit.committee import error_model
from pescape.calculators.committee.assess import assess
from pescape.calculators.committee.files import error_file, write_errors


def alloy(count, seed):
    """Rattled Cu-Au, labeled with EMT."""
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        atoms = bulk("Cu", cubic=True, a=3.8 * rng.uniform(0.97, 1.04))
        atoms.symbols[rng.choice(4, 2, replace=False)] = "Au"
        atoms.positions += rng.uniform(0.03, 0.2) * rng.normal(size=atoms.positions.shape)
        calculator = EMT()
        energy, forces = (calculator.get_property(name, atoms) for name in ("energy", "forces"))
        atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=forces)
        made.append(atoms)
    return made


@pytest.fixture(scope="module")
def fitted():
    settings = FitSettings(most_iterations=12)
    functions = default_functions(["Cu", "Au"], 4.5, radial=4, angular=4)
    start = BPNNPotential.untrained(["Cu", "Au"], functions, hidden=[4])
    frames = alloy(40, 0)
    potential = fit_bpnn(start, frames, settings).potential
    return potential, frames, settings


def test_bounds_cover_the_errors_of_a_network_and_follow_them(fitted, tmp_path):
    potential, frames, settings = fitted
    model = error_model(potential, frames, settings)
    assert model is not None
    assert len(model.members) == 4
    found = assess(potential, model, alloy(60, 1))
    assert found.force_coverage == pytest.approx(0.9, abs=0.07)
    assert found.rank_correlation > 0.4
    path = tmp_path / "cuau.bpnn"
    potential.write(path)
    write_errors(error_file(path), model)
    atoms = alloy(1, 2)[0]
    np.testing.assert_array_equal(
        BPNN(path).get_property("force_errors", atoms),
        BPNN(potential, errors=model).get_property("force_errors", atoms),
    )


def test_of_many_weights_the_output_layers_change_alone(fitted, monkeypatch):
    potential, frames, settings = fitted
    monkeypatch.setattr(bpnn_committee, "_MOST", 10)
    model = error_model(potential, frames, settings)
    assert model is not None
    changed = np.flatnonzero((model.members != model.own).any(axis=0))
    ends = np.cumsum([element.parameter_count for element in potential.elements])
    output = [end - 5 + k for end in ends for k in range(5)]
    np.testing.assert_array_equal(changed, output)
