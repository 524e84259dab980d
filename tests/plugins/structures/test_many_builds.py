import importlib.util
import sys
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def builders():
    """The benchmark that makes ten thousand calls; here it makes few."""
    path = Path(__file__).resolve().parents[3] / "benchmarks" / "builders.py"
    spec = importlib.util.spec_from_file_location("benchmark_builders", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    "index", [*range(5), *(pytest.param(n, marks=pytest.mark.slow) for n in range(5, 20))]
)
def test_builders_keep_their_bounds_in_random_systems(builders, index):
    tally = builders.check_system(index, 12)
    assert tally.calls == 12
    assert tally.overlaps == tally.composition == tally.filling == tally.replays == 0
