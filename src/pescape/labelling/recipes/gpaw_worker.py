"""Compute with GPAW; run by the Python that has it, started by `gpaw.py` beside this file.

    python3 gpaw_worker.py                      # settings, then configurations, on stdin
    python3 gpaw_worker.py --describe Zr.PBE    # version, and data sets that are missing

Each line of stdin is JSON, and so is each reply, after the word that marks it. Imports
nothing of pescape, which this Python need not have.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

del sys.path[0]  # this folder, where gpaw.py is not GPAW
from ase import Atoms  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator

MARKER = "pescape: "


def _describe(data_sets: list[str]) -> dict[str, Any]:
    """Return GPAW's version and the names of data sets that it does not find."""
    import gpaw  # type: ignore[import-not-found]
    from gpaw.setup_data import search_for_file  # type: ignore[import-not-found]

    missing = []
    for name in data_sets:
        try:
            found = search_for_file(name)[0]
        except (RuntimeError, FileNotFoundError):
            found = None
        if found is None:
            missing.append(name)
    return {"version": gpaw.__version__, "missing": missing}


def _calculator(start: dict[str, Any]) -> Any:  # noqa: ANN401 (this Python's GPAW)
    """Make GPAW's calculator from the recipe's settings."""
    from gpaw import GPAW, PW

    occupations = {"name": start["smearing"], "width": start["width"]}
    if start["smearing"] == "methfessel-paxton":
        occupations["order"] = 1
    keywords = {
        "mode": PW(start["cutoff"]),
        "xc": start["xc"],
        "kpts": {"size": start["mesh"], "gamma": True},
        "occupations": occupations,
        "spinpol": start["spin"],
        "setups": start["setups"],
        "maxiter": start["max_steps"],
        "convergence": {"energy": start["tolerance"], "density": 1e-4, "eigenstates": 1e-6},
        # Atoms that move break a crystal's symmetry; time reversal is kept by all of them.
        "symmetry": {"point_group": False},
        "txt": "gpaw.txt",
    }
    if start["mixing"] is not None:
        keywords["mixer"] = {"beta": start["mixing"], "nmaxold": 5, "weight": 50.0}
    if start["algorithm"] is not None:
        keywords["eigensolver"] = start["algorithm"]
    return GPAW(**{**keywords, **start["options"]})


def _check_ranks(expected: int) -> None:
    """Refuse processes that an mpiexec of another MPI has started: each thinks it is alone."""
    from gpaw.mpi import world  # type: ignore[import-not-found]

    if expected > 1 and world.size != expected:
        raise RuntimeError(
            f"{expected} ranks were asked for and GPAW finds {world.size}; name the mpiexec "
            "of GPAW's own MPI: command = '/usr/bin/mpiexec -n N'"
        )


def _compute(atoms: Atoms) -> dict[str, Any]:
    """Compute energies (eV), forces (eV/Å), stress (eV/Å³), steps and setups."""
    free = atoms.get_potential_energy(force_consistent=True)
    reply = {
        "energy": atoms.get_potential_energy(),
        "free_energy": free,
        "forces": atoms.get_forces().tolist(),
        "stress": atoms.get_stress().tolist() if atoms.pbc.all() else None,
    }
    setups = {setup.symbol: str(setup.fingerprint) for setup in atoms.calc.setups}
    steps = int(atoms.calc.get_number_of_iterations())
    return {**reply, "details": {"steps": steps, "setups": setups}}


def _outcome(atoms: Atoms) -> dict[str, Any]:
    """Compute, or describe what went wrong."""
    try:
        return _compute(atoms)
    except Exception as error:  # noqa: BLE001 (the other side reports it)
        name = type(error).__name__
        kind = "not_converged" if "Convergence" in name else "crashed"
        return {"error": kind, "message": f"{name}: {error}"}


def _requests() -> Iterator[dict[str, Any]]:
    """Read the first rank's stdin on all ranks."""
    from gpaw.mpi import broadcast, world

    while True:
        line = sys.stdin.readline() if world.rank == 0 else None
        line = broadcast(line, 0, world)
        if not line:
            return
        yield json.loads(line)


def _send(reply: dict[str, Any]) -> None:
    """Write one reply, from the first rank."""
    from gpaw.mpi import world

    if world.rank == 0:
        sys.stdout.write(f"{MARKER}{json.dumps(reply)}\n")
        sys.stdout.flush()


def main(arguments: list[str]) -> None:
    """Compute what is asked for until stdin ends.

    Parameters
    ----------
    arguments
        Of the command line.
    """
    if arguments[:1] == ["--describe"]:
        _send(_describe(arguments[1:]))
        return
    requests = _requests()
    start = next(requests)
    atoms = None
    for request in requests:
        if atoms is None:
            atoms = Atoms(
                start["numbers"],
                positions=request["positions"],
                cell=request["cell"],
                pbc=start["pbc"],
                magmoms=start["moments"] if start["spin"] else None,
            )
            try:
                _check_ranks(start["ranks"])
                atoms.calc = _calculator(start)
            except Exception as error:  # noqa: BLE001 (the other side reports it)
                _send({"error": "config", "message": f"{type(error).__name__}: {error}"})
                return
        atoms.set_cell(request["cell"])
        atoms.set_positions(request["positions"])
        _send(_outcome(atoms))


if __name__ == "__main__":
    main(sys.argv[1:])
