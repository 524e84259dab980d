import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import Calculator, all_changes
from pydantic import ValidationError

from pescape.config import validate
from pescape.validation.compounds import Prototype, StructureFile
from pescape.validation.crystals import Crystal
from pescape.validation.properties.paths.bands import BandConfig, minimum_energy_path
from pescape.validation.properties.paths.migration import (
    InterstitialMigrationConfig,
    VacancyHopConfig,
    VacancyMigrationConfig,
    interstitial_migration,
    vacancy_hop,
    vacancy_migration,
)
from pescape.validation.properties.paths.path_energies import PathEnergiesConfig, path_energies
from pescape.validation.property import PropertyError, snapshot

HEIGHT, DIP, BEND, STIFFNESS, PERIOD = 0.5, 0.2, 0.4, 4.0, 3.0


class Valley(Calculator):
    """A bent valley between two minima at y = 0: a summit half way, or two beside a dip."""

    implemented_properties = ["energy", "forces"]  # noqa: RUF012

    def __init__(self, dip=0.0):
        super().__init__()
        self.dip = dip

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        x, y, z = self.atoms.positions.T
        angle = np.pi * x / PERIOD
        off = y - BEND * np.sin(angle) ** 2
        energy = HEIGHT * np.sin(angle) ** 2 - self.dip * np.sin(angle) ** 8
        energy += STIFFNESS / 2.0 * (off**2 + z**2)
        slope = np.pi / PERIOD * np.sin(2.0 * angle)
        along = (HEIGHT - 4.0 * self.dip * np.sin(angle) ** 6 - STIFFNESS * off * BEND) * slope
        forces = -np.array([along, STIFFNESS * off, STIFFNESS * z]).T
        self.results = {"energy": float(energy.sum()), "forces": forces}


def ends(calculator):
    images = []
    for x in (0.0, PERIOD):
        atoms = Atoms("H", [(x, 0.0, 0.0)], cell=[20.0] * 3, pbc=True)
        atoms.calc = calculator
        images.append(snapshot(atoms, f"at {x}"))
    return images


def numbers(result):
    return {name: one.value for name, one in result.values.items()}


def test_a_band_finds_the_summit_of_a_bent_valley():
    calculator = Valley()
    path = minimum_energy_path(*ends(calculator), calculator, BandConfig(), name="valley")
    assert path.barrier == pytest.approx(HEIGHT, abs=1e-4)
    assert path.reverse == pytest.approx(HEIGHT, abs=1e-4)
    assert path.minima == 0
    assert path.span == path.barrier
    assert path.images[3].positions[0] == pytest.approx([PERIOD / 2.0, BEND, 0.0], abs=1e-2)
    assert not path.remarks


def test_a_band_tells_a_minimum_between_the_ends():
    calculator = Valley(dip=0.45)
    square = (HEIGHT / (4.0 * 0.45)) ** (1 / 3)  # of the sine, at the summits
    config = BandConfig(images=9)
    path = minimum_energy_path(*ends(calculator), calculator, config, name="valley")
    assert path.barrier == pytest.approx(HEIGHT * square - 0.45 * square**4, abs=1e-3)
    assert path.minima == 1


def test_a_band_below_its_ends_has_no_barrier_but_a_span():
    calculator = Valley(dip=2.0 * HEIGHT)
    config = BandConfig(images=1, rattle=0.01)
    path = minimum_energy_path(*ends(calculator), calculator, config, name="valley")
    assert path.barrier == pytest.approx(0.0, abs=1e-9)
    assert path.span == pytest.approx(HEIGHT, abs=1e-3)
    assert "it runs down to 0.5 eV below its first image" in path.remarks


def test_a_band_that_runs_out_of_steps_is_no_path():
    calculator = Valley()
    with pytest.raises(PropertyError, match="has not converged after 2 steps"):
        minimum_energy_path(*ends(calculator), calculator, BandConfig(steps=2), name="valley")


@pytest.mark.slow
def test_the_interstitial_of_the_zr_potential_glides_as_published(zr, zirconium):
    # Fan, Yip and Yildiz, J. Phys.: Condens. Matter 26, 365402 (2014), table 2: from BO to BC
    # 0.011 eV, and from BC over BO to BC 0.031 eV; in 2700 atoms.
    config = InterstitialMigrationConfig(
        crystal=zirconium, repeat=(6, 4, 4), jumps=["BO_BS_BO"], band={"images": 5, "fmax": 0.02}
    )
    result = interstitial_migration(zr, config)
    assert tuple(result.values) == config.value_names
    found = numbers(result)
    assert found["BO_BS_BO"] == pytest.approx(0.011, abs=0.012)
    assert found["BO_BS_BO_span"] == pytest.approx(0.031, abs=0.01)
    assert "below its first image" in result.warnings[0]


def test_an_interstitial_moves_up_a_column_by_half_a_cell(zr, zirconium):
    config = InterstitialMigrationConfig(
        crystal=zirconium, jumps=["BO_O_BO"], repeat=(3, 2, 2), band={"images": 1, "fmax": 0.1}
    )
    result = interstitial_migration(zr, config)
    first, last = result.structures[0], result.structures[-1]
    assert first.get_potential_energy() == pytest.approx(last.get_potential_energy(), abs=1e-3)
    moved = last.positions[-1] - first.positions[-1]
    assert np.abs(moved[2]) == pytest.approx(first.cell[2, 2] / 4.0, rel=0.1)
    assert result.curves["BO_O_BO"].x[0] == 0.0


def test_a_jump_that_is_not_found_is_left_out(zr, zirconium):
    # After two steps forces of 0.089 (basal) and 0.063 eV/Å are left: no last digit decides which
    # is below the limit.
    band = BandConfig(steps=2, fmax=0.075)
    config = VacancyMigrationConfig(crystal=zirconium, repeat=(3, 2, 2), band=band)
    result = vacancy_migration(zr, config)
    assert "out_of_basal" in result.values
    assert "basal" not in result.values
    assert result.warnings[0].startswith("basal: the band has not converged after 2 steps")


@pytest.mark.slow
def test_a_hop_in_a_compound_is_that_of_the_element_where_there_is_one(emt, copper, tmp_path):
    ase.io.write(tmp_path / "cu.cif", bulk("Cu", "fcc", a=3.6, cubic=True))
    same = StructureFile.model_validate({"file": str(tmp_path / "cu.cif")})
    band = BandConfig(images=3, fmax=0.02)
    config = VacancyHopConfig(crystal=same, species="Cu", repeat=(2, 2, 2), band=band)
    result = vacancy_hop(emt, config)
    assert tuple(result.values) == config.value_names
    element = VacancyMigrationConfig(crystal=copper, repeat=(2, 2, 2), band=band)
    barrier = numbers(vacancy_migration(emt, element))["barrier"]
    assert numbers(result)["barrier"] == pytest.approx(barrier, abs=1e-3)
    assert numbers(result)["reverse"] == pytest.approx(barrier, abs=1e-3)


@pytest.fixture
def zirconia():
    return Prototype(formula="ZrO2", prototype="fluorite", a=5.15)


def test_oxygen_hops_along_an_edge_between_zirconium_that_is_held(flat, zirconia):
    config = VacancyHopConfig(
        crystal=zirconia,
        species="O",
        direction=(1, 0, 0),
        free={"element": "Zr", "nearest": 4},
        band={"rattle": 0.01},
    )
    result = vacancy_hop(flat, config)
    first, last = result.structures[0], result.structures[-1]
    assert (len(first), first.symbols.count("Zr")) == (95, 32)
    moved = np.linalg.norm(last.positions - first.positions, axis=1)
    assert sorted(moved)[-2:] == pytest.approx([0.0, 5.15 / 2.0])
    # Four zirconium atoms about either end, two of which are the same.
    held = first.constraints[0].index
    free = set(range(len(first))) - set(held.tolist())
    assert sorted(first.symbols[sorted(free)]) == ["O"] + ["Zr"] * 6
    for image in result.structures[1:-1]:
        assert np.allclose(image.positions[held], first.positions[held])


@pytest.mark.parametrize("direction", [(1, 0, 0), (-1, 0, 0)])
def test_a_hop_across_half_a_cell_goes_in_the_direction_asked_for(flat, zirconia, direction):
    config = VacancyHopConfig(
        crystal=zirconia, species="O", direction=direction, repeat=(1, 1, 1), band={"images": 1}
    )
    first, middle, last = vacancy_hop(flat, config).structures
    hopper = int(np.linalg.norm(last.positions - first.positions, axis=1).argmax())
    # The vacancy goes where it is asked to, the atom the other way.
    way = -np.array(direction) * 5.15
    assert last.positions[hopper] - first.positions[hopper] == pytest.approx(way / 2.0)
    assert middle.positions[hopper] - first.positions[hopper] == pytest.approx(way / 4.0)


def test_hops_that_make_no_sense_are_refused(zirconia, copper):
    with pytest.raises(ValidationError, match="vacancy_migration is for elements"):
        VacancyHopConfig(crystal=copper, species="Cu")
    with pytest.raises(ValidationError, match="is of O, Zr, not 'Y'"):
        VacancyHopConfig(crystal=zirconia, species="Y")
    with pytest.raises(ValidationError, match=r"there are 0 distances of O .* along \[1, 2, 3\]"):
        VacancyHopConfig(crystal=zirconia, species="O", direction=(1, 2, 3))
    with pytest.raises(ValidationError, match="has atoms 0 to 7 of O, not 8"):
        VacancyHopConfig(crystal=zirconia, species="O", site=8)
    with pytest.raises(ValidationError, match="interstitials jump in hcp, fcc, bcc here"):
        InterstitialMigrationConfig(crystal=Crystal(element="Si", lattice="diamond"))


def given_path(folder, *, labels=True):
    """Five images straight from minimum to minimum of the bent valley; energies 0.1 eV off."""
    images = []
    for index in range(5):
        atoms = Atoms("H", [(index * PERIOD / 4.0, 0.0, 0.0)], cell=[20.0] * 3, pbc=True)
        atoms.calc = Valley()
        image = snapshot(atoms, str(index))
        if labels:
            image.calc.results["energy"] += 7.0 + 0.1 * (index > 0)
        else:
            image.calc = None
        images.append(image)
    ase.io.write(folder / "path.xyz", images, format="extxyz")
    table = {"kind": "path_energies", "file": "path.xyz"}
    return validate(table, PathEnergiesConfig, "study.toml", folder)


def test_a_given_path_is_evaluated_as_it_is(tmp_path):
    config = given_path(tmp_path)
    result = path_energies(Valley(), config)
    assert tuple(result.values) == config.value_names
    found = numbers(result)
    # Straight through, where the valley is not.
    assert found["barrier"] == pytest.approx(HEIGHT + STIFFNESS / 2.0 * BEND**2)
    assert found["reverse"] == pytest.approx(found["barrier"])
    assert found["minima"] == 0
    assert found["barrier_difference"] == pytest.approx(-0.1)
    assert found["rms_difference"] == pytest.approx(0.1)
    assert result.curves["path"].x[-1] == pytest.approx(PERIOD)
    assert result.curves["given"].y == pytest.approx(
        result.curves["path"].y + 0.1 * np.array([0, 1, 1, 1, 1])
    )
    assert "file" not in result.settings
    bare = given_path(tmp_path, labels=False)
    assert tuple(path_energies(Valley(), bare).values) == ("barrier", "reverse", "minima")


def test_a_path_is_known_by_what_its_file_holds(tmp_path):
    config = given_path(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    assert given_path(tmp_path / "elsewhere").digest == config.digest
    assert given_path(tmp_path, labels=False).digest != config.digest
    with pytest.raises(PropertyError, match=r"path\.xyz has changed meanwhile"):
        path_energies(Valley(), config)


def test_files_that_hold_no_path_are_refused(tmp_path):
    def message(frames):
        ase.io.write(tmp_path / "path.xyz", frames, format="extxyz")
        with pytest.raises(ValidationError) as caught:
            PathEnergiesConfig(file=str(tmp_path / "path.xyz"))
        return str(caught.value)

    one, other = Atoms("H", cell=[5.0] * 3, pbc=True), Atoms("O", cell=[5.0] * 3, pbc=True)
    assert "holds 2 structures: a path has three images" in message([one, one])
    assert "image 2 has other atoms than image 0" in message([one, one, other])
    with pytest.raises(ValidationError, match="no such file"):
        PathEnergiesConfig(file=str(tmp_path / "nothing.xyz"))
