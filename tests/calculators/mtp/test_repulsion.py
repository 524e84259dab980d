"""Moment tensor potentials with a repulsion: what it changes, what it leaves, and its fits."""

from __future__ import annotations

import copy
import pickle
from dataclasses import asdict, replace

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.morse import MorsePotential
from ase.calculators.singlepoint import SinglePointCalculator

from pescape.calculators import MTP
from pescape.calculators.doptimality.active_set import build_active_set
from pescape.calculators.doptimality.design_matrix import site_gradients
from pescape.calculators.mtp import MTPotential
from pescape.calculators.mtp.fit import (
    FitSettings,
    Weights,
    evaluate,
    fit_mtp,
    loss,
    loss_and_gradient,
    raised,
    training_set,
)
from pescape.calculators.mtp.fit.fit import without_repulsion
from pescape.calculators.neighbors import neighbors
from pescape.calculators.zbl import ZBL

REPULSION = ZBL(0.8, 2.4)
MIN_DIST = 1.8


def potential(repulsion: ZBL | None = REPULSION, level: int = 8) -> MTPotential:
    untrained = MTPotential.untrained(level, ["Zr", "O"], 5.0, MIN_DIST, 6)
    return untrained.randomized(seed=2).with_repulsion(repulsion)


def dense(near: float = 0.0) -> Atoms:
    """A sheared cell with pairs on both sides of the repulsion's end, some below min_dist."""
    atoms = bulk("Zr", "fcc", a=3.6, cubic=True) * (2, 1, 1)
    atoms.set_cell(atoms.cell.array @ (np.eye(3) + np.diag([0.1], k=2)), scale_atoms=True)
    atoms.rattle(0.12, seed=1)
    atoms.symbols[::3] = "O"
    if near:
        atoms.positions[1] = atoms.positions[0] + near * np.array([2.0, 1.0, -2.0]) / 3.0
    return atoms


def dimer(r: float) -> Atoms:
    return Atoms("Zr2", [[0, 0, 0], [r, 0, 0]])


def energy(of: MTPotential, atoms: Atoms) -> float:
    atoms = atoms.copy()
    atoms.calc = MTP(of)
    return atoms.get_potential_energy()


def repulsion_alone(atoms: Atoms):
    species = np.array([["Zr", "O"].index(name) for name in atoms.symbols], np.int32)
    kernel = REPULSION.kernel(["Zr", "O"])
    return kernel.evaluate(atoms.positions, species, *neighbors(atoms, 5.0).arrays)


def shortest(atoms: Atoms) -> float:
    lists = neighbors(atoms, 5.0)
    centre = np.repeat(np.arange(len(atoms)), np.diff(lists.offsets))
    vectors = atoms.positions[lists.indices] + lists.shifts - atoms.positions[centre]
    return np.linalg.norm(vectors, axis=1).min()


def test_from_min_dist_on_the_repulsion_is_simply_added():
    atoms, bare = dense(), dense()
    assert MIN_DIST < shortest(atoms) < REPULSION.outer
    atoms.calc, bare.calc = MTP(potential()), MTP(potential(None))
    energies, forces, virials = repulsion_alone(atoms)
    assert energies.max() > 0.1
    np.testing.assert_allclose(
        atoms.get_potential_energies(), bare.get_potential_energies() + energies, rtol=1e-12
    )
    np.testing.assert_allclose(atoms.get_forces(), bare.get_forces() + forces, atol=1e-11)
    stress = bare.get_stress() - virials.sum(axis=0) / atoms.get_volume()
    np.testing.assert_allclose(atoms.get_stress(), stress, atol=1e-12)


@pytest.mark.parametrize("near", [0.0, 1.74, 1.2, 0.6])
def test_forces_and_stress_are_derivatives_of_the_energy(near):
    atoms, h = dense(near), 1e-5
    atoms.calc = MTP(potential())
    for k, axis in [(0, 0), (1, 2), (4, 1)]:
        moved = [atoms.copy(), atoms.copy()]
        moved[0].positions[k, axis] += h
        moved[1].positions[k, axis] -= h
        slope = (energy(potential(), moved[0]) - energy(potential(), moved[1])) / (2 * h)
        assert atoms.get_forces()[k, axis] == pytest.approx(-slope, rel=1e-6, abs=1e-5)
    wider, tighter = (
        energy(potential(), _scaled(atoms, 1.0 + change)) for change in (h / 3, -h / 3)
    )
    trace = (wider - tighter) / (2 * h / 3) / atoms.get_volume()
    assert atoms.get_stress()[:3].sum() == pytest.approx(trace, rel=1e-6)


def _scaled(atoms: Atoms, factor: float) -> Atoms:
    scaled = atoms.copy()
    scaled.set_cell(atoms.cell.array * factor, scale_atoms=True)
    return scaled


@pytest.mark.parametrize("where", [MIN_DIST, 0.95 * MIN_DIST, REPULSION.inner, REPULSION.outer])
def test_energy_force_and_curvature_are_continuous(where):
    h = 1e-3
    r = where + h * np.arange(-3.0, 4.0)
    values = np.array([energy(potential(), dimer(one)) for one in r])
    third = np.diff(values, 3) / h**3
    # A jump of the curvature would show as third differences of 1/h times its size.
    curvature = abs(np.diff(values, 2)).max() / h**2
    assert abs(third).max() < 60.0 * max(curvature, 10.0)


def test_below_min_dist_radial_functions_rest_where_polynomials_would_dive():
    resting = replace(potential(level=16), adds_repulsion=False)
    values = [energy(resting, dimer(r)) for r in (0.2, 0.9, 0.95 * MIN_DIST)]
    assert values[0] == pytest.approx(values[1], rel=1e-12) == pytest.approx(values[2], rel=1e-12)
    assert abs(energy(potential(None, level=16), dimer(0.2))) > 1e4
    curve = np.array([energy(potential(level=16), dimer(r)) for r in np.linspace(0.05, 1.7, 100)])
    assert (np.diff(curve) < 0).all()
    assert curve[0] > 1e4


def test_grades_do_not_notice_the_repulsion():
    with_it, without = potential(), potential(None)
    for near in (0.0, 1.7, 1.0):
        atoms = dense(near)
        np.testing.assert_array_equal(
            site_gradients(with_it, atoms), site_gradients(without, atoms)
        )
    active = build_active_set(without, [dense(), _scaled(dense(), 1.1)], "neighborhood")
    graded = [MTP(one.with_active_set(active)) for one in (with_it, without)]
    grades = [calc.get_property("extrapolation_grades", dense(1.0)) for calc in graded]
    np.testing.assert_array_equal(*grades)


def test_single_precision_keeps_the_repulsion_in_double():
    atoms = dense(0.05)
    double, single = (MTP(potential(), precision=one) for one in ("double", "single"))
    assert double.get_property("energy", atoms) > 1e4
    assert single.get_property("energy", atoms) == pytest.approx(
        double.get_property("energy", atoms), abs=1e-3
    )


@pytest.mark.parametrize("name", ["x.mtp", "x.almtp"])
def test_files_keep_the_repulsion_and_name_nothing_other_programs_do_not_know(tmp_path, name):
    kept = replace(potential(), tag="made in a test")
    if name.endswith(".almtp"):
        kept = kept.with_active_set(build_active_set(kept, [dense()], "neighborhood"))
    kept.write(tmp_path / name)
    kept.with_repulsion(None).write(tmp_path / "bare.mtp")
    lines, bare = ((tmp_path / n).read_bytes().split(b"\n") for n in (name, "bare.mtp"))
    assert [a for a, b in zip(lines, bare, strict=True) if a != b] == [
        b"potential_tag = species: Zr O; zbl: 0.8 2.4; made in a test"
    ]
    again = MTPotential.read(tmp_path / name)
    assert again.repulsion == REPULSION
    assert again.tag == "made in a test"
    assert energy(again, dense(1.0)) == energy(potential(), dense(1.0))
    assert MTPotential.read(tmp_path / "bare.mtp").repulsion is None


@pytest.mark.parametrize(
    ("tag", "message"),
    [
        ("species: Zr O; zbl: 2.4 0.8", "line 6: potential_tag: zbl: two distances in Å, 0 < inn"),
        ("species: Zr O; zbl: 0.8", "line 6: .*outer: a number expected"),
        ("species: Zr O; zbl: 0.8 2.4 5", "line 6: .*expected; found ' 0.8 2.4 5'"),
        ("species: Zr O; zbl: 0.8 five", "line 6: .*a number expected, found 'five'"),
        ("zbl: 0.8 2.4", "line 6: .*needs the elements before it"),
        ("species: Zr Xx; zbl: 0.8 2.4", "line 6: .*no element is called 'Xx'"),
        ("species: Zr O; zbl: 0.8 5.4", "line 6: .*ends at 5.4.*, beyond max_dist 5"),
    ],
)
def test_a_file_with_a_repulsion_that_makes_no_sense_is_refused(tmp_path, tag, message):
    potential().write(tmp_path / "x.mtp")
    text = (tmp_path / "x.mtp").read_text().replace("species: Zr O; zbl: 0.8 2.4", tag)
    (tmp_path / "x.mtp").write_text(text)
    with pytest.raises(ValueError, match=f"x.mtp, {message}"):
        MTPotential.read(tmp_path / "x.mtp")


def test_potentials_refuse_a_repulsion_they_cannot_have(tmp_path):
    with pytest.raises(ValueError, match=r"zbl: outer 5.5 Å is beyond the potential's cutoff 5 Å"):
        potential(ZBL(1.0, 5.5))
    unnamed = MTPotential.untrained(8, 2, 5.0, 2.0)
    with pytest.raises(ValueError, match=r"zbl: .* does not say which elements"):
        unnamed.with_repulsion(REPULSION)
    with pytest.raises(ValueError, match=r"tag 'zbl: mine' begins as"):
        replace(potential(None), tag="zbl: mine").write(tmp_path / "x.mtp")


def test_copies_and_higher_levels_keep_the_repulsion():
    one = potential()
    for other in (
        copy.deepcopy(one),
        pickle.loads(pickle.dumps(one)),
        one.with_parameters(one.parameters),
        one.randomized(seed=3),
        raised(one, 10),
    ):
        assert other.repulsion == REPULSION
    assert energy(raised(one, 10), dense(1.0)) == pytest.approx(energy(one, dense(1.0)), rel=1e-12)


def labelled(count: int, seed: int, least: float = 0.92) -> list[Atoms]:
    """Rattled zirconium with the labels of a pair potential."""
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        atoms = bulk("Zr", "fcc", a=4.5 * rng.uniform(least, 1.05), cubic=True)
        atoms.positions += 0.12 * rng.normal(size=atoms.positions.shape)
        atoms.calc = MorsePotential(epsilon=0.6, r0=3.2, rho0=4.0, rcut1=4.0, rcut2=5.0)
        results = {
            "energy": atoms.get_potential_energy(),
            "forces": atoms.get_forces(),
            "stress": atoms.get_stress(),
        }
        atoms.calc = SinglePointCalculator(atoms, **results)
        made.append(atoms)
    return made


ZIRCONIUM = MTPotential.untrained(6, ["Zr"], 5.0, 2.4, 6)
WIDE = ZBL(1.0, 3.2)
SETTINGS = FitSettings(iterations=150, starts=1, start_iterations=30)


@pytest.mark.parametrize("least", [0.92, 0.75])
def test_leaving_the_repulsion_out_on_both_sides_changes_no_residual(least):
    whole = ZIRCONIUM.randomized(seed=1).with_repulsion(WIDE)
    frames = labelled(4, seed=0, least=least)
    frames[0].calc.results.pop("stress")
    data = training_set(frames, whole.species, whole.cutoff)
    assert (data.shortest > ZIRCONIUM.min_dist) == (least > 0.8)
    fitted, rest = without_repulsion(whole, data)
    weights = Weights()
    expected = loss(whole, data, weights)
    assert loss(fitted, rest, weights) == pytest.approx(expected, rel=1e-12)
    assert abs(rest.forces - data.forces).max() > 0.1
    value, gradient = loss_and_gradient(fitted, rest, weights)
    assert value == pytest.approx(expected, rel=1e-12)
    theta, step = whole.parameters, 1e-6
    for k in (0, 7, len(theta) - 2):
        moved = [theta.copy(), theta.copy()]
        moved[0][k] += step
        moved[1][k] -= step
        up, down = (loss(whole.with_parameters(one), data, weights) for one in moved)
        assert gradient[k] == pytest.approx((up - down) / (2 * step), rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("least", [0.92, 0.75])
def test_a_fit_lowers_the_loss_of_the_whole_even_for_data_below_min_dist(least):
    frames = labelled(4, seed=3, least=least)
    start = ZIRCONIUM.randomized(seed=1).with_repulsion(WIDE)
    data = training_set(frames, start.species, start.cutoff)
    assert (data.shortest < start.min_dist) == (least < 0.8)
    result = fit_mtp(start, frames, SETTINGS.replace(iterations=20, pulay=False))
    assert result.loss == pytest.approx(loss(result.potential, data, SETTINGS.weights), rel=1e-9)
    assert result.loss < 0.1 * loss(start, data, SETTINGS.weights)


def test_a_fit_beside_the_repulsion_reports_errors_of_the_whole(tmp_path):
    frames = labelled(12, seed=3)
    result = fit_mtp(ZIRCONIUM.with_repulsion(WIDE), frames, SETTINGS)
    bare = fit_mtp(ZIRCONIUM, frames, SETTINGS, wall=False)
    assert bare.potential.repulsion is None
    assert result.potential.repulsion == WIDE
    assert result.potential.adds_repulsion
    result.potential.write(tmp_path / "zr.mtp")
    read = MTPotential.read(tmp_path / "zr.mtp")
    for name, value in asdict(evaluate(read, frames)).items():
        assert asdict(result.errors)[name] == pytest.approx(value, rel=1e-9), name
    assert result.errors.energy_mae < 2.0 * bare.errors.energy_mae + 1.0
    assert result.errors.force_mae < 2.0 * bare.errors.force_mae + 0.01
    again = fit_mtp(result.potential, frames, SETTINGS)
    assert again.potential.repulsion == WIDE
    assert again.loss <= result.loss * (1 + 1e-9)


def test_a_fitted_dimer_rises_monotonically_below_the_data():
    frames = labelled(12, seed=3)
    closest = min(map(shortest, frames))
    min_dist = np.floor(10.0 * closest) / 10.0
    untrained = MTPotential.untrained(6, ["Zr"], 5.0, min_dist, 6)
    fitted = fit_mtp(untrained.with_repulsion(WIDE), frames, SETTINGS).potential
    r = np.linspace(0.05, closest, 300)
    curve = np.array([energy(fitted, dimer(one)) for one in r])
    assert (np.diff(curve) < 0).all()
    assert curve[0] > 1e5
    crushed = frames[0].copy()
    crushed.set_cell(0.6 * crushed.cell.array, scale_atoms=True)
    assert energy(fitted, crushed) > energy(fitted, frames[0]) + 100.0
