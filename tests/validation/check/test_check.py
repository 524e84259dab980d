import dataclasses

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.morse import MorsePotential

from pescape.calculators.mtp import MTPotential
from pescape.calculators.mtp.fit import fit_mtp
from pescape.calculators.mtp.fit.settings import FitSettings
from pescape.figures.check import draw_check
from pescape.validation.check import CheckReport, CheckSettings, check_potential
from pescape.validation.check.basics import examine_atoms
from pescape.validation.check.contacts import _fall, push_pair, push_verdicts
from pescape.validation.check.labels import facts_of
from pescape.validation.check.packings import packing_verdict, relax_packing
from pescape.validation.check.probe import Probe
from pescape.validation.properties.soundness.scans import Scan

from .conftest import labeled

FEW = CheckSettings(packings=4, steps=20)


@pytest.fixture(scope="module")
def fitted(copper_frames):
    potential = MTPotential.untrained(4, ("Cu",), 4.5, 2.0, 6)
    return fit_mtp(potential, copper_frames, FitSettings(iterations=40, starts=1)).potential


@pytest.fixture(scope="module")
def report(fitted, copper_frames):
    return check_potential(fitted, copper_frames, FEW, name="cu.mtp", data="train.xyz")


def verdicts(report):
    return {one.check: one for one in report.verdicts}


def test_every_part_has_its_verdict(report):
    found = verdicts(report)
    assert set(found) == {
        "elastic constants, Cu fcc",
        "energy against volume, Cu fcc",
        "pushing Cu–Cu together",
        "random packings",
        "isolated atoms",
        "smoothness",
        "extrapolation",
    }
    assert found["smoothness"].status == "ok"
    assert found["isolated atoms"].status == "look"  # the data holds none
    assert "no active set" in found["extrapolation"].text
    [crystal] = report.crystals
    c11 = crystal.elastic["C11"]
    assert c11.data == pytest.approx(180.0, rel=0.2)
    assert c11.same_frames == pytest.approx(c11.data, rel=0.5)
    assert {one.where for one in report.pushes} >= {"vacuum", "Cu fcc"}
    assert len(report.packings) == 4


def test_a_report_outlives_json_and_is_drawn(report, tmp_path):
    again = CheckReport.from_json(report.to_json())
    assert again.to_json() == report.to_json()
    assert again.status == report.status
    draw_check(again, tmp_path / "check.png")
    assert (tmp_path / "check.png").stat().st_size > 10_000


def test_the_data_has_to_be_of_the_potentials_elements(fitted):
    with pytest.raises(ValueError, match="holds Ni, which the potential of Cu does not know"):
        check_potential(fitted, [Atoms("Ni")], FEW)


def test_without_data_what_cannot_be_checked_is_told(fitted):
    found = verdicts(check_potential(fitted, None, FEW))
    assert found["crystals"].status == "unchecked"
    assert found["smoothness"].status == "ok"
    assert "no such pair" in found["pushing Cu–Cu together"].text


def test_a_hole_is_bad(fitted, copper_frames):
    # Moments of one sign or of the other attract at short distance; the larger, the deeper.
    facts = facts_of(copper_frames, ("Cu",), 4.5)
    pair = Atoms("Cu2", [[0, 0, 0], [0.5, 0, 0]], cell=[15.0] * 3, pbc=True)
    plain = dataclasses.replace(fitted, moment_coeffs=0.0 * fitted.moment_coeffs)
    lift = Probe(fitted).energies(pair)[0] - Probe(plain).energies(pair)[0]
    moments = -100.0 * np.sign(lift) * fitted.moment_coeffs
    probe = Probe(dataclasses.replace(fitted, moment_coeffs=moments))
    pushes = [*push_pair(probe, ("Cu", "Cu"), facts, [], copper_frames)]
    assert {one.where.split()[0] for one in pushes} == {"vacuum", "frame"}
    [verdict] = push_verdicts(pushes, [], repulsion=False)
    assert verdict.status == "bad"
    assert "--zbl" in verdict.advice
    seed = np.random.SeedSequence(0)
    [packing] = relax_packing(probe, facts, dense=True, seed=seed, steps=60)
    assert packing.collapsed
    assert packing_verdict([packing], 1, repulsion=False).status == "bad"
    [again] = relax_packing(probe, facts, dense=True, seed=np.random.SeedSequence(0), steps=60)
    assert again == packing


def test_isolated_atoms_of_the_data_are_compared(fitted, copper_frames):
    atom = labeled(Atoms("Cu", cell=[20.0] * 3, pbc=True))
    facts = facts_of([*copper_frames, atom], ("Cu",), 4.5)
    verdict, found = examine_atoms(Probe(fitted), facts)
    assert found["Cu"].data == atom.get_potential_energy()
    assert "off by" in verdict.text


def scan(function):
    x = np.linspace(0.5, 3.0, 200)
    energy = function(x)
    return Scan(x, energy, np.gradient(energy, x))


def test_falls_are_found_behind_walls_and_wells():
    rising = scan(lambda x: 10.0 / x)
    assert _fall(rising, 2.0) == (None, 0.0, None)
    hole = scan(lambda x: 20.0 * np.exp(-((x - 1.2) ** 2) / 0.1) - 5.0 * (x < 0.7))
    at, drop, well = _fall(hole, 2.0)
    assert at == pytest.approx(1.2, abs=0.02)
    assert drop == pytest.approx(25.0, rel=0.03)
    assert well is None
    molecule = scan(lambda x: (1.0 - np.exp(-3.0 * (x - 1.8))) ** 2)
    at, drop, well = _fall(molecule, 2.0)
    assert well == pytest.approx(1.8, abs=0.02)
    # Above the nearest distance everything is allowed.
    assert _fall(molecule, 1.8)[0] is None


def test_facts_of_a_data_set():
    def pair(distance):
        atoms = Atoms("CuNi", [[0, 0, 0], [distance, 0, 0]], cell=[12.0] * 3, pbc=True)
        atoms.calc = MorsePotential()
        atoms.get_potential_energy()
        return atoms

    facts = facts_of([pair(2.2), pair(1.9), Atoms("Ni")], ("Ni", "Cu"), 5.0)
    assert facts.nearest == {("Cu", "Ni"): pytest.approx(1.9)}
    assert facts.nearest_frames == {("Cu", "Ni"): 1}
    assert facts.fractions == {"Ni": (0.5, 1.0), "Cu": (0.0, 0.5)}
    assert facts.nearest_of(("Cu", "Cu")) == pytest.approx(2.64)  # two covalent radii
    assert facts.lowest is not None
