"""ASE calculators of potentials of any kind.

Neighbor lists last while atoms move a little.
"""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from ase.calculators.calculator import Calculator, PropertyNotImplementedError, all_changes
from ase.outputs import Properties, all_outputs

from pescape.calculators.bpnn.descriptors import out_of_range, range_excess
from pescape.calculators.bpnn.potential import BPNNPotential
from pescape.calculators.committee.files import errors_beside, read_errors
from pescape.calculators.committee.model import ErrorModel, ErrorPredictor
from pescape.calculators.doptimality.active_set import grades
from pescape.calculators.doptimality.design_matrix import configuration_row
from pescape.calculators.mtp.potential import MTPotential
from pescape.calculators.neighbors import neighbors, repeating_cell

if TYPE_CHECKING:
    from collections.abc import Sequence
    from os import PathLike

    from ase import Atoms
    from numpy.typing import NDArray

    from pescape.calculators.bpnn.descriptors import OutOfRange
    from pescape.calculators.doptimality.active_set import ActiveSet
    from pescape.calculators.neighbors import Neighbors
    from pescape.calculators.potential import Kernel, Potential

    Floats = NDArray[np.float64]


# Of the arguments of calculators.
_DEFAULTS = {"precision": "double", "length_unit": None, "energy_unit": None, "skin": 0.5}
_GRADES = ("extrapolation_grades", "extrapolation_grade")
_ERRORS = ("force_errors", "energy_error")


class PotentialCalculator(Calculator):
    """Energies, forces, stresses, grades and predicted errors of a potential of any kind.

    Besides ASE's properties there are, if the potential has an active set,
    ``get_property("extrapolation_grades", atoms)``, one grade per atom (neighborhood mode), and
    ``get_property("extrapolation_grade", atoms)``, that of the configuration: the largest of its
    atoms' in neighborhood mode.

    If it has a committee, as fits write it beside the potential, there are
    ``get_property("force_errors", atoms)``, eV/Å, shape (natoms,), and
    ``get_property("energy_error", atoms)``, eV: 90 % of the errors are below these, for atoms and
    configurations as in the data of the fit. Elsewhere larger values tell where larger errors
    are, without that promise.

    Parameters
    ----------
    potential
        The potential, such as `pescape.calculators.potential.load` reads.
    errors
        Its committee, or the file with it; by default the one beside the potential's file.
    threads
        OpenMP threads; by default OMP_NUM_THREADS, or one.
    skin
        Å; how much further than the cut-off neighbor lists reach, so that they last.
    """

    implemented_properties = [  # noqa: RUF012 - so ASE declares it
        "energy",
        "free_energy",
        "energies",
        "forces",
        "stress",
        "stresses",
        *_GRADES,
        *_ERRORS,
    ]
    ignored_changes = {"initial_charges", "initial_magmoms"}  # noqa: RUF012

    def __init__(
        self,
        potential: Potential,
        *,
        errors: str | PathLike[str] | ErrorModel | None = None,
        threads: int | None = None,
        skin: float = 0.5,
    ) -> None:
        super().__init__()
        if not potential.species:
            count = potential.species_count
            raise ValueError(
                f"{potential.source or 'the potential'} does not say which elements it is for: "
                f"name its {count} species, as in "
                f"{potential.kind.upper()}(..., species={['Zr', 'O', 'H', 'C'][:count]})"
            )
        self.potential = potential
        self.threads = _default_threads() if threads is None else threads
        if not isinstance(self.threads, int) or self.threads < 1:
            raise ValueError(f"threads must be 1 or more, not {threads!r}")
        self._kernel = self._make_kernel()
        self._errors = errors
        self._predictor: ErrorPredictor | None = None
        self._neighbors = SkinnedNeighbors(potential.cutoff, skin)
        self._numbers = b""
        self._types = np.zeros(0, dtype=np.int32)
        self._watched = potential.nearest  # until it has been said

    @property
    def name(self) -> str:
        """What files of ASE call the calculator."""
        return self.potential.kind

    def _make_kernel(self) -> Kernel:
        return self.potential.kernel()

    def check_state(self, atoms: Atoms, tol: float = 1e-15) -> list[str]:  # noqa: ARG002
        """List what changed since the last calculation.

        Parameters
        ----------
        atoms
            Compared bit by bit with those of the last calculation.
        tol
            Of no meaning here.
        """
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
        """Compute all ASE properties at once, grades and errors when they are asked for.

        Parameters
        ----------
        atoms
            By default those of the last calculation.
        properties
            Grades and errors are computed only if they are among these.
        system_changes
            If there are none, results are kept.
        """
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
        if any(name in _ERRORS for name in properties):
            self._predict_errors(arguments)

    def _arguments(self, atoms: Atoms) -> tuple[Any, ...]:
        """Return what all functions of the kernel take."""
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
        if self._watched is not None:
            self._warn_if_nearer(arguments)
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

    def _warn_if_nearer(self, arguments: tuple[Any, ...]) -> None:
        """Warn once of a pair nearer than any of the training data."""
        from pescape._kernels import pair_nearer_than

        found = pair_nearer_than(*arguments[:-1], self._watched)
        if found is None:
            return
        self._watched = None
        first, second, distance, limit = found
        names = "-".join(self.potential.species[self._types[atom]] for atom in (first, second))
        warnings.warn(
            f"atoms {first} and {second} ({names}) are {distance:.3f} Å apart, nearer than any of "
            f"the training data ({limit:.3f} Å): a wall acts there, nothing that was fitted "
            "(said once)",
            stacklevel=2,
        )

    def _grade(self, arguments: tuple[Any, ...]) -> None:
        active_set = self._active_set()
        rows = self.potential.site_gradients(*arguments)
        if active_set.mode == "neighborhood":
            per_atom = grades(rows, active_set, threads=self.threads)
            self.results["extrapolation_grades"] = per_atom
            self.results["extrapolation_grade"] = float(per_atom.max(initial=0.0))
        else:
            row = configuration_row(rows, active_set.weight_scaling)
            self.results["extrapolation_grade"] = float(grades(row[None], active_set)[0])

    def _predict_errors(self, arguments: tuple[Any, ...]) -> None:
        own = self.results["energies"], self.results["forces"]
        found = self._error_predictor().predict(arguments, own)
        self.results["force_errors"] = found.forces
        self.results["energy_error"] = float(found.energies[0])

    def _error_predictor(self) -> ErrorPredictor:
        if self._predictor is None:
            given = self._errors
            if given is None:
                model = errors_beside(self.potential)
            else:
                model = given if isinstance(given, ErrorModel) else read_errors(given)
            if model is None:
                raise PropertyNotImplementedError(
                    f"{self.potential.source or 'the potential'} has no committee to predict "
                    "errors with; `pescape fit` makes one"
                )
            self._predictor = ErrorPredictor(model, self.potential)
        return self._predictor

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

        Parameters
        ----------
        name
            One of ``implemented_properties``.
        atoms
            By default those of the last calculation.
        allow_calculation
            False: None is returned for what is not known yet.

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
        """Return ASE's own properties; it knows no grades and no errors."""
        return Properties({k: v for k, v in self.results.items() if k in all_outputs})

    def set(self, **settings: Any) -> dict[str, Any]:  # noqa: ANN401
        """Refuse to change settings, which belong to the compiled potential."""
        if settings:
            name = type(self).__name__
            raise TypeError(f"settings of {name} are fixed ({', '.join(settings)}): make a new one")
        return {}

    def todict(self, skip_default: bool = True) -> dict[str, Any]:
        """Return the arguments that make this calculator again.

        Parameters
        ----------
        skip_default
            Leave out those that have their default value.
        """
        settings = {
            "potential": self.potential.source,
            **self._settings(),
            "skin": self._neighbors.skin,
        }
        return {k: v for k, v in settings.items() if not (skip_default and _DEFAULTS.get(k) == v)}

    def _settings(self) -> dict[str, Any]:
        """Return the arguments that only this kind of calculator has."""
        return {}

    def __getstate__(self) -> dict[str, Any]:
        """Leave out compiled kernels, which are made again."""
        return {k: v for k, v in self.__dict__.items() if k not in ("_kernel", "_predictor")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._kernel = self._make_kernel()
        self._predictor = None


class MTP(PotentialCalculator):
    """Energies, forces, stresses, grades and predicted errors of a moment tensor potential.

    Grades and errors are had as from `PotentialCalculator`.

    Parameters
    ----------
    potential
        An ``.mtp`` or ``.almtp`` file, or an ``MTPotential``.
    species
        Element of species 0, 1, ...; needed when the file does not name them.
    precision
        "double" or "single": what the kernel computes in.
    errors
        See `PotentialCalculator`.
    threads
        OpenMP threads; by default OMP_NUM_THREADS, or one.
    skin
        Å; how much further than the cut-off neighbor lists reach, so that they last.
    """

    potential: MTPotential

    def __init__(
        self,
        potential: str | PathLike[str] | MTPotential,
        species: Sequence[str] | None = None,
        *,
        precision: str = "double",
        errors: str | PathLike[str] | ErrorModel | None = None,
        threads: int | None = None,
        skin: float = 0.5,
    ) -> None:
        if not isinstance(potential, MTPotential):
            potential = MTPotential.read(potential)
        self.precision = precision
        potential = potential if species is None else potential.with_species(species)
        super().__init__(potential, errors=errors, threads=threads, skin=skin)

    def _make_kernel(self) -> Kernel:
        return self.potential.kernel(self.precision)

    def _settings(self) -> dict[str, Any]:
        return {"species": list(self.potential.species), "precision": self.precision}


class BPNN(PotentialCalculator):
    """Energies, forces, stresses, grades and predicted errors of a Behler-Parrinello network.

    Grades and errors are had as from `PotentialCalculator`. ``get_property("range_excess", atoms)``
    tells how far each atom's symmetry functions are beyond the ranges of the training data, in
    widths of a range, where these are known.

    Parameters
    ----------
    potential
        Our own file, Amp's ``.amp``, an n2p2 or RuNNer folder, SIMPLE-NN's ``potential_saved``, or
        a ``BPNNPotential``.
    length_unit, energy_unit
        What an n2p2 or RuNNer folder is in: "Bohr" or "Angstrom", "Hartree" or "eV"; or
        the units' values in Å and eV.
    errors
        See `PotentialCalculator`.
    threads
        OpenMP threads; by default OMP_NUM_THREADS, or one.
    skin
        Å; how much further than the cut-off neighbor lists reach, so that they last.
    """

    potential: BPNNPotential
    implemented_properties = [*PotentialCalculator.implemented_properties, "range_excess"]  # noqa: RUF012

    def __init__(
        self,
        potential: str | PathLike[str] | BPNNPotential,
        *,
        length_unit: str | float | None = None,
        energy_unit: str | float | None = None,
        errors: str | PathLike[str] | ErrorModel | None = None,
        threads: int | None = None,
        skin: float = 0.5,
    ) -> None:
        self._units = {"length_unit": length_unit, "energy_unit": energy_unit}
        if not isinstance(potential, BPNNPotential):
            potential = BPNNPotential.read(
                potential, length_unit=length_unit, energy_unit=energy_unit
            )
        super().__init__(potential, errors=errors, threads=threads, skin=skin)

    def _settings(self) -> dict[str, Any]:
        return self._units

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = tuple(all_changes),
    ) -> None:
        """Compute as `PotentialCalculator` does, and the excess over ranges when it is asked for.

        Parameters
        ----------
        atoms, properties, system_changes
            As for `PotentialCalculator.calculate`.
        """
        super().calculate(atoms, properties, system_changes)
        if "range_excess" in properties and self.atoms is not None:
            try:
                excess = range_excess(self.potential, self.atoms, threads=self.threads)
            except ValueError as error:
                raise PropertyNotImplementedError(str(error)) from None
            self.results["range_excess"] = excess

    def out_of_range(self, atoms: Atoms, *, tolerance: float = 0.0) -> list[OutOfRange]:
        """List symmetry functions that the training data did not reach.

        Parameters
        ----------
        atoms
            The configuration.
        tolerance
            See `pescape.calculators.bpnn.descriptors.out_of_range`.
        """
        return out_of_range(self.potential, atoms, tolerance=tolerance, threads=self.threads)


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
        """Return lists of all neighbors within the cut-off, and some beyond it.

        Parameters
        ----------
        atoms
            The configuration.
        """
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
