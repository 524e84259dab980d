import json

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.neighborlist import neighbor_list

from pescape.plugins.structures import Mutations, polymorph_derived, replay
from pescape.plugins.structures.polymorphs import _in_unit_ball, _strained

STILL = {
    "deletion": 0.0,
    "substitution": 0.0,
    "strain": 0.0,
    "dilation": 0.0,
    "displacement": 0.0,
}


@pytest.fixture(scope="module")
def zirconia():
    return bulk("ZrO2", "fluorite", a=5.08)


def done(atoms):
    return atoms.info["record"]["done"]


def test_defaults_are_those_of_the_paper():
    assert Mutations() == Mutations(
        size_limit=2.0,
        deletion=0.05,
        substitution=0.05,
        strain=0.10,
        dilation=0.10,
        tension=0.75,
        displacement=0.2,
        flip=0.0,
    )


def test_without_mutations_the_supercell_is_what_is_left(zirconia):
    atoms = polymorph_derived(zirconia, seed=2, **STILL)
    repeat = done(atoms)["repeat"]
    expected = zirconia.repeat(repeat)
    np.testing.assert_allclose(atoms.positions, expected.positions, atol=1e-12)
    np.testing.assert_allclose(atoms.cell.array, expected.cell.array, atol=1e-12)
    assert atoms.symbols.get_chemical_formula() == expected.symbols.get_chemical_formula()


def test_supercells_take_every_size_within_the_limit(zirconia):
    heights = 1 / np.linalg.norm(zirconia.cell.reciprocal().array, axis=1)
    seen = {
        tuple(done(polymorph_derived(zirconia, seed=s, cutoff=4.5, **STILL))["repeat"])
        for s in range(300)
    }
    most = np.floor(9.0 / heights).astype(int)
    assert seen == set(np.ndindex(*most + 1)) - {r for r in np.ndindex(*most + 1) if 0 in r}
    capped = [polymorph_derived(zirconia, seed=s, max_atoms=12, **STILL) for s in range(50)]
    assert {len(atoms) for atoms in capped} <= {3, 6, 9, 12}
    assert max(len(atoms) for atoms in capped) == 12


def test_only_periodic_directions_are_repeated():
    slab = bulk("Cu", cubic=True)
    slab.pbc = (True, True, False)
    assert all(done(polymorph_derived(slab, seed=s, **STILL))["repeat"][2] == 1 for s in range(20))


def test_deletions_and_substitutions_have_the_chances_asked_for(zirconia):
    sites = deleted = substituted = 0
    for seed in range(250):
        atoms = polymorph_derived(
            zirconia, seed=seed, **{**STILL, "deletion": 0.05, "substitution": 0.1}
        )
        count = 3 * int(np.prod(done(atoms)["repeat"]))
        sites += count
        deleted += len(done(atoms)["deleted"])
        substituted += len(done(atoms)["substituted"])
        assert len(atoms) == count - len(done(atoms)["deleted"])
    assert deleted / sites == pytest.approx(0.05, abs=0.006)
    assert substituted / (sites - deleted) == pytest.approx(0.1, abs=0.008)


def test_no_atom_is_substituted_by_its_own_element(zirconia):
    elements = ["Zr", "O", "Hf", "N"]
    kinds = set()
    for seed in range(60):
        atoms = polymorph_derived(
            zirconia, seed=seed, elements=elements, **{**STILL, "substitution": 0.5}
        )
        for _, old, new in done(atoms)["substituted"]:
            assert old != new
            kinds.add((old, new))
    assert kinds == {(old, new) for old in ("Zr", "O") for new in elements if new != old}


def test_a_metal_alone_is_not_substituted_and_one_atom_always_stays():
    zirconium = bulk("Zr", "hcp", a=3.23, c=5.17)
    atoms = polymorph_derived(zirconium, seed=0, substitution=1.0, deletion=1.0)
    assert atoms.symbols.get_chemical_formula() == "Zr"


def test_strain_has_no_preferred_direction():
    rng = np.random.default_rng(4)
    points = _in_unit_ball(20_000, rng)
    assert np.linalg.norm(points, axis=1).max() <= 1.0
    np.testing.assert_allclose(points.mean(axis=0), 0.0, atol=0.012)
    np.testing.assert_allclose(np.cov(points.T), np.eye(3) / 5, atol=0.006)
    cell = np.diag([4.0, 5.0, 9.0])
    changes = np.array([_strained(cell, 0.1, 0.02, rng) - cell for _ in range(4000)])
    changes /= np.diag(cell)[:, None]
    np.testing.assert_allclose(changes.mean(axis=0), 0.0, atol=0.004)
    assert np.linalg.norm(changes, axis=2).max() <= 0.1 + 1e-12


def test_strains_keep_the_volume_within_bounds(zirconia):
    for seed in range(60):
        atoms = polymorph_derived(zirconia, seed=seed, strain_volume=0.01)
        volume = zirconia.get_volume() * np.prod(done(atoms)["repeat"])
        strained = abs(np.linalg.det(done(atoms)["strained_cell"]))
        assert strained == pytest.approx(volume, rel=0.01)
        dilated = (1 + done(atoms)["dilation"]) ** 3 * strained
        assert atoms.get_volume() == pytest.approx(dilated, rel=1e-9)


def test_dilations_are_three_to_one_for_tension(zirconia):
    drawn = np.array(
        [done(polymorph_derived(zirconia, seed=s, cutoff=3.0))["dilation"] for s in range(800)]
    )
    assert -0.025 <= drawn.min() < -0.022
    assert 0.072 < drawn.max() <= 0.075
    assert (drawn > 0).mean() == pytest.approx(0.75, abs=0.05)


def test_displacements_are_bounded_and_the_parent_is_left_alone(zirconia):
    before = zirconia.copy()
    farthest = 0.0
    for seed in range(20):
        atoms = polymorph_derived(zirconia, seed=seed, **{**STILL, "displacement": 0.2})
        moved = atoms.positions - zirconia.repeat(done(atoms)["repeat"]).positions
        farthest = max(farthest, np.linalg.norm(moved, axis=1).max())
    assert 0.18 < farthest <= 0.2
    assert zirconia == before


def test_moments_flip_only_when_asked_to():
    iron = bulk("Fe", cubic=True).repeat((1, 2, 2))
    iron.set_initial_magnetic_moments([2.2, -2.2] * 4)
    same = polymorph_derived(iron, seed=2, **STILL)
    assert set(same.get_initial_magnetic_moments()) == {2.2, -2.2}
    assert not done(same)["flipped"]
    before = iron.repeat(done(same)["repeat"]).get_initial_magnetic_moments()
    flipped = polymorph_derived(iron, seed=2, flip=0.3, **STILL)
    after = flipped.get_initial_magnetic_moments()
    assert np.flatnonzero(before != after).tolist() == done(flipped)["flipped"]
    assert 0.1 < len(done(flipped)["flipped"]) / len(flipped) < 0.5
    again = replay(json.loads(json.dumps(flipped.info["record"])))
    np.testing.assert_array_equal(again.get_initial_magnetic_moments(), after)


def test_no_structure_has_atoms_nearer_than_their_hard_radii(zirconia):
    hard = {"Zr": 1.0, "O": 0.85}
    tries = []
    for seed in range(60):
        atoms = polymorph_derived(zirconia, seed=seed, cutoff=3.5, hard_radii=hard)
        reach = np.array([hard[symbol] for symbol in atoms.symbols])
        assert len(neighbor_list("i", atoms, reach)) == 0
        tries.append(done(atoms)["attempts"])
    assert max(tries) > 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hard_radii": {"Zr": 2.0, "O": 2.0}, "tries": 3}, "3 structures drawn from .* nearer"),
        ({"hard_radii": {"Zr": 1.0}}, "no radius for O"),
        ({"deletion": 1.5}, "deletion = 1.5 is not between 0 and 1"),
        ({"displacement": -0.1}, "displacement = -0.1 Å"),
        ({"strain_volume": 1e-9}, "raise strain_volume"),
        ({"max_atoms": 2}, "ZrO2 has 3 atoms, max_atoms 2"),
        ({"cutoff": -1.0}, "is not above 0"),
    ],
)
def test_what_is_not_possible_is_an_error(zirconia, changes, message):
    named = zirconia.copy()
    named.info["name"] = "ZrO2"
    with pytest.raises(ValueError, match=message):
        polymorph_derived(named, seed=0, **changes)


def test_unknown_mutations_and_molecules_are_refused(zirconia):
    with pytest.raises(TypeError, match="rattle"):
        polymorph_derived(zirconia, seed=0, rattle=0.1)
    with pytest.raises(ValueError, match="cell of CO has no volume"):
        polymorph_derived(Atoms("CO", [[0, 0, 0], [0, 0, 1.1]]), seed=0)


def test_structures_survive_files_and_are_replayed_bit_by_bit(zirconia, tmp_path):
    for seed in (7, np.random.SeedSequence(3).spawn(2)[1]):
        atoms = polymorph_derived(zirconia, seed=seed, elements=["Zr", "O", "Hf"])
        ase.io.write(tmp_path / "one.xyz", atoms)
        stored = ase.io.read(tmp_path / "one.xyz")
        assert stored.info["record"] == atoms.info["record"]
        again = replay(stored.info["record"])
        np.testing.assert_array_equal(again.positions, atoms.positions)
        np.testing.assert_array_equal(again.cell.array, atoms.cell.array)
        np.testing.assert_array_equal(again.numbers, atoms.numbers)
        assert again.info == atoms.info


def test_a_replay_that_differs_says_so(zirconia):
    record = polymorph_derived(zirconia, seed=1).info["record"]
    with pytest.raises(ValueError, match=r"it was built with .*'numpy': "):
        replay({**record, "seed": 2})
    replay({**record, "seed": 2}, check=False)
    with pytest.raises(ValueError, match="record of builder 'magic'"):
        replay({**record, "builder": "magic"})
