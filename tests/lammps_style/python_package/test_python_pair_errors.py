"""Mistakes and accidents end a run of `pair_style python` on all ranks, with one message."""

from __future__ import annotations

import numpy as np
import pytest

SETUP = "units metal\natom_modify map array\nread_data hot.data\n"

# Makes the kernel fail, or give nonsense, on one rank at one step.
SPOIL = '''
python spoil input 0 here """
def spoil():
  import numpy
  from mpi4py import MPI
  from pescape.lammps_style.python import pair
  session = next(reversed(pair._sessions.values()))
  kernel = session.kernel
  class Spoilt:
    parameter_count = kernel.parameter_count
    def evaluate(self, *arguments):
      energies, forces, virials = kernel.evaluate(*arguments)
      if session.lammps.step == 3 and MPI.COMM_WORLD.rank == 1: {accident}
      return energies, forces, virials
  session.kernel = Spoilt()
"""
python spoil invoke
fix nve all nve
run 10
print survived
'''


@pytest.fixture
def fails(embedded, potentials, hot_copper):
    """Expect a run to fail with one message; `{potential}` stands for the usual lines."""
    hot_copper(600.0)
    potentials.metal("metal.almtp")

    def check(script: str, message: str, ranks: int = 2) -> None:
        usual = embedded.handover("metal.almtp", ["Cu"])
        done = embedded.run(script.replace("{potential}", usual), ranks, timeout=60)
        assert done.code != 0
        assert message in " ".join(done.output.split()), done.output
        assert done.output.count("ERROR: pescape") == 1, done.output
        assert "Traceback" not in done.output.replace("ERROR: pescape, rank 1: Traceback", "")
        assert "survived" not in done.output

    return check


@pytest.mark.slow
def test_a_failure_on_one_rank_stops_all(fails):
    fails(
        SETUP + "{potential}" + SPOIL.replace("{accident}", "raise RuntimeError('bug')"),
        "RuntimeError: bug ERROR: ",
    )


def test_forces_that_are_no_numbers_stop_the_run(fails):
    fails(
        SETUP + "{potential}" + SPOIL.replace("{accident}", "forces[2, 1] = numpy.nan"),
        "is not a number at step 3 (metal.almtp)",
    )


@pytest.mark.slow
def test_lost_atoms_stop_the_run(embedded, potentials, hot_copper):
    hot_copper(600.0)
    potentials.metal("metal.almtp")
    dynamics = "fix nve all nve\ntimestep 0.5\nthermo 1\nrun 100"
    done = embedded.run(SETUP + embedded.handover("metal.almtp", ["Cu"]) + dynamics, 2, timeout=60)
    assert done.code != 0
    assert "ERROR" in done.output


@pytest.mark.slow
@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("units metal\n{potential}", "goes after read_data or create_box"),
        (SETUP.replace("metal", "real") + "{potential}", "units must be metal, not real"),
        ("newton off\n" + SETUP + "{potential}", "newton must be on"),
    ],
    ids=["no box", "units", "newton"],
)
def test_what_lammps_lacks_is_said(fails, script, message):
    fails(script, message)


def test_pair_coeff_before_the_potential_is_refused(fails):
    early = "pair_style python 0.1\npair_coeff * * pescape.lammps_style.MTP Cu\n"
    fails(SETUP + early, "pair_coeff comes too early", ranks=1)


@pytest.mark.slow
def test_an_unknown_element_is_refused(fails):
    wrong = "pair_coeff * * pescape.lammps_style.MTP Zr\n"
    fails(SETUP + "{potential}" + wrong, "element Zr is not in metal.almtp, which is for Cu")


@pytest.mark.slow
def test_missing_ghosts_are_refused(embedded, potentials, hot_copper):
    hot_copper(600.0)
    potentials.metal("metal.almtp")
    usual = SETUP + embedded.handover("metal.almtp", ["Cu"])
    done = embedded.run(usual + "comm_modify cutoff 4.0\nrun 0", 2)
    assert done.code != 0
    assert "exceeds ghost atom range - use comm_modify cutoff command" in done.output
    done = embedded.run(usual + "neighbor 3.0 bin\nrun 0", 2)
    assert done.code != 0
    assert "use comm_modify cutoff command" in done.output
    embedded.ok(usual + "neighbor 3.0 bin\ncomm_modify cutoff 8.0\nrun 0", 2)


@pytest.mark.slow
def test_potential_files_are_checked(fails, tmp_path):
    usual = SETUP + "{potential}python pescape input 2 SELF other.mtp format ps exists\n"
    fails(usual + "python pescape invoke", "cannot read potential file other.mtp: No such file")
    text = (tmp_path / "metal.almtp").read_bytes()
    (tmp_path / "other.mtp").write_bytes(text[:700])
    fails(usual + "python pescape invoke", "other.mtp")


@pytest.mark.slow
def test_the_class_has_to_be_that_of_the_file(fails):
    lines = "python pescape input 2 SELF metal.almtp format ps exists\npython pescape invoke\n"
    wrong = "pair_style python 0.1\npair_coeff * * pescape.lammps_style.BPNN Cu\n"
    message = "pair_coeff names pescape.lammps_style.BPNN, but metal.almtp is for pescape.lammps_"
    fails(SETUP + "{potential}" + lines + wrong, message)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("metal.almtp length_unit Bohr", "only n2p2 and RuNNer folders have length_unit"),
        (".", ". is a folder without input.nn, so not one of n2p2 or RuNNer"),
        ("hot.data", "hot.data"),
    ],
)
def test_what_is_no_potential_is_refused(fails, words, message):
    lines = f'python pescape input 2 SELF "{words}" format ps exists\npython pescape invoke\n'
    fails(SETUP + "{potential}" + lines, message, ranks=1)


def test_a_guard_needs_an_active_set(fails, embedded, potentials):
    potentials.alloy("alloy.mtp")
    lines = embedded.handover("alloy.mtp", ["Cu"], guard="10")
    fails(SETUP + lines, "potential file alloy.mtp has no active set")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("often", "the number of steps between checks is at least 1, not 'often'"),
        pytest.param(
            "10 selct 2.1",
            "unknown keyword selct (there are: select, break, file, append, halt)",
            marks=pytest.mark.slow,
        ),
        pytest.param("10 select", "keyword select has no value", marks=pytest.mark.slow),
        pytest.param(
            "10 select -1", "select is a positive grade or none, not -1", marks=pytest.mark.slow
        ),
        pytest.param("10 break 1.0", "break 1 is less than select 2.1", marks=pytest.mark.slow),
        pytest.param(
            "10 halt maybe",
            "halt is one of soft, hard, continue, not maybe",
            marks=pytest.mark.slow,
        ),
        ("10 file nowhere/risky.xyz", "nowhere/risky.xyz"),
    ],
)
def test_wrong_words_of_the_guard_are_refused(fails, words, message):
    lines = f'python guard input 2 SELF "{words}" format ps exists\npython guard invoke\n'
    fails(SETUP + "{potential}" + lines, message, ranks=1)


@pytest.mark.slow
def test_virials_per_atom_are_not_taken_for_zero(embedded, potentials, hot_copper):
    hot_copper(600.0)
    potentials.metal("metal.almtp")
    columns = "compute s all stress/atom NULL\ncompute r all reduce sum c_s[1]\n"
    thermo = "thermo_style custom step press c_r\nrun 0"
    done = embedded.ok(SETUP + embedded.handover("metal.almtp", ["Cu"]) + columns + thermo, 2)
    assert np.isnan(done.thermo("c_r")[0])
    assert np.isfinite(done.thermo("Press")[0])
