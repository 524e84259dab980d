"""The ASE calculator of moment tensor potentials."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np
from ase.calculators.calculator import Calculator, PropertyNotImplementedError, all_changes
from ase.outputs import Properties, all_outputs

from pescape.calculators.activeset import configuration_row, grades
from pescape.calculators.mtp.potential import MTPotential
from pescape.calculators.skin import SkinnedNeighbors

if TYPE_CHECKING:
    from collections.abc import Sequence
    from os import PathLike

    from ase import Atoms
    from numpy.typing import NDArray

    from pescape.calculators.activeset import ActiveSet

    Floats = NDArray[np.float64]

_GRADES = ("extrapolation_grades", "extrapolation_grade")


class MTP(Calculator):
    """Energies, forces, stresses and extrapolation grades of a moment tensor potential.

    Besides ASE's properties there are, if the file has an active set,
    ``get_property("extrapolation_grades", atoms)``, one grade per atom (neighbourhood mode), and
    ``get_property("extrapolation_grade", atoms)``, that of the configuration: the largest of its
    atoms' in neighbourhood mode.

    Parameters
    ----------
    potential
        An ``.mtp`` or ``.almtp`` file, or an ``MTPotential``.
    species
        Element of species 0, 1, ...; needed when the file does not name them.
    precision
        "double" or "single": what the kernel computes in.
    threads
        OpenMP threads; by default OMP_NUM_THREADS, or one.
    skin
        Å; how much further than the cut-off neighbour lists reach, so that they last.
    """

    implemented_properties = [  # noqa: RUF012 - so ASE declares it
        "energy",
        "free_energy",
        "energies",
        "forces",
        "stress",
        "stresses",
        *_GRADES,
    ]
    ignored_changes = {"initial_charges", "initial_magmoms"}  # noqa: RUF012

    def __init__(
        self,
        potential: str | PathLike[str] | MTPotential,
        species: Sequence[str] | None = None,
        *,
        precision: str = "double",
        threads: int | None = None,
        skin: float = 0.5,
    ) -> None:
        super().__init__()
        if not isinstance(potential, MTPotential):
            potential = MTPotential.read(potential)
        if species is not None:
            potential = potential.with_species(species)
        if not potential.species:
            raise ValueError(
                f"{potential.source or 'the potential'} does not say which elements it is for: "
                f"name its {potential.species_count} species, as in "
                f"MTP(..., species={['Zr', 'O', 'H', 'C'][: potential.species_count]})"
            )
        self.potential = potential
        self.precision = precision
        self.threads = _default_threads() if threads is None else threads
        if not isinstance(self.threads, int) or self.threads < 1:
            raise ValueError(f"threads must be 1 or more, not {threads!r}")
        self._kernel = potential.kernel(precision)
        self._neighbors = SkinnedNeighbors(potential.cutoff, skin)
        self._numbers = b""
        self._types = np.zeros(0, dtype=np.int32)

    def check_state(self, atoms: Atoms, tol: float = 1e-15) -> list[str]:  # noqa: ARG002
        """List what changed since the last calculation."""
        last = self.atoms
        if last is None:
            return list(all_changes)
        now = {
            "positions": (last.positions, atoms.positions),
            "numbers": (last.numbers, atoms.numbers),
            "cell": (last.cell.array, atoms.cell.array),
            "pbc": (last.pbc, atoms.pbc),
        }
        return [name for name, (a, b) in now.items() if a.tobytes() != b.tobytes()]

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = tuple(all_changes),
    ) -> None:
        """Compute all ASE properties at once, and grades when they are asked for."""
        if atoms is not None:
            self.atoms = atoms.copy()
        if system_changes:
            self.results = {}
        if self.atoms is None:
            raise ValueError("the calculator has no atoms to calculate")
        arguments = self._arguments(self.atoms)
        if "energy" not in self.results:
            self._evaluate(self.atoms, arguments)
        if any(name in _GRADES for name in properties):
            self._grade(arguments)

    def _arguments(self, atoms: Atoms) -> tuple[Any, ...]:
        """Give what all functions of the kernel take."""
        positions = atoms.positions
        if not np.isfinite(positions).all():
            atom = int(np.flatnonzero(~np.isfinite(positions).all(axis=1))[0])
            raise ValueError(f"the position of atom {atom} is not finite: {positions[atom]}")
        numbers = atoms.numbers.tobytes()
        if numbers != self._numbers:
            self._types = self.potential.types_of(atoms.numbers)
            self._numbers = numbers
        listed = self._neighbors.update(atoms)
        return (np.ascontiguousarray(positions), self._types, *listed.arrays, self.threads)

    def _evaluate(self, atoms: Atoms, arguments: tuple[Any, ...]) -> None:
        energies, forces, virials = self._kernel.evaluate(*arguments)
        energy = float(energies.sum())
        if not np.isfinite(energy) or not np.isfinite(forces).all():
            wrong = ~(np.isfinite(energies) & np.isfinite(forces).all(axis=1))
            raise ValueError(
                f"the energy or force of atom {int(np.argmax(wrong))} is not finite: are atoms on "
                "top of each other? The potential cannot describe that"
            )
        results = {
            "energy": energy,
            "free_energy": energy,
            "energies": energies,
            "forces": forces,
        }
        volume = abs(np.linalg.det(atoms.cell.array))
        if volume > 0.0:
            stresses = virials / -volume
            results |= {"stress": stresses.sum(axis=0), "stresses": stresses}
        self.results |= results

    def _grade(self, arguments: tuple[Any, ...]) -> None:
        active_set = self._active_set()
        # Grades need all digits of their rows: inverses of active sets are ill-conditioned.
        rows = self.potential.kernel("double").site_gradients(*arguments)
        if active_set.mode == "neighborhood":
            per_atom = grades(rows, active_set, threads=self.threads)
            self.results["extrapolation_grades"] = per_atom
            self.results["extrapolation_grade"] = float(per_atom.max(initial=0.0))
        else:
            row = configuration_row(rows, active_set.weight_scaling)
            self.results["extrapolation_grade"] = float(grades(row[None], active_set)[0])

    def _active_set(self) -> ActiveSet:
        if self.potential.active_set is None:
            raise PropertyNotImplementedError(
                f"{self.potential.source or 'the potential'} has no active set to measure "
                "extrapolation grades against; `pescape fit` and `pescape select` make one"
            )
        return self.potential.active_set

    def get_property(
        self, name: str, atoms: Atoms | None = None, allow_calculation: bool = True
    ) -> Any:  # noqa: ANN401
        """Return a property, calculating it if need be and allowed.

        Raises
        ------
        PropertyNotImplementedError
            With the reason, for a stress without a volume and for grades without an active set.
        """
        try:
            return super().get_property(name, atoms, allow_calculation)
        except PropertyNotImplementedError:
            if self.results and name in ("stress", "stresses"):
                raise PropertyNotImplementedError(f"no {name}: the cell has no volume") from None
            if self.results and name == "extrapolation_grades" and self._active_set():
                raise PropertyNotImplementedError(
                    "no extrapolation_grades: the active set is of whole configurations; "
                    "'extrapolation_grade' is what it gives"
                ) from None
            raise

    def export_properties(self) -> Properties:
        """Return ASE's own properties; it knows no grades."""
        return Properties({k: v for k, v in self.results.items() if k in all_outputs})

    def todict(self, skip_default: bool = True) -> dict[str, Any]:
        """Say how to make this calculator again."""
        settings = {
            "potential": self.potential.source,
            "species": list(self.potential.species),
            "precision": self.precision,
            "skin": self._neighbors.skin,
        }
        defaults = {"precision": "double", "skin": 0.5}
        return {k: v for k, v in settings.items() if not (skip_default and defaults.get(k) == v)}

    def set(self, **settings: Any) -> dict[str, Any]:  # noqa: ANN401
        """Refuse to change settings, which belong to the compiled potential."""
        if settings:
            raise TypeError(f"settings of MTP are fixed ({', '.join(settings)}): make a new one")
        return {}

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the compiled kernel, which is made again."""
        return {k: v for k, v in self.__dict__.items() if k != "_kernel"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._kernel = self.potential.kernel(self.precision)


def _default_threads() -> int:
    count = os.environ.get("OMP_NUM_THREADS", "1").split(",")[0]
    return max(int(count), 1) if count.isdecimal() else 1
