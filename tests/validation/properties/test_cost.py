import dataclasses

import pytest

from pescape.calculators.mtp import MTPotential
from pescape.labelling import reference_from
from pescape.validation import PotentialFile
from pescape.validation.properties.soundness.cost import (
    CostConfig,
    Timing,
    cost,
    parameter_count,
    processor,
)
from pescape.validation.sources import lammps_model

OUTPUT = """Loop time of 0.1 on 1 procs for 10 steps with 100 atoms
99.8% CPU use with 1 MPI tasks x 1 OpenMP threads
Loop time of 2.5 on 2 procs for 500 steps with 1000 atoms

Performance: 34.560 ns/day, 0.694 hours/ns, 200.000 timesteps/s, 200.000 katom-step/s
80.0% CPU use with 2 MPI tasks x 1 OpenMP threads

MPI task timing breakdown:
Section |  min time  |  avg time  |  max time  |%varavg| %total
---------------------------------------------------------------
Pair    | 1.9        | 2          | 2.1        |   0.0 | 80.00
Neigh   | 0.2        | 0.25       | 0.3        |   0.0 | 10.00
"""


@pytest.fixture
def short(zirconium):
    return CostConfig(crystal=zirconium, atoms=200, rounds=1, seconds=0.1)


def test_timings_are_those_of_the_last_run_per_atom_and_step():
    assert Timing.read(OUTPUT, 1000, 500, ranks=2) == Timing(
        loop=pytest.approx(5.0),
        pair=pytest.approx(4.0),
        neigh=pytest.approx(0.5),
        cpu=pytest.approx(8.0),
    )


def test_a_cost_is_told_beside_that_of_an_embedded_atom_potential(tmp_path, short):
    path = tmp_path / "zr.almtp"
    potential = MTPotential.untrained(
        level=8, species=["Zr"], cutoff=5.0, min_dist=2.0, radial_basis_size=8
    )
    # Without forces nothing flies away.
    random = potential.randomized(seed=1)
    dataclasses.replace(random, moment_coeffs=0.0 * random.moment_coeffs).write(path)
    result = cost(lammps_model(PotentialFile.of(path), tmp_path), short, tmp_path)
    assert tuple(result.values) == short.value_names
    found = {name: one.value for name, one in result.values.items()}
    assert found["ratio"] == pytest.approx(found["microseconds"] / found["baseline"])
    assert found["microseconds"] > 0.0
    # Two radial functions of eight polynomials each, nine moments, the energy of an atom.
    assert found["parameters"] == 26.0
    assert result.settings["processor"] == processor() != ""


def test_a_table_does_not_tell_its_parameters(tmp_path, short):
    model = lammps_model(reference_from("eam:Zr_mm.eam.fs"), tmp_path)
    assert parameter_count(model) is None
    assert "parameters" not in cost(model, short, tmp_path).values
