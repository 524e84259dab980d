"""What the ASE calculators of all potentials share: everything but the potential.

Neighbour lists that are kept while atoms move a little.
"""

from __future__ import annotations

import os
from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from ase.calculators.calculator import Calculator, PropertyNotImplementedError, all_changes
from ase.outputs import Properties, all_outputs

from pescape.calculators.doptimality.active_set import configuration_row, grades
from pescape.calculators.neighbors import neighbors, repeating_cell

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ase import Atoms
    from numpy.typing import ArrayLike, NDArray

    from pescape.calculators.doptimality.active_set import ActiveSet
    from pescape.calculators.neighbors import Neighbors

    Floats = NDArray[np.float64]


_GRADES = ("extrapolation_grades", "extrapolation_grade")


class Kernel(Protocol):
    """A compiled potential."""

    def evaluate(self, *arguments: Any) -> tuple[Floats, Floats, Floats]:  # noqa: ANN401
        """Give site energies, forces and site virials."""


class Potential(Protocol):
    """What a calculator asks of a potential."""

    @property
    def source(self) -> str:
        """The file it was read from."""

    @property
    def cutoff(self) -> float:
        """Å."""

    @property
    def active_set(self) -> ActiveSet | None:
        """What extrapolation grades are measured against."""

    def types_of(self, numbers: ArrayLike) -> NDArray[np.int32]:
        """Give the species of atomic numbers."""


class KernelCalculator(Calculator):
    """ASE calculator of a potential with a compiled kernel.

    Parameters
    ----------
    potential
        The potential.
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
        self, potential: Potential, *, threads: int | None = None, skin: float = 0.5
    ) -> None:
        super().__init__()
        self.potential: Any = potential
        self.threads = _default_threads() if threads is None else threads
        if not isinstance(self.threads, int) or self.threads < 1:
            raise ValueError(f"threads must be 1 or more, not {threads!r}")
        self._kernel = self._make_kernel()
        self._neighbors = SkinnedNeighbors(potential.cutoff, skin)
        self._numbers = b""
        self._types = np.zeros(0, dtype=np.int32)

    @abstractmethod
    def _make_kernel(self) -> Kernel:
        """Compile the potential."""

    @abstractmethod
    def _rows(self, arguments: tuple[Any, ...]) -> Floats:
        """Give dE_i/dtheta, (natoms, parameters), for the parameters of the active set."""

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
        rows = self._rows(arguments)
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

    def set(self, **settings: Any) -> dict[str, Any]:  # noqa: ANN401
        """Refuse to change settings, which belong to the compiled potential."""
        if settings:
            name = type(self).__name__
            raise TypeError(f"settings of {name} are fixed ({', '.join(settings)}): make a new one")
        return {}

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the compiled kernel, which is made again."""
        return {k: v for k, v in self.__dict__.items() if k != "_kernel"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._kernel = self._make_kernel()


def _default_threads() -> int:
    count = os.environ.get("OMP_NUM_THREADS", "1").split(",")[0]
    return max(int(count), 1) if count.isdecimal() else 1


@dataclass(frozen=True, eq=False)
class _Built:
    """For what a list was built."""

    positions: Floats
    cell: Floats
    periodic: bytes


class SkinnedNeighbors:
    """Finds all pairs within a cut-off, with a list that reaches a skin further.

    The list is built anew only when an atom pair may have come within the cut-off unseen. To
    tell, the change since it was built is split into a homogeneous deformation F, of the cell,
    and what every atom moved besides, u: a pair that was further away than cutoff + skin still
    is at least at σ_min(F) (cutoff + skin) - 2 max|u|.

    Parameters
    ----------
    cutoff, skin
        Å.
    """

    def __init__(self, cutoff: float, skin: float) -> None:
        if not 0 <= skin < np.inf:
            raise ValueError(f"skin must be 0 Å or more, not {skin}")
        self.cutoff = cutoff
        self.skin = skin
        self._built: _Built | None = None
        self._cell = b""
        self._list: Neighbors | None = None

    def update(self, atoms: Atoms) -> Neighbors:
        """Return lists of all neighbours within the cut-off, and some beyond it."""
        cell = atoms.cell.array
        if self._cell != cell.tobytes() and not np.isfinite(cell).all():
            raise ValueError(f"the cell is not finite: {cell.tolist()}")
        if self._list is None or self._built is None or not self._still_holds(atoms, cell):
            self._list = neighbors(atoms, self.cutoff + self.skin)
            self._built = _Built(atoms.positions.copy(), cell.copy(), atoms.pbc.tobytes())
            self._cell = cell.tobytes()
        elif self._cell != cell.tobytes():
            self._list = self._list.in_cell(repeating_cell(atoms, cell))
            self._cell = cell.tobytes()
        return self._list

    def _still_holds(self, atoms: Atoms, cell: Floats) -> bool:
        built = self._built
        positions = atoms.positions
        if (
            built is None
            or positions.shape != built.positions.shape
            or atoms.pbc.tobytes() != built.periodic
        ):
            return False
        reference, shrink = built.positions, 1.0
        if cell.tobytes() != built.cell.tobytes():
            old, new = repeating_cell(atoms, built.cell), repeating_cell(atoms, cell)
            deformation = np.linalg.solve(old, new)
            reference = reference @ deformation
            shrink = np.linalg.svd(deformation, compute_uv=False)[-1]
        moved = positions - reference
        farthest = np.sqrt(np.einsum("ij,ij->i", moved, moved).max(initial=0.0))
        return bool(shrink * (self.cutoff + self.skin) - 2.0 * farthest >= self.cutoff)
