import pytest

# Small enough to end within seconds, yet with every kind of task: the data starts so poor
# that MD meets risky configurations.
TINY = """
seed = 3
output = "out"
workers = 2
max_rounds = 8

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
snapshots = 1

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
