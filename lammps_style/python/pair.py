"""``pair_style python`` as a many-body potential, in any LAMMPS with the PYTHON package.

LAMMPS calls its Python pair styles pairwise-only: it asks ``compute_force`` for every pair of
its list. But on every rank, before anything else in a force computation, it looks that
attribute up. Here the look-up is the force computation: forces of all atoms, owned and ghost,
are added to LAMMPS' own array, which LAMMPS then communicates and takes the virial from. The
pair list, with a tiny cut-off, is empty. The energy enters thermodynamics through a
``fix external`` that `pescape` sets up, and so do energies per atom. Virials per atom are not
available: ``compute stress/atom`` gives NaN.
"""

from __future__ import annotations

import atexit
import ctypes
import os
import weakref
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pescape.calculators.potential import load, potential_kind
from pescape.files import file_sha256
from pescape.lammps_style.python.clib import (
    AtomArrays,
    Communicator,
    Lammps,
    refuse,
    report,
    show_errors_briefly,
    stop,
    with_all,
)
from pescape.lammps_style.python.ghosts import GhostNeighbors, ghost_neighbors

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from pescape.calculators.potential import Kernel, Potential

#: Identity of the fix that carries the energy, and of the compute that checks the ghosts.
FIX, COMPUTE = "pescape", "pescape_range"
#: Å that ghosts reach beyond the cut-off: LAMMPS' default skin for metal units.
GHOST_SKIN = 2.0
#: Å of our own neighbor list, which need not be LAMMPS'.
LIST_SKIN = 1.0
#: Words that may follow the name of an n2p2 or RuNNer folder, each with its value.
UNITS = ("length_unit", "energy_unit")
#: How many numbers the guard offers as f_pescape[1], f_pescape[2], ...
VECTOR_LENGTH = 5
_NO_VIRIAL = np.zeros(6)

_CALLBACK = ctypes.CFUNCTYPE(
    None,
    ctypes.c_void_p,
    ctypes.c_int64,
    ctypes.c_int,
    ctypes.c_void_p,
    ctypes.c_void_p,
    ctypes.POINTER(ctypes.c_void_p),
)


@dataclass(eq=False)
class Session:
    """One potential in one running LAMMPS.

    Attributes
    ----------
    lammps, comm
        The running LAMMPS and its ranks.
    name, sha256
        The potential's file as the input names it, and the hash of its bytes.
    potential, kernel
        What the file holds, and what evaluates it.
    elements
        Element of each LAMMPS type, from pair_coeff; types handled elsewhere are missing.
    neighbors
        The list of the last evaluation.
    site_energies : (nlocal,) float array
        eV, of the last evaluation; 0 for atoms handled elsewhere.
    step
        The time step of the last evaluation.
    at_start
        What to do after the forces that start a run (or that a minimizer asks for again).
    callback
        What LAMMPS holds a pointer to.
    failure
        What went wrong in the callback.
    near, warned
        Which pair of this rank is nearer than any of the training data; whether that was said.
    """

    lammps: Lammps
    comm: Communicator
    name: str
    sha256: str
    potential: Potential
    kernel: Kernel
    elements: dict[int, str] = field(default_factory=dict)
    neighbors: GhostNeighbors | None = None
    site_energies: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    step: int = -1
    at_start: Callable[[], None] | None = None
    callback: object = None
    failure: BaseException | None = None
    near: str = ""
    warned: bool = False

    def evaluate(self) -> None:
        """Add the forces on all atoms and hand LAMMPS the energy."""
        share = np.zeros(3)  # energy (eV), ranks that failed, ranks with a pair too near
        try:
            share[0] = self._evaluate_own()
        except BaseException as error:  # noqa: BLE001 - no rank may leave the others waiting
            self.failure = error
        failure, self.failure = self.failure, None
        share[1:] = failure is not None, bool(self.near)
        energy, failed, near = self.comm.sum(share)
        if failed:
            stop(self.comm, failure)
        if near and not self.warned:
            self.warned = True
            told = self.comm.gather(self.near)
            if told is not None:
                report(next(filter(None, told)))
        self.lammps.lammps_fix_external_set_energy_global(FIX.encode(), energy)
        previous, self.step = self.step, self.lammps.step
        if self.at_start is not None and previous in {-1, self.step}:
            self.at_start()

    def _evaluate_own(self) -> float:
        """Evaluate the atoms of this rank; return the sum of their energies (eV)."""
        atoms = self.lammps.atoms()
        nb = self._current_neighbors(atoms)
        self.near = "" if nb is self.neighbors or self.warned else self._nearer(atoms, nb)
        self.neighbors = nb
        energies, forces, _ = self.kernel.evaluate(
            atoms.positions, nb.species, nb.offsets, nb.indices, nb.shifts, self.threads
        )
        self.site_energies = energies
        self._check_finite(atoms, energies[:, None], "energy")
        self._check_finite(atoms, forces, "force")
        atoms.forces[:] += forces
        return float(self.site_energies.sum())

    def _nearer(self, atoms: AtomArrays, nb: GhostNeighbors) -> str:
        """Say which pair of this rank is nearer than any of the training data, if one is."""
        from pescape._kernels import pair_nearer_than

        if self.potential.nearest is None:
            return ""
        geometry = atoms.positions, nb.species, nb.offsets, nb.indices, nb.shifts
        found = pair_nearer_than(*geometry, self.potential.nearest)
        if found is None:
            return ""
        first, second, distance, limit = found
        tags = sorted((int(atoms.tags[first]), int(atoms.tags[second])))
        return (
            f"step {self.lammps.step}: atoms {tags[0]} and {tags[1]} are {distance:.3f} Å apart, "
            f"nearer than any of the training data ({limit:.3f} Å): a wall acts there, nothing "
            "that was fitted"
        )

    @property
    def style(self) -> str:
        """Name of the class that stands for the potential in pair_coeff."""
        return self.potential.kind.upper()

    @property
    def threads(self) -> int:
        """Threads per rank: what LAMMPS took from OMP_NUM_THREADS."""
        return max(1, self.lammps.setting("nthreads"))

    def _current_neighbors(self, atoms: AtomArrays) -> GhostNeighbors:
        if self.neighbors is not None and self.neighbors.serves(atoms):
            return self.neighbors
        self._check_finite(atoms, atoms.positions, "position")
        species = self._species_of_types()
        return ghost_neighbors(atoms, species, self.potential.cutoff, LIST_SKIN)

    def _species_of_types(self) -> NDArray[np.int32]:
        """Return the species of every LAMMPS type, -1 where pair_coeff says NULL.

        Files that name no elements have them named by pair_coeff, in order of appearance.
        """
        used = tuple(dict.fromkeys(self.elements[kind] for kind in sorted(self.elements)))
        named, count = self.potential.species, self.potential.species_count
        if not named and len(used) != count:
            refuse(
                f"pair_coeff: {self.name} is for {count} elements and does not name them, so "
                f"pair_coeff has to name as many different ones, in the order of the potential; "
                f"it names {len(used)}: {' '.join(used)}"
            )
        species = np.full(self.lammps.setting("ntypes") + 1, -1, np.int32)
        for kind, element in self.elements.items():
            species[kind] = (named or used).index(element)
        return species

    def _check_finite(self, atoms: AtomArrays, values: NDArray[np.float64], what: str) -> None:
        finite = np.isfinite(values)
        if not finite.all():
            tag = atoms.tags[int(np.argmin(finite.all(axis=1)))]
            refuse(
                f"the {what} of atom {tag} is not a number at step {self.lammps.step} "
                f"({self.name}): atoms too close together, or a time step too long"
            )

    def hand_over(
        self, _: object, __: int, local: int, ___: object, ____: object, forces: Sequence[int]
    ) -> None:
        """Serve `fix external` after the forces.

        ctypes would print an exception and go on, so it waits for the next evaluation.

        Parameters
        ----------
        local
            Number of atoms that this rank owns.
        forces
            Addresses of the rows of the fix's own forces.
        """
        try:
            self._hand_over_own(local, forces)
        except BaseException as error:  # noqa: BLE001
            self.failure = error

    def _hand_over_own(self, local: int, forces: Sequence[int]) -> None:
        """Give energies per atom, no further force or virial, and virials per atom as NaN."""
        name = FIX.encode()
        self.lammps.lammps_fix_external_set_virial_global(name, _NO_VIRIAL.ctypes.data)
        if local == 0:
            return
        ctypes.memset(forces[0], 0, local * 3 * ctypes.sizeof(ctypes.c_double))
        if len(self.site_energies) == local:
            energies = self.site_energies
            self.lammps.lammps_fix_external_set_energy_peratom(name, energies.ctypes.data)
        unknown = np.full(6, np.nan)
        rows = np.full(local, unknown.ctypes.data, np.uintp)
        self.lammps.lammps_fix_external_set_virial_peratom(name, rows.ctypes.data)

    def show(self, *values: float) -> None:
        """Offer numbers to LAMMPS as f_pescape[1], f_pescape[2], ...

        Parameters
        ----------
        *values
            As many as `VECTOR_LENGTH` or fewer.
        """
        for index, value in enumerate(values, start=1):
            self.lammps.lammps_fix_external_set_vector(FIX.encode(), index, value)


#: Address of a LAMMPS -> what it runs, the newest last.
_sessions: dict[int, Session] = {}
#: These and those that were replaced, to which LAMMPS may still hold on.
_alive: weakref.WeakSet[Session] = weakref.WeakSet()


@atexit.register
def _release() -> None:
    """Let go of the compiled kernels before Python ends."""
    for session in list(_alive):
        vars(session).clear()
    _sessions.clear()


class _Pair:
    """What LAMMPS makes of the class that pair_coeff names.

    LAMMPS creates it without arguments, so it takes the potential handed over last.
    """

    def __init__(self) -> None:
        show_errors_briefly()
        session = next(reversed(_sessions.values()), None)
        if session is None or not session.lammps.has("fix", FIX):
            refuse(
                "pair_coeff comes too early: 'python pescape ...' and 'python pescape invoke' "
                "go before it"
            )
        named, style = type(self).__name__, session.style
        if named != style:
            message = (
                f"pair_coeff names pescape.lammps_style.{named}, but {session.name} is for "
                f"pescape.lammps_style.{style}"
            )
            with_all(session.comm, refuse, message)
        self._session = session
        session.elements.clear()
        session.neighbors = None

    def check_units(self, units: str) -> None:
        """Refuse units other than metal.

        Parameters
        ----------
        units
            The unit style in use.
        """
        if units != "metal":
            with_all(self._session.comm, refuse, f"the units must be metal, not {units}")

    def map_coeff(self, name: str, kind: int) -> None:
        """Learn which element an atom type is.

        Parameters
        ----------
        name
            The element.
        kind
            The atom type.
        """
        session = self._session
        species = session.potential.species
        if species and name not in species:
            known = " ".join(species)
            message = f"pair_coeff: element {name} is not in {session.name}, which is for {known}"
            with_all(session.comm, refuse, message)
        session.elements[kind] = name

    @property
    def compute_force(self) -> Callable[[float, int, int], float]:
        """The many-body forces, evaluated now; what is returned gives pairs nothing more."""
        self._session.evaluate()
        return self.compute_energy

    @staticmethod
    def compute_energy(_rsq: float, _itype: int, _jtype: int) -> float:
        """Return the energy of a pair, beyond the many-body energy: none.

        Parameters
        ----------
        _rsq, _itype, _jtype
            Squared distance and atom types; of no interest.
        """
        return 0.0


class MTP(_Pair):
    """Moment tensor potentials: ``pair_coeff * * pescape.lammps_style.MTP Zr``."""


class BPNN(_Pair):
    """Behler-Parrinello networks: ``pair_coeff * * pescape.lammps_style.BPNN Zr O``."""


def pescape(handle: object, words: str) -> None:
    """Prepare LAMMPS for a potential; called by ``python pescape invoke``.

    Parameters
    ----------
    handle
        ``SELF`` of the ``python`` command, format ``p``.
    words
        The potential's file or folder, format ``s``, also looked for in the folder that
        ``LAMMPS_POTENTIALS`` names; after a folder of n2p2 or RuNNer ``length_unit U`` and
        ``energy_unit U``.
    """
    show_errors_briefly()
    lammps = Lammps(handle)
    comm = lammps.communicator()
    session = with_all(comm, _open, lammps, comm, words)
    with_all(comm, _prepare, session)
    _alive.add(session)
    _sessions.pop(lammps.address, None)
    _sessions[lammps.address] = session


def session_of(lammps: Lammps) -> Session:
    """Return what `pescape` prepared in a LAMMPS.

    Parameters
    ----------
    lammps
        The running LAMMPS.
    """
    if lammps.address not in _sessions:
        refuse("'python pescape invoke' has to come first")
    return _sessions[lammps.address]


def _open(lammps: Lammps, comm: Communicator, words: str) -> Session:
    """Check what the potential needs of LAMMPS and read its file."""
    if lammps.setting("box_exist") != 1:
        refuse("'python pescape invoke' comes too early: it goes after read_data or create_box")
    if lammps.units != "metal":
        refuse(f"the units must be metal, not {lammps.units}")
    if lammps.setting("newton_pair") == 0:
        refuse("newton must be on: remove the command 'newton off'")
    if lammps.setting("bigint") != 8:
        refuse("this LAMMPS is built with 32-bit time steps (-DLAMMPS_SMALLSMALL)")
    name, sha256, potential = _read_potential(words)
    return Session(lammps, comm, name, sha256, potential, potential.kernel())


def _read_potential(words: str) -> tuple[str, str, Potential]:
    """Read a potential of any kind; return its name, the hash of its bytes, and what it holds."""
    name, units = words, dict[str, str]()
    while len(parts := name.rsplit(maxsplit=2)) == 3 and parts[1] in UNITS:  # a name holds spaces
        name, key, value = parts
        units[key] = value
    path, elsewhere = Path(name), Path(os.environ.get("LAMMPS_POTENTIALS", "")) / name
    if not path.exists() and elsewhere.exists():
        path = elsewhere
    try:
        digest = file_sha256(path)
        is_network = potential_kind(path) == "bpnn"
    except OSError as error:
        refuse(f"cannot read potential file {name}: {error.strerror}")
    if units and not is_network:
        refuse(f"potential file {name}: only n2p2 and RuNNer folders have {' and '.join(units)}")
    if path.is_dir() and not is_network:
        refuse(f"potential file {name} is a folder without input.nn, so not one of n2p2 or RuNNer")
    potential = load(path, **units)
    if not potential.is_trained:
        refuse(f"potential file {name}: it is untrained (it has no coefficients): fit it first")
    return name, digest, potential


def _prepare(session: Session) -> None:
    """Ask LAMMPS for ghosts within the cut-off and for a place to put the energy."""
    lammps, cutoff = session.lammps, session.potential.cutoff
    lammps.command(f"comm_modify cutoff {cutoff + GHOST_SKIN:.6f}")
    # Never evaluated: at the start of every run it makes LAMMPS compare the range of the ghosts
    # with this cut-off plus the skin, and stop with a message that names comm_modify.
    if lammps.has("compute", COMPUTE):
        lammps.command(f"uncompute {COMPUTE}")
    lammps.command(f"compute {COMPUTE} all rdf 1 cutoff {cutoff:.6f}")
    lammps.command(f"fix {FIX} all external pf/callback 1 1")
    lammps.command(f"fix_modify {FIX} energy yes virial yes")
    session.callback = _CALLBACK(session.hand_over)
    address = ctypes.cast(session.callback, ctypes.c_void_p)
    lammps.lammps_set_fix_external_callback(FIX.encode(), address, None)
    # one more than used: versions around 2021 refuse to set the last entry
    lammps.lammps_fix_external_set_vector_length(FIX.encode(), VECTOR_LENGTH + 1)
    session.show(*[0.0] * VECTOR_LENGTH)
    lammps.lammps_fix_external_set_virial_global(FIX.encode(), _NO_VIRIAL.ctypes.data)
