import pytest

from pescape.calculators.doptimality.active_set import build_active_set
from pescape.calculators.mtp import MTPotential
from pescape.calculators.mtp.fit import FitSettings, fit_mtp
from pescape.labelling import label, reference_from
from pescape.plugins.structures import crystal
from tests.conftest import strained_and_rattled

# Small enough to end within seconds, yet with every kind of task: the data starts so poor
# that MD meets risky configurations.
TINY = """
seed = 3
output = "out"
workers = 2
max_rounds = 8
check = false

[reference]
eam = "Zr_mm.eam.fs"

[potential]
file = "zr.almtp"
species = ["Zr"]
levels = [2, 4]
cutoff = 5.0
min_dist = 2.0
radial_basis_size = 4

[[structures]]
element = "Zr"
lattice = "bcc"
a = 3.58
repeat = [[1, 1, 1], [2, 1, 1]]
count = 4
rattle = [0.01, 0.03]
strain = 0.005

[fit]
iterations = 60
starts = 1

[md]
temperatures = [300, 1500]
steps = 300


[test]
configurations = 2

[[md.start]]
element = "Zr"
lattice = "bcc"
a = 3.58
cubic = true
repeat = [[2, 2, 1]]
"""


@pytest.fixture(scope="session")
def tiny():
    """Text of the configuration of a tiny campaign."""
    return TINY


@pytest.fixture(scope="session")
def potential(tmp_path_factory):
    """A potential that knows bcc near its equilibrium only."""
    reference = reference_from("eam:Zr_mm.eam.fs")
    parents = [crystal("Zr", "bcc", 3.58, repeat=(2, 2, 1))]
    frames = strained_and_rattled(parents, 10, rattle=(0.05, 0.1), strain=0.01, seed=1)
    train = [label(atoms, reference) for atoms in frames]
    start = MTPotential.untrained(4, ["Zr"], 5.0, 2.0, 4)
    fitted = fit_mtp(start, train, FitSettings(iterations=60, starts=1)).potential
    path = tmp_path_factory.mktemp("potential") / "zr.almtp"
    fitted.with_active_set(build_active_set(fitted, train)).write(path)
    return path
