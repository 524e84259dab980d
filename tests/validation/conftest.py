import pytest
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.emt import EMT
from ase.calculators.morse import MorsePotential

from pescape.labelling import reference_from
from pescape.validation.crystals import Crystal

# Depth (eV) and curvature of a pair potential that nearest neighbours alone feel: its length
# is theirs in a fcc crystal of a = 4 Å.
DEPTH, STEEPNESS, LENGTH = 0.7, 5.0, 4.0 / 2**0.5


@pytest.fixture(scope="session")
def zr():
    """The EAM of Mendelev and Ackland (2007)."""
    return reference_from("eam:Zr_mm.eam.fs").calculator()


@pytest.fixture
def springs():
    """Nearest neighbours bound by a Morse potential."""
    return MorsePotential(epsilon=DEPTH, rho0=STEEPNESS, r0=LENGTH, rcut1=1.15, rcut2=1.3)


@pytest.fixture
def emt():
    return EMT()


@pytest.fixture
def copper():
    return Crystal(element="Cu", lattice="fcc")


@pytest.fixture
def zirconium():
    return Crystal(element="Zr", lattice="hcp")


class Flat(Calculator):
    """All structures have the same energy."""

    implemented_properties = ["energy", "free_energy", "forces", "stress"]  # noqa: RUF012

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        zero = 0.0 * self.atoms.positions
        self.results = {
            "energy": 0.0,
            "free_energy": 0.0,
            "forces": zero,
            "stress": zero[0, [0] * 6],
        }


@pytest.fixture
def flat():
    return Flat()
