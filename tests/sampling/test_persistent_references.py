"""Samplers through references that stay alive and remember: sockets, interactive codes."""

import numpy as np
import pytest
from ase.build import bulk

from pescape.labelling import reference_from
from pescape.sampling.trajectory import read_images

SOCKET = """
import contextlib
from pathlib import Path

from ase.calculators.emt import EMT
from ase.calculators.socketio import PySocketIOClient, SocketIOCalculator

HERE = Path(__file__).parent


def note(word):
    with (HERE / "notes").open("a") as file:
        file.write(word + "\\n")


class Noted(PySocketIOClient):
    def __call__(self, *arguments, **options):
        note("launch")
        return super().__call__(*arguments, **options)


@contextlib.contextmanager
def served(directory):
    name = "pescape-" + "-".join(Path(directory).parts[-4:])[-60:]
    with SocketIOCalculator(launch_client=Noted(EMT), unixsocket=name, timeout=60) as calculator:
        yield calculator
        server = calculator.server
    note(f"closed {server.proc.returncode}")
"""

STATEFUL = """
from pathlib import Path

import numpy as np
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.emt import EMT

HERE = Path(__file__).parent
sessions = []


class Stateful(Calculator):
    implemented_properties = ("energy", "forces")

    def __init__(self, directory):
        super().__init__()
        self.first, self.closed, self.directory = None, False, directory
        sessions.append(self)

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        if self.closed:
            raise RuntimeError("evaluated after close")
        now = atoms.numbers.tolist(), atoms.cell.tolist(), atoms.pbc.tolist()
        self.first = self.first or now
        if now != self.first:
            raise RuntimeError("another system")
        for other in sessions:
            if other is not self and not other.closed:
                raise RuntimeError("two at once")
        copy = atoms.copy()
        copy.calc = EMT()
        self.results = {"energy": copy.get_potential_energy(), "forces": copy.get_forces()}
        with (Path(self.directory) / "output").open("a") as file:
            file.write("done\\n")
        if len((Path(self.directory) / "output").read_text().split()) == 1:
            with (HERE / "notes").open("a") as file:
                file.write("first\\n")

    def close(self):
        self.closed = True
        with (HERE / "notes").open("a") as file:
            file.write("closed\\n")
"""


@pytest.fixture
def two(tiny):
    """A start with contour and dimer only."""
    md = tiny[tiny.index("[[samplers]]") : tiny.index('[[samplers]]\nmethod = "contour"')]
    return tiny.replace(md, "").replace("count = 2", "count = 1")


def images(folder, result, number):
    return read_images(folder / "sampled" / "tasks" / "trajectory" / result.records[number].key)


@pytest.mark.slow
def test_contours_and_dimers_through_a_socket_are_those_in_process(tmp_path, two, write, run):
    for name in ("direct", "socket"):
        (tmp_path / name).mkdir()
    direct = run(write(tmp_path / "direct", two))
    text = two.replace("calc.py:counted", "calc.py:served")
    socket = run(write(tmp_path / "socket", text, SOCKET))
    for number in range(2):
        assert socket.records[number].status == "complete"
        pairs = zip(
            images(tmp_path / "direct", direct, number),
            images(tmp_path / "socket", socket, number),
            strict=True,
        )
        for one, other in pairs:
            np.testing.assert_allclose(other.positions, one.positions, rtol=0, atol=1e-7)
            np.testing.assert_allclose(other.get_forces(), one.get_forces(), rtol=0, atol=1e-6)
            assert other.get_potential_energy() == pytest.approx(
                one.get_potential_energy(), abs=1e-7
            )
    notes = (tmp_path / "socket" / "notes").read_text().split("\n")[:-1]
    assert notes == ["launch", "closed 0"] * 2


def test_a_stateful_reference_sees_one_system_at_a_time_and_is_closed(tmp_path, two, write, run):
    text = two.replace("calc.py:counted", "calc.py:Stateful") + "[limits]\nmultiple = 2.0\n"
    result = run(write(tmp_path, text, STATEFUL))
    assert [record.status for record in result.records] == ["complete"] * 2
    notes = (tmp_path / "notes").read_text().split()
    assert notes.count("closed") > 20  # one for each evaluation of the limits
    assert notes[-4:] == ["first", "closed"] * 2
    assert not list((tmp_path / "sampled" / "scratch").glob("*/output"))


def test_sessions_close_what_can_be_closed(tmp_path):
    (tmp_path / "calc.py").write_text(STATEFUL)
    reference = reference_from("calc.py:Stateful", tmp_path)
    atoms = bulk("Cu")
    with pytest.raises(KeyError), reference.session(tmp_path) as calculator:  # noqa: PT012
        atoms.calc = calculator
        atoms.get_potential_energy()
        raise KeyError
    assert calculator.closed
    assert (tmp_path / "output").exists()


def test_the_content_of_a_file_is_part_of_the_identity(tmp_path):
    path = tmp_path / "calc.py"
    path.write_text("from ase.calculators.emt import EMT\n")
    first = reference_from("calc.py:EMT", tmp_path)
    assert first.name == "calc.py:EMT"
    assert reference_from(f"{path}:EMT").identity == first.identity
    path.write_text("from ase.calculators.emt import EMT\n# better\n")
    assert reference_from("calc.py:EMT", tmp_path).identity != first.identity
    with pytest.raises(Exception, match="has changed meanwhile"):
        first.calculator()


@pytest.mark.parametrize(
    ("content", "name", "message"),
    [
        (None, "calc.py:make", r"no file .*calc\.py"),
        ("x = 1\n", "calc.py:make", "no function 'make' there"),
        ("x = 1\n", "calc.py", "name it FILE.py:NAME"),
        ("import nothing_like_it\n", "calc.py:make", "ModuleNotFoundError"),
    ],
)
def test_wrong_files_are_told(tmp_path, content, name, message):
    if content:
        (tmp_path / "calc.py").write_text(content)
    from pescape.errors import ConfigError

    with pytest.raises(ConfigError, match=message):
        reference_from(name, tmp_path)
