"""ASE's thermostats, with temperatures that change and with degrees of freedom counted right."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from ase import Atoms, units
from ase.constraints import FixAtoms, FixCartesian, FixCom, FixedLine, FixedPlane
from ase.md.langevin import Langevin
from ase.md.nose_hoover_chain import NoseHooverChainThermostat

if TYPE_CHECKING:
    from collections.abc import Callable

    Forces = Callable[[np.ndarray], np.ndarray]


# Constraints that leave out the same Cartesian directions of an atom wherever it is.
_LINEAR = (FixAtoms, FixCartesian, FixedLine, FixedPlane)


@dataclass(frozen=True, eq=False)
class Motion:
    """A point of phase space, with the forces there.

    Attributes
    ----------
    positions
        Positions, (natoms, 3), Å.
    momenta
        Momenta, (natoms, 3), in ASE's units.
    forces
        Forces, (natoms, 3), eV/Å.
    """

    positions: np.ndarray
    momenta: np.ndarray
    forces: np.ndarray


class FreeMotion:
    """The motions that constraints leave free, in the metric of the masses.

    Parameters
    ----------
    atoms
        The atoms, with their constraints.
    remove_translation
        Leave out the motion of the center of mass. None: where there are two atoms or more and
        no constraint but `FixCom`.

    Attributes
    ----------
    masses
        Masses, (natoms, 1), in ASE's units.
    curved
        The constraints that no fixed directions describe, for instance bond lengths.
    degrees
        Number of degrees of freedom.
    """

    def __init__(self, atoms: Atoms, *, remove_translation: bool | None = None) -> None:
        self._atoms = atoms
        self.masses = atoms.get_masses()[:, None]
        if not (self.masses > 0).all():
            raise ValueError(
                f"atom {int(np.argmin(self.masses))} has no mass: MD needs a positive one for each"
            )
        whole, self._linear, self.curved = [], [], []
        for constraint in atoms.constraints:
            if type(constraint) is FixCom:
                whole.append(constraint)
            elif isinstance(constraint, _LINEAR):
                self._linear.append(constraint)
            elif not hasattr(constraint, "adjust_potential_energy"):
                self.curved.append(constraint)
        if remove_translation is None:
            remove_translation = len(atoms) > 1 and len(atoms.constraints) == len(whole)
        self._remove_translation = remove_translation or bool(whole)
        self.degrees = self._count()
        if self.degrees < 1:
            raise ValueError("the constraints leave no motion: free at least one atom")

    def _count(self) -> int:
        count = 0.0
        for axis in range(3):
            along = np.zeros((len(self._atoms), 3))
            along[:, axis] = 1.0
            for constraint in self._linear:
                constraint.adjust_forces(self._atoms, along)
            count += float(along[:, axis].sum())
        count -= sum(c.get_removed_dof(self._atoms) for c in self.curved)
        return round(count) - 3 * self._remove_translation

    def project(self, vectors: np.ndarray) -> np.ndarray:
        """Return the free part of momenta or forces.

        Parameters
        ----------
        vectors
            Momenta or forces, (natoms, 3).
        """
        free = np.array(vectors, dtype=float)
        for constraint in self._linear:
            constraint.adjust_forces(self._atoms, free)
        if self._remove_translation:
            free -= self.masses * (free.sum(axis=0) / self.masses.sum())
        return free

    def kinetic_energy(self, momenta: np.ndarray) -> float:
        """Return the kinetic energy, eV.

        Parameters
        ----------
        momenta
            Momenta, (natoms, 3), in ASE's units.
        """
        return 0.5 * float((momenta * momenta / self.masses).sum())

    def temperature(self, momenta: np.ndarray) -> float:
        """Return the temperature, K.

        Parameters
        ----------
        momenta
            Momenta, (natoms, 3), in ASE's units.
        """
        return 2 * self.kinetic_energy(momenta) / (self.degrees * units.kB)

    def thermal(self, temperature: float, rng: np.random.Generator) -> np.ndarray:
        """Return momenta of the Maxwell-Boltzmann distribution, (natoms, 3).

        Parameters
        ----------
        temperature
            Temperature, K.
        rng
            Source of the random numbers.
        """
        spread = np.sqrt(self.masses * units.kB * temperature)
        return self.project(spread * rng.standard_normal((len(self.masses), 3)))


class Thermostat(ABC):
    """Makes steps at a temperature, with one look at the forces in each."""

    @abstractmethod
    def step(self, motion: Motion, temperature: float, forces: Forces) -> np.ndarray:
        """Make a step; nothing has changed where `forces` raises.

        Parameters
        ----------
        motion
            Where it begins.
        temperature
            Temperature to have, K.
        forces
            Called once, with the new positions, for the forces there.

        Returns
        -------
        np.ndarray
            The new momenta, (natoms, 3).
        """

    def energy(self) -> float:
        """Return its part of the energy that is conserved at constant temperature, eV.

        Not a number where nothing is conserved.
        """
        return float("nan")

    def state(self) -> dict[str, np.ndarray]:
        """Return what a continued run needs, beside the state of the random numbers."""
        return {}

    def resume(self, state: dict[str, np.ndarray]) -> None:  # noqa: B027 -- most have no state
        """Go on from a checkpoint.

        Parameters
        ----------
        state
            What `state` gave.
        """


class NoseHooverChain(Thermostat):
    """Velocity Verlet between half steps of ASE's Nosé-Hoover chain.

    ASE's own `NoseHooverChainNVT` counts three degrees of freedom for every atom, whatever is
    fixed, and knows one temperature. Here the chain is told how many there are; its masses follow
    the temperature, and its momenta with them, so that they stay distributed as they should.

    The chain's coordinates and momenta are read and set as private attributes of ASE's
    `NoseHooverChainThermostat`. ASE has no public way to change the temperature of a chain, or to
    take up its state from a file; both `NoseHooverChainNVT` and this class would start the chain
    anew in every step of a ramp, which thermostats nothing. A public setter would end this.

    Parameters
    ----------
    free
        The motions to thermostat.
    timestep, damping
        Time step and characteristic time of the chain, in ASE's units.
    """

    def __init__(self, free: FreeMotion, timestep: float, damping: float) -> None:
        if free.curved:
            name = type(free.curved[0]).__name__
            raise ValueError(
                f"thermostat 'nose-hoover' cannot keep the constraint {name}: "
                "take thermostat='langevin'"
            )
        self._free, self._timestep, self._damping = free, timestep, damping
        self._temperature = 1.0
        self._eta, self._eta_momenta = np.zeros(3), np.zeros(3)

    def _chain(self, temperature: float) -> NoseHooverChainThermostat:
        """Return ASE's chain at a temperature, K, with the present state."""
        chain = NoseHooverChainThermostat(
            num_atoms_global=self._free.degrees / 3,  # type: ignore[arg-type]  # only multiplied
            masses=self._free.masses,
            temperature_K=temperature,
            tdamp=self._damping,
            tchain=len(self._eta),
        )
        chain._eta = self._eta.copy()  # noqa: SLF001 -- see above
        # masses and spreads of the chain's momenta are both proportional to the temperature
        chain._p_eta = self._eta_momenta * (temperature / self._temperature)  # noqa: SLF001
        return chain

    def step(self, motion: Motion, temperature: float, forces: Forces) -> np.ndarray:  # noqa: D102
        chain, half = self._chain(temperature), 0.5 * self._timestep
        momenta = chain.integrate_nhc(motion.momenta.copy(), half)
        momenta += half * motion.forces
        positions = motion.positions + self._timestep * momenta / self._free.masses
        momenta += half * forces(positions)
        momenta = chain.integrate_nhc(momenta, half)
        self._temperature = temperature
        self._eta, self._eta_momenta = chain._eta, chain._p_eta  # noqa: SLF001
        return momenta

    def energy(self) -> float:  # noqa: D102
        return float(self._chain(self._temperature).get_thermostat_energy())

    def state(self) -> dict[str, np.ndarray]:  # noqa: D102
        return {
            "chain": np.array([self._eta, self._eta_momenta]),
            "chain_temperature": np.array(self._temperature),
        }

    def resume(self, state: dict[str, np.ndarray]) -> None:  # noqa: D102
        self._eta, self._eta_momenta = state["chain"]
        self._temperature = float(state["chain_temperature"])


class LangevinBath(Thermostat):
    """ASE's Langevin dynamics, with noise that leaves the center of mass and fixed atoms alone.

    Parameters
    ----------
    free
        The motions to thermostat.
    atoms
        The atoms.
    timestep, friction
        Time step and friction coefficient, in ASE's units.
    rng
        Source of the noise.
    """

    def __init__(
        self,
        free: FreeMotion,
        atoms: Atoms,
        timestep: float,
        friction: float,
        rng: np.random.Generator,
    ) -> None:
        self._rng, self._free = rng, free
        # a copy that moves, under those constraints only that projections do not take care of
        self._copy = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
        self._copy.set_masses(free.masses[:, 0])
        self._copy.set_constraint(free.curved)
        known = inspect.signature(Langevin).parameters  # newer versions are to have no fixcm
        self._dynamics = Langevin(
            self._copy,
            timestep,
            temperature_K=1.0,
            friction=friction,
            rng=_FreeNoise(free, rng),
            **({"fixcm": False} if "fixcm" in known else {}),
        )

    def step(self, motion: Motion, temperature: float, forces: Forces) -> np.ndarray:  # noqa: D102
        self._copy.set_positions(motion.positions, apply_constraint=False)
        self._copy.set_momenta(motion.momenta, apply_constraint=False)
        self._copy.calc = _Forces(motion, forces)
        self._dynamics.set_temperature(temperature_K=temperature)
        before = self._rng.bit_generator.state
        try:
            self._dynamics.step()
        except BaseException:
            self._rng.bit_generator.state = before
            raise
        return self._copy.get_momenta()


class _Forces:
    """A calculator with the forces of a step's beginning, which asks for those of its end."""

    def __init__(self, motion: Motion, forces: Forces) -> None:
        self._motion, self._forces = motion, forces

    def get_forces(self, atoms: Atoms) -> np.ndarray:
        """Return the forces, (natoms, 3), eV/Å.

        Parameters
        ----------
        atoms
            The atoms at the beginning or the end of the step.
        """
        if np.array_equal(atoms.positions, self._motion.positions):
            return self._motion.forces.copy()
        return self._forces(atoms.get_positions()).copy()


class _FreeNoise:
    """Normally distributed kicks in the free directions only.

    Langevin's kicks of momenta are proportional to the roots of the masses; the projection is
    orthogonal there, so what is left is distributed as it should be in the free directions.
    """

    def __init__(self, free: FreeMotion, rng: np.random.Generator) -> None:
        self._free, self._rng = free, rng
        self._root = np.sqrt(free.masses)

    def standard_normal(self, size: tuple[int, int]) -> np.ndarray:
        """Return random numbers, (natoms, 3).

        Parameters
        ----------
        size
            Their shape.
        """
        kicks: np.ndarray = self._free.project(self._root * self._rng.standard_normal(size))
        return kicks / self._root
