from concurrent.futures import Executor, Future
from pathlib import Path

import pytest

from pescape.config import load_config
from pescape.sampling import SampleConfig, sample

# A reference that counts what it is asked, and dies where the file beside it says so.
CALCULATOR = """
import os
import signal
from pathlib import Path

from ase.calculators.calculator import all_changes
from ase.calculators.emt import EMT

from pescape.data.configurations import configuration_id

HERE = Path(__file__).parent


class Counted(EMT):
    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        calls, kill = HERE / "calls", HERE / "kill"
        made = calls.read_text().split() if calls.exists() else []
        if kill.exists() and len(made) >= int(kill.read_text()):
            kill.unlink()
            os.kill(os.getpid(), signal.SIGKILL)
        # All is new: without neighbor lists of its past EMT's last digits have no history.
        super().calculate(atoms, properties, all_changes)
        with calls.open("a") as file:
            file.write(configuration_id(atoms) + "\\n")


def counted():
    return Counted()
"""

TINY = """
seed = 3
workers = 1
[reference]
calculator = "calc.py:counted"
[relaxation]
steps = 3
[[structures]]
element = "Cu"
lattice = "fcc"
a = 3.7
cubic = true
count = 2
rattle = [0.1, 0.1]
[[samplers]]
method = "md"
calls = 12
[[samplers]]
method = "contour"
calls = 12
[[samplers]]
method = "dimer"
calls = 12
"""


class Serial(Executor):
    """Runs everything at once, in this process."""

    def submit(self, function, /, *arguments):
        future = Future()
        future.set_result(function(*arguments))
        return future


@pytest.fixture
def serial():
    return Serial()


@pytest.fixture(scope="session")
def tiny():
    """Text of the configuration of a tiny campaign."""
    return TINY


def write_campaign(folder: Path, text: str, calculator: str = CALCULATOR) -> Path:
    (folder / "calc.py").write_text(calculator)
    (folder / "sample.toml").write_text(text)
    return folder / "sample.toml"


def run_campaign(path: Path, **options):
    """Run a campaign in this process."""
    options = {"executor": Serial(), "command": f"pescape sample {path.name}"} | options
    config = load_config(path, SampleConfig)
    return sample(config, path.parent / "sampled", base=path.parent, **options)


@pytest.fixture(scope="session")
def write():
    return write_campaign


@pytest.fixture(scope="session")
def run():
    return run_campaign


@pytest.fixture(scope="session")
def whole(tmp_path_factory, tiny):
    """A tiny campaign that nobody disturbed: its folder and its result."""
    folder = tmp_path_factory.mktemp("whole")
    return folder, run_campaign(write_campaign(folder, tiny))
