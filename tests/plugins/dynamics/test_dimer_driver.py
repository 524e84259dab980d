"""Saddle searches through calculators that keep a state, such as a code behind a socket."""

import threading

import numpy as np
import pytest
from ase.build import add_adsorbate, fcc100
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.emt import EMT
from ase.calculators.socketio import SocketClient, SocketIOCalculator
from ase.optimize import FIRE

from pescape.plugins.dynamics import Dimer, SaddleFilter
from pescape.plugins.dynamics.guards import Guards

METHODS = ["ritz", "vtst"]


class Driver(Calculator):
    """A code that keeps its last structure and refuses to be asked for one it has done."""

    implemented_properties = ("energy", "forces")

    def __init__(self):
        super().__init__()
        self.code = EMT()
        self.seen = []
        self.busy = threading.Lock()

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        assert self.busy.acquire(blocking=False), "asked while still at work"
        super().calculate(atoms, properties, system_changes)
        positions = self.atoms.get_positions()
        for before in self.seen:
            assert np.abs(positions - before).max() > 1e-9, "asked twice for the same positions"
        self.seen.append(positions)
        changes = ["positions"] if len(self.seen) > 1 else all_changes
        self.code.calculate(self.atoms, ["energy", "forces"], changes)
        self.results = {name: self.code.results[name] for name in ("energy", "forces")}
        self.busy.release()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("seed", [0, 1])
def test_no_positions_are_asked_twice_and_the_driver_is_left_at_the_atoms(hop, method, seed):
    atoms, shift = hop(seed)
    atoms.calc = Driver()
    dimer = Dimer(atoms, shift, method=method)
    flags = []
    for converged in dimer.irun(fmax=0.005):
        flags.append(converged)
        assert np.array_equal(atoms.calc.seen[-1], atoms.positions)
        assert not atoms.calc.calculation_required(atoms, ["energy", "forces"])
        assert atoms.get_potential_energy() == dimer.history[-1].energy
    assert flags == [False] * dimer.nsteps + [True]
    assert len(atoms.calc.seen) == dimer.calls


def test_a_start_on_a_saddle_leaves_the_driver_there(hop):
    atoms, shift = hop()
    first = Dimer(atoms, shift)
    assert first.run()
    again = Dimer(atoms, first.mode)
    assert again.run()
    assert again.calls == 3  # the saddle, an image beside it, and the saddle once more
    assert not atoms.calc.calculation_required(atoms, ["energy", "forces"])


def test_driver_that_fails_where_told_so_is_asked_again_with_half_the_step(hop):
    atoms, shift = hop()
    atoms.calc = Driver()
    dimer = Dimer(atoms, shift, guards=Guards(max_force=100.0, caught=(TimeoutError,)))
    dimer.run(steps=3)
    before, original, failures = atoms.get_positions(), atoms.calc.calculate, []

    def calculate(*args, **kwargs):
        if not failures:
            failures.append(1)
            raise TimeoutError("no answer")
        original(*args, **kwargs)

    atoms.calc.calculate = calculate
    dimer.run(steps=1)
    assert failures
    if dimer.reason.kind == "calculator":  # it failed on a rotated image
        assert "no answer" in dimer.reason.message
        assert np.array_equal(atoms.positions, before)
    else:
        assert dimer.nsteps == 4


def adatom():
    atoms = fcc100("Cu", (2, 2, 2), vacuum=5.0)
    add_adsorbate(atoms, "Cu", 1.7, "hollow")
    atoms.pbc = True
    return atoms


@pytest.fixture
def socket(tmp_path, request):
    """Makes a calculator behind a UNIX socket, served by EMT in a thread."""
    name = f"pescape_{tmp_path.name}_{id(request)}"
    served = []

    def serve():
        far = adatom()
        far.calc = EMT()
        original = far.calc.calculate

        def calculate(*args, **kwargs):
            original(*args, **kwargs)
            served.append(far.get_positions())

        far.calc.calculate = calculate
        SocketClient(unixsocket=name).run(far, use_stress=False)

    threads = []

    def launch(*_, **__):
        threads.append(threading.Thread(target=serve, daemon=True))
        threads[0].start()

    with SocketIOCalculator(unixsocket=name, launch_client=launch) as calculator:
        yield calculator, served
    threads[0].join(10)


@pytest.mark.parametrize("method", METHODS)
def test_search_through_a_socket_is_the_search_without(socket, method, tmp_path):
    calculator, served = socket
    mode = np.zeros((9, 3))
    mode[-1] = (1.0, 0.2, 0.3)
    ends = []
    for calc in (calculator, EMT()):
        atoms = adatom()
        atoms.positions[-1] += (0.3, 0.1, 0.1)
        atoms.calc = calc
        dimer = Dimer(atoms, mode, method=method, images=tmp_path / "all.extxyz")
        dimer.run(fmax=0.01, steps=12)
        ends.append((dimer.calls, atoms.get_positions(), dimer.history[-1].energy))
    assert ends[0][0] == ends[1][0] == len(served)
    np.testing.assert_allclose(ends[0][1], ends[1][1], atol=1e-6)
    assert ends[0][2] == pytest.approx(ends[1][2], abs=1e-8)
    np.testing.assert_allclose(served[-1], ends[0][1], atol=1e-9)


def test_filter_asks_for_no_positions_twice(hop):
    atoms, shift = hop()
    atoms.calc = Driver()
    saddle = SaddleFilter(atoms, shift)
    FIRE(saddle, logfile=None).run(fmax=0.05, steps=15)
    assert len(atoms.calc.seen) == saddle.calls
