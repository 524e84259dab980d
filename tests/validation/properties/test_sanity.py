import numpy as np
import pytest
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.stress import full_3x3_to_voigt_6_stress
from matscipy.neighbours import neighbour_list

from pescape.validation.config import ValidationConfig
from pescape.validation.crystals import Crystal
from pescape.validation.properties.soundness.sanity import CHECKS, SanityConfig, sanity

# Of the model below: depth (eV), range (Å), nearest distance, cut-off and width of its tail (Å).
DEPTH, STEEPNESS, NEAREST, CUTOFF, TAIL = 0.3, 1.6, 2.6, 5.5, 1.5
COPPER = Crystal(element="Cu", lattice="fcc", a=NEAREST * 2**0.5)


def morse(r):
    """Energy and slope of a bond, which ends smoothly at the cut-off."""
    one = np.exp(-STEEPNESS * (r - NEAREST))
    energy, slope = DEPTH * (one**2 - 2 * one), -2 * DEPTH * STEEPNESS * (one**2 - one)
    x = np.clip((r - CUTOFF + TAIL) / TAIL, 0.0, 1.0)
    smooth, steep = 1 - 10 * x**3 + 15 * x**4 - 6 * x**5, -30 * (x * (1 - x)) ** 2 / TAIL
    return energy * smooth, slope * smooth + energy * steep


class Pairs(Calculator):
    """A sum over bonds; what is wrong with it is for subclasses to say."""

    implemented_properties = ["energy", "free_energy", "forces", "stress"]  # noqa: RUF012

    def bonds(self, first, second, vectors, r):  # noqa: ARG002 (subclasses do)
        energy, slope = morse(r)
        return energy, slope[:, None] * vectors / r[:, None]

    def finished(self, energy, forces, stress):
        return energy, forces, stress

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        first, second, vectors, r = neighbour_list("ijDd", self.atoms, CUTOFF)
        energy, gradient = self.bonds(first, second, vectors, r)
        forces = np.zeros((len(self.atoms), 3))
        np.add.at(forces, first, gradient / 2)
        np.add.at(forces, second, -gradient / 2)
        volume = self.atoms.get_volume() if self.atoms.cell.rank == 3 else np.inf
        stress = full_3x3_to_voigt_6_stress(vectors.T @ gradient / 2 / volume)
        energy, forces, stress = self.finished(energy.sum() / 2, forces, stress)
        self.results = {
            "energy": energy, "free_energy": energy, "forces": forces, "stress": stress
        }  # fmt: skip


class WrongForces(Pairs):
    def finished(self, energy, forces, stress):
        return energy, 1.01 * forces, stress


class WrongSign(Pairs):
    def finished(self, energy, forces, stress):
        return energy, forces, -stress


class CutOff(Pairs):
    """Ends all at once."""

    def bonds(self, first, second, vectors, r):
        inside = r < 5.1
        energy, gradient = super().bonds(first, second, vectors, r)
        return energy * inside, gradient * inside[:, None]


class Kinked(Pairs):
    """Its energy is continuous and its forces are not."""

    def bonds(self, first, second, vectors, r):
        energy, gradient = super().bonds(first, second, vectors, r)
        below = 0.05 * np.minimum(r - 4.3, 0.0)
        return energy - below, gradient - 0.05 * (r < 4.3)[:, None] * vectors / r[:, None]


class Anisotropic(Pairs):
    """Bonds are stronger along x."""

    def bonds(self, first, second, vectors, r):
        energy, gradient = super().bonds(first, second, vectors, r)
        x = vectors[:, 0]
        weight = 1 + 0.05 * x**2 / r**2
        turn = -0.1 * (x**2 / r**4)[:, None] * vectors
        turn[:, 0] += 0.1 * x / r**2
        return energy * weight, gradient * weight[:, None] + energy[:, None] * turn


class Chiral(Pairs):
    """Adds a triple product of three sums over neighbours of each atom."""

    def bonds(self, first, second, vectors, r):
        energy, gradient = super().bonds(first, second, vectors, r)
        decays = np.array([[0.1], [0.5], [1.0]])
        weights = np.exp(-decays * r) * (CUTOFF - r) ** 3 / 20
        slopes = weights * (-decays - 3 / (CUTOFF - r))
        count = len(self.atoms)
        a, b, c = sums = np.zeros((3, count, 3))
        for one, weight in zip(sums, weights, strict=True):
            np.add.at(one, first, weight[:, None] * vectors)
        partial = np.cross(b, c), np.cross(c, a), np.cross(a, b)
        atomic = np.einsum("ij,ij->i", a, partial[0])
        for weight, slope, d in zip(weights, slopes, partial, strict=True):
            along = np.einsum("ij,ij->i", vectors, d[first])
            gradient = gradient + 2 * (
                weight[:, None] * d[first] + (slope * along / r)[:, None] * vectors
            )
        share = np.bincount(first, minlength=count)[first]
        return energy + 2 * atomic[first] / share, gradient


class Ordered(Pairs):
    """Bonds between atoms of odd numbers are stronger."""

    def bonds(self, first, second, vectors, r):
        energy, gradient = super().bonds(first, second, vectors, r)
        weight = 1 + 0.01 * (first % 2) * (second % 2)
        return energy * weight, gradient * weight[:, None]


class NotExtensive(Pairs):
    """Has an energy that goes with the square of the number of atoms."""

    def finished(self, energy, forces, stress):
        return energy + 1e-3 * len(forces) ** 2, forces, stress


class Fixed(Pairs):
    """Feels a field that stays where it is in the cell."""

    def finished(self, energy, forces, stress):
        phase = 2 * np.pi * self.atoms.get_scaled_positions(wrap=False)[:, 0]
        wave = 2 * np.pi * np.linalg.inv(self.atoms.cell.array)[:, 0]
        push = 0.01 * np.sin(phase)[:, None] * wave
        return energy + 0.01 * np.cos(phase).sum(), forces + push, stress


class Restless(Pairs):
    """Never gives the same result twice."""

    calls = 0

    def finished(self, energy, forces, stress):
        self.calls += 1
        return energy + 1e-3 * self.calls, forces, stress


class Hollow(Pairs):
    """Atoms fall into a hole once they are near enough."""

    def bonds(self, first, second, vectors, r):
        energy, gradient = super().bonds(first, second, vectors, r)
        hole = -30.0 * np.exp(-(((r - 1.5) / 0.1) ** 2))
        slope = -2 * (r - 1.5) / 0.1**2 * hole
        return energy + hole, gradient + slope[:, None] * vectors / r[:, None]


class Undefined(Pairs):
    """Has no energy where atoms are very near."""

    def bonds(self, first, second, vectors, r):
        energy, gradient = super().bonds(first, second, vectors, r)
        return np.where(r < 1.4, np.nan, energy), gradient


def failed(calculator):
    result = sanity(calculator, SanityConfig(phases=[COPPER], spacing=0.06))
    checks = {check for check in CHECKS if result.values[f"{check}.passed"].value == 0.0}
    assert result.values["failed"].value == len(checks)
    assert result.values["passed"].value == len(CHECKS) - len(checks)
    assert {warning.split(":")[0] for warning in result.warnings} == checks
    return checks


def test_a_sound_potential_passes_every_check():
    config = SanityConfig(phases=[COPPER])
    result = sanity(Pairs(), config)
    assert tuple(result.values) == config.value_names
    assert not result.warnings
    assert result.values["failed"].value == 0.0
    assert result.values["forces.deviation"].unit == "eV/Å"
    assert set(result.curves) == {"dimer_CuCu", "crystal_fcc"}
    # What the scans have seen is the model itself.
    dimer = result.curves["dimer_CuCu"]
    np.testing.assert_allclose(
        dimer.y, np.where(dimer.x < CUTOFF, morse(dimer.x)[0], 0.0), atol=1e-9
    )
    assert result.values["dimer_repulsion.rise"].value == pytest.approx(
        dimer.y[0] + DEPTH, abs=1e-3
    )


@pytest.mark.parametrize(
    ("broken", "expected"),
    [
        (WrongForces, {"forces"}),
        (WrongSign, {"stress"}),
        (CutOff, {"dimer_smoothness", "crystal_smoothness"}),
        pytest.param(Kinked, {"dimer_smoothness", "crystal_smoothness"}, marks=pytest.mark.slow),
        pytest.param(Anisotropic, {"rotation"}, marks=pytest.mark.slow),
        pytest.param(Chiral, {"inversion"}, marks=pytest.mark.slow),
        (Hollow, {"dimer_repulsion"}),
        (Undefined, {"finite"}),
        # A cell of many clusters is many cells.
        pytest.param(NotExtensive, {"supercell", "separation"}, marks=pytest.mark.slow),
    ],
)
def test_what_is_wrong_is_found_by_the_check_for_it_and_by_no_other(broken, expected):
    assert failed(broken()) == expected


@pytest.mark.parametrize(
    ("broken", "check"),
    [(Ordered, "permutation"), (Fixed, "translation"), (Restless, "repetition")],
)
def test_what_is_wrong_in_more_than_one_way_is_found(broken, check):
    assert check in failed(broken())


def test_a_flat_energy_does_not_keep_atoms_apart(flat):
    assert failed(flat) == {"dimer_repulsion", "crystal_repulsion"}


def test_without_stress_the_rest_is_checked():
    class Stressless(Pairs):
        implemented_properties = ["energy", "free_energy", "forces"]  # noqa: RUF012

    result = sanity(Stressless(), SanityConfig(phases=[COPPER], spacing=0.1))
    assert "stress.passed" not in result.values
    assert result.values["failed"].value == 0.0
    assert [warning.split()[0] for warning in result.warnings] == [
        "stress", "crystal_smoothness", "crystal_repulsion"
    ]  # fmt: skip


@pytest.mark.slow
def test_the_step_with_which_emt_ends_is_seen(emt):
    # ASE's EMT cuts its switching function off where that is 1e-4, which leaves a small step.
    config = SanityConfig(phases=[Crystal(element="Cu", lattice="fcc")], spacing=0.1)
    result = sanity(emt, config)
    pair = Atoms("Cu2", [[0.0, 0.0, 0.0], [emt.rc_list - 1e-9, 0.0, 0.0]], calculator=emt)
    inside = pair.get_potential_energy()
    pair.positions[1, 0] += 2e-9
    step = 1000.0 * abs(pair.get_potential_energy() - inside)
    assert step > 0.01
    assert result.values["dimer_smoothness.energy"].value == pytest.approx(step, rel=1e-3)
    assert result.values["failed"].value == 2.0
    assert f"at {emt.rc_list:.4f} Å" in result.warnings[0]


def test_the_zr_potential_is_sound(zr, zirconium):
    result = sanity(zr, SanityConfig(phases=[zirconium], spacing=0.1))
    assert not result.warnings
    assert result.values["passed"].value == len(CHECKS)


@pytest.mark.slow
def test_two_crystals_give_dimers_of_all_their_elements(emt):
    crystals = [Crystal(element=element, lattice="fcc") for element in ("Cu", "Al")]
    crystals[1] = crystals[1].model_copy(update={"name": "fcc_Al"})
    result = sanity(emt, SanityConfig(phases=crystals, spacing=0.4, longest=6.0))
    assert set(result.curves) == {
        "dimer_AlAl", "dimer_AlCu", "dimer_CuCu", "crystal_fcc", "crystal_fcc_Al"
    }  # fmt: skip


def test_files_may_call_it_physicality_as_before():
    crystal = {"element": "Cu", "lattice": "fcc"}
    with pytest.warns(FutureWarning, match="'physicality' is called 'sanity' now"):
        config = ValidationConfig(
            suite={"crystal": crystal, "without": ["physicality"]},
            properties=[{"kind": "physicality", "phases": [crystal]}],
            thresholds={"physicality.forces.deviation": 0.01},
        )
    assert "sanity" not in [one.title for one in config.suite.properties]
    (own,) = config.properties
    assert (own.kind, own.title) == ("sanity", "physicality")
    assert list(config.limits()) == ["physicality.forces.deviation"]
    (found,) = config.chosen(only=["physicality"])
    assert found is own
    suite = ValidationConfig(
        suite={"crystal": crystal}, thresholds={"physicality.*.deviation": 0.01}
    )
    assert "sanity.forces.deviation" in suite.limits()
    assert [one.title for one in suite.chosen(only=["physicality"])] == ["sanity"]
