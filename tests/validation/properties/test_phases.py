import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.morse import MorsePotential
from ase.io import write
from ase.units import GPa

from pescape.validation import PropertyError
from pescape.validation.compounds import Prototype, StructureFile
from pescape.validation.crystals import Crystal
from pescape.validation.properties.crystal.lattice import EosConfig, LatticeConfig, eos, lattice

from ..conftest import DEPTH, LENGTH, STEEPNESS

ROCKSALT = Prototype(formula="CuAu", prototype="rocksalt", a=5.4)
ZINCBLENDE = Prototype(formula="CuAu", prototype="zincblende", a=6.2)
L1_2 = Prototype(formula="Cu3Au", prototype="L1_2", a=3.8)
L1_0 = Prototype(formula="CuAu", prototype="L1_0", a=2.8, name="CuAu-I")
COPPER = Crystal(element="Cu", lattice="fcc", name="Cu")
GOLD = Crystal(element="Au", lattice="fcc", name="Au")


def numbers(result):
    return {name: one.value for name, one in result.values.items()}


@pytest.mark.slow
def test_compounds_of_bound_neighbours_have_the_lattice_and_energy_of_their_pairs(springs):
    # Six and four neighbours; the bulk modulus is V d²E/dV² of three pairs in a volume of r³.
    config = EosConfig(phases=[ROCKSALT, ZINCBLENDE], spread=0.01, dilation="isotropic")
    found = numbers(lattice(springs, LatticeConfig(phases=config.phases)))
    assert found["CuAu_rocksalt.a"] == pytest.approx(2.0 * LENGTH, abs=1e-4)
    assert found["CuAu_rocksalt.cohesive"] == pytest.approx(3.0 * DEPTH, abs=1e-6)
    assert found["CuAu_zincblende.a"] == pytest.approx(4.0 * LENGTH / 3**0.5, abs=1e-4)
    assert found["CuAu_zincblende.relative"] == pytest.approx(1000.0 * DEPTH, abs=1e-3)
    fit = numbers(eos(springs, config))
    curvature = 2.0 * DEPTH * STEEPNESS**2 / LENGTH**2
    modulus = curvature / (3.0 * LENGTH) / GPa
    assert fit["CuAu_rocksalt.bulk_modulus"] == pytest.approx(modulus, rel=2e-3)
    assert fit["CuAu_rocksalt.volume"] == pytest.approx(LENGTH**3, rel=1e-4)
    assert fit["CuAu_zincblende.relative"] == pytest.approx(1000.0 * DEPTH, abs=0.05)


def test_atoms_that_do_not_tell_each_other_apart_form_alloys_for_nothing(springs):
    config = LatticeConfig(phases=[COPPER, GOLD, L1_2], end_members=["Cu", "Au"])
    result = lattice(springs, config)
    assert tuple(result.values) == config.value_names
    found = numbers(result)
    assert found["Cu3Au_L1_2.a"] == pytest.approx(found["Cu.a"], abs=1e-4)
    assert found["Cu3Au_L1_2.formation"] == pytest.approx(0.0, abs=1e-6)
    assert result.values["Cu3Au_L1_2.formation"].unit == "eV/atom"


@pytest.mark.slow
def test_formation_energies_count_from_end_members_and_given_elements(emt):
    both = LatticeConfig(phases=[COPPER, GOLD, L1_2, L1_0], end_members=["Cu", "Au"])
    found = numbers(lattice(emt, both))
    parts = 0.75 * found["Cu.energy"] + 0.25 * found["Au.energy"]
    assert found["Cu3Au_L1_2.formation"] == pytest.approx(found["Cu3Au_L1_2.energy"] - parts)
    # Copper and gold mix.
    assert -0.2 < found["Cu3Au_L1_2.formation"] < 0.0
    assert found["Cu.formation"] == found["Au.formation"] == 0.0
    given = LatticeConfig(
        phases=[COPPER, L1_2], end_members=["Cu"], element_energies={"Au": found["Au.energy"]}
    )
    again = numbers(lattice(emt, given))
    assert again["Cu3Au_L1_2.formation"] == pytest.approx(found["Cu3Au_L1_2.formation"])
    # Between two compounds: Cu3Au is half way from Cu to CuAu.
    tie = LatticeConfig(phases=[COPPER, L1_0, L1_2], end_members=["Cu", "CuAu_I"])
    above = numbers(lattice(emt, tie))["Cu3Au_L1_2.formation"]
    half = (found["Cu.energy"] + found["CuAu_I.energy"]) / 2
    assert above == pytest.approx(found["Cu3Au_L1_2.energy"] - half)


def test_a_prototype_is_the_crystal_that_ase_builds(emt):
    phase = Prototype(formula="CuAu", prototype="cesiumchloride", a=3.0)
    found = numbers(lattice(emt, LatticeConfig(phases=[phase])))
    atoms = bulk("CuAu", "cesiumchloride", a=found["CuAu_cesiumchloride.a"])
    atoms.calc = emt
    energy = atoms.get_potential_energy() / 2
    assert found["CuAu_cesiumchloride.energy"] == pytest.approx(energy, abs=1e-9)
    assert abs(atoms.get_stress()).max() * atoms.get_volume() < 2e-3


def test_phases_are_compared_with_the_first_of_their_composition(emt):
    bcc = Crystal(element="Cu", lattice="bcc")
    config = LatticeConfig(phases=[COPPER, L1_2, bcc, L1_0])
    result = lattice(emt, config)
    found = numbers(result)
    assert found["Cu.relative"] == found["Cu3Au_L1_2.relative"] == found["CuAu_I.relative"] == 0.0
    above = 1000.0 * (found["bcc.energy"] - found["Cu.energy"])
    assert found["bcc.relative"] == pytest.approx(above)
    assert not result.warnings


def test_phases_of_other_compositions_are_compared_if_asked_for_and_that_is_told(emt):
    # As Waters and Rondinelli compare the suboxides of zirconium.
    config = EosConfig(phases=[L1_2, L1_0], relative_to={"CuAu-I": "Cu3Au_L1_2"})
    result = eos(emt, config)
    found = numbers(result)
    above = 1000.0 * (found["CuAu_I.energy"] - found["Cu3Au_L1_2.energy"])
    assert found["CuAu_I.relative"] == pytest.approx(above)
    assert "CuAu_I has another composition than Cu3Au_L1_2" in result.warnings[0]


def test_murnaghans_form_agrees_with_birchs_near_the_minimum_and_not_far_from_it(emt):
    forms = ("birch_murnaghan", "murnaghan")

    def modulus(spread, form):
        config = EosConfig(phases=[COPPER], spread=spread, form=form)
        return numbers(eos(emt, config))["Cu.bulk_modulus"]

    near, other = (modulus(0.01, form) for form in forms)
    assert other == pytest.approx(near, rel=1e-3)
    far, other = (modulus(0.2, form) for form in forms)
    assert abs(other - far) > 10.0 * abs(modulus(0.01, forms[1]) - near)


def test_a_relaxed_shape_costs_less_energy_than_a_scaled_one(emt):
    curves = [
        eos(emt, EosConfig(phases=[L1_0], points=5, spread=0.2, dilation=dilation)).curves["CuAu_I"]
        for dilation in ("relaxed", "isotropic")
    ]
    relaxed, scaled = (curve.y for curve in curves)
    assert (relaxed <= scaled + 1e-6).all()
    assert relaxed[0] < scaled[0] - 1e-4
    assert relaxed[2] == pytest.approx(scaled[2], abs=1e-6)


def test_a_phase_that_cannot_be_computed_is_told_and_left_out(emt):
    zirconium = Crystal(element="Zr", lattice="hcp")
    config = LatticeConfig(phases=[zirconium, COPPER], end_members=["hcp", "Cu"])
    result = lattice(emt, config)
    assert "hcp.energy" not in result.values
    assert result.values["Cu.formation"].value == 0.0
    assert "hcp: " in result.warnings[0]
    with pytest.raises(PropertyError, match="hcp: "):
        lattice(emt, LatticeConfig(phases=[zirconium]))


def test_a_phase_that_turns_into_another_is_told(springs, tmp_path):
    # Body-centred tetragonal copper has nothing to keep it from becoming fcc.
    centred = Atoms("Cu2", scaled_positions=[[0] * 3, [0.5] * 3], cell=[2.9, 2.9, 3.8], pbc=True)
    write(tmp_path / "bct.xyz", centred)
    tetragonal = StructureFile(file=str(tmp_path / "bct.xyz"))
    result = lattice(springs, LatticeConfig(phases=[tetragonal, COPPER]))
    assert numbers(result)["bct.c_over_a"] == pytest.approx(2**0.5, abs=1e-3)
    assert numbers(result)["bct.volume"] == pytest.approx(numbers(result)["Cu.volume"], rel=1e-3)
    assert result.warnings == ("bct has turned from I4/mmm into Fm-3m",)


def test_energies_of_free_atoms_are_given_by_element():
    morse = MorsePotential(epsilon=DEPTH, rho0=STEEPNESS, r0=LENGTH, rcut1=1.15, rcut2=1.3)
    config = LatticeConfig(phases=[ROCKSALT], atom_energy={"Cu": 1.0, "Au": 2.0})
    found = numbers(lattice(morse, config))
    assert found["CuAu_rocksalt.cohesive"] == pytest.approx(3.0 * DEPTH + 1.5, abs=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"relative_to": {"Cu": "hcp"}}, "no phase is called 'hcp'; there are Cu"),
        ({"end_members": ["Cu"]}, "Cu3Au_L1_2 is not made up of the end_members Cu"),
        ({"end_members": ["Cu"], "element_energies": {"Cu": 0.0}}, "make up each other"),
        ({"atom_energy": 1.0}, "atom_energy is that of one element"),
    ],
)
def test_comparisons_that_make_no_sense_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        LatticeConfig(phases=[COPPER, L1_2], **options)
