"""Reading and writing of ``.mtp`` (MLIP-2) and ``.almtp`` (MLIP-3) files.

What MLIP's format has no place for is in ``potential_tag``, which other programs skip:
``species: Zr O; zbl: 0.8 1.8; any text`` names the elements and adds a ZBL repulsion that is
switched off from 0.8 to 1.8 Å. Pairs of elements may have distances of their own, ``zbl: Zr-Zr 1.5
2.5 Zr-O 1.1 1.9 O-O 1.4 2.4``, and before it ``nearest: Zr-Zr 2.3 Zr-O 1.7 O-O 2.1`` gives the
shortest distances of the training data, ``densest: Zr-Zr 9.1 Zr-O 3.2 O-Zr 3.3 O-O 2.2; summits: Zr
-4.1 O -2.0`` how densely atoms are surrounded there at most and their highest energies.
"""

from __future__ import annotations

import io
from contextlib import contextmanager
from itertools import combinations_with_replacement
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import ase.io
import numpy as np
from ase.data import chemical_symbols

from pescape import _kernels
from pescape.calculators.doptimality.active_set import ActiveSet
from pescape.calculators.doptimality.maxvol import UNSET
from pescape.calculators.zbl import ZBL
from pescape.files import write_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from os import PathLike

    from ase import Atoms
    from numpy.typing import NDArray

    from pescape.calculators.doptimality.design_matrix import Mode
    from pescape.calculators.mtp.potential import MTPotential

# Equations of a configuration come in the order energy, 3N forces, 9 stresses, N site energies.
_EQUATIONS_BEFORE_FORCES = 1
_STRESS_EQUATIONS = 9
_SELECTED = "selected_eqn_inds"
# How the parts of potential_tag begin that hold the elements and the repulsion.
_OUR_TAGS = ("species:", "nearest:", "densest:", "summits:", "zbl:")


def read_fields(path: str | PathLike[str]) -> dict[str, Any]:
    """Read the fields of a potential, with its active set if the file has one.

    Parameters
    ----------
    path
        The file.

    Raises
    ------
    ValueError
        "FILE, line N: ..." when anything in the file is wrong.
    """
    data = Path(path).read_bytes()
    with errors_naming(path):
        fields = _kernels.parse_mtp(data)
        fields["species"] = tuple(fields["species"])
        if "repulsion" in fields:
            fields["repulsion"] = _repulsion(fields["species"], *fields["repulsion"])
        if "active_set" in fields:
            elements = _elements(fields["species"], fields["species_count"])
            fields["active_set"] = _active_set(fields["active_set"], data, elements)
    return {**fields, "source": str(path)}


def _repulsion(
    species: tuple[str, ...],
    inner: NDArray[np.float64],
    outer: NDArray[np.float64],
    of_pairs: bool,
) -> ZBL:
    if not of_pairs:
        return ZBL(float(inner[0, 0]), float(outer[0, 0]))
    pairs = combinations_with_replacement(range(len(species)), 2)
    return ZBL.of_pairs({(species[i], species[j]): (inner[i, j], outer[i, j]) for i, j in pairs})


@contextmanager
def errors_naming(path: str | PathLike[str]) -> Iterator[None]:
    """Context manager: the messages of errors in values begin with a file's name.

    Parameters
    ----------
    path
        The file.
    """
    try:
        yield
    except ValueError as error:
        separator = ", " if str(error).startswith("line ") else ": "
        raise ValueError(f"{path}{separator}{error}") from None


def write_potential(path: str | PathLike[str], potential: MTPotential) -> None:
    """Write a potential, with its active set if it has one; the file appears as a whole.

    Parameters
    ----------
    path
        The file.
    potential
        What is written.
    """
    pieces = [_text(potential).encode()]
    if potential.active_set is not None:
        elements = _elements(potential.species, potential.species_count)
        pieces.append(_active_set_bytes(potential.active_set, elements))
    write_bytes(Path(path), b"".join(pieces))


def _elements(species: tuple[str, ...], count: int) -> tuple[str, ...]:
    """Return the species; where nobody named them, H, He, ... stand in."""
    return species or tuple(chemical_symbols[1 : count + 1])


def _text(potential: MTPotential) -> str:
    lines = ["MTP", "version = 1.1.0", f"potential_name = {_one_line(potential.name, 'name')}"]
    lines += [
        f"scaling = {_real(potential.scaling)}",
        f"species_count = {potential.species_count}",
        f"potential_tag = {_tag(potential)}",
        "radial_basis_type = RBChebyshev",
        f"\tmin_dist = {_real(potential.min_dist)}",
        f"\tmax_dist = {_real(potential.cutoff)}",
        f"\tradial_basis_size = {potential.radial_basis_size}",
        f"\tradial_funcs_count = {potential.radial_funcs_count}",
    ]
    if potential.radial_coeffs is not None:
        lines += ["\tradial_coeffs", *_radial_lines(potential.radial_coeffs)]
    lines += [
        f"alpha_moments_count = {potential.moments_count}",
        f"alpha_index_basic_count = {len(potential.basic)}",
        f"alpha_index_basic = {_nested(potential.basic)}",
        f"alpha_index_times_count = {len(potential.products)}",
        f"alpha_index_times = {_nested(potential.products)}",
        f"alpha_scalar_moments = {len(potential.scalar_moments)}",
        f"alpha_moment_mapping = {_braced(map(str, potential.scalar_moments.tolist()))}",
    ]
    if potential.species_coeffs is not None and potential.moment_coeffs is not None:
        lines += [
            f"species_coeffs = {_braced(map(_real, potential.species_coeffs))}",
            f"moment_coeffs = {_braced(map(_real, potential.moment_coeffs))}",
        ]
    return "\n".join(lines) + "\n"


def _tag(potential: MTPotential) -> str:
    """Return the elements and the repulsion as text, which other programs skip."""
    tag = _one_line(potential.tag, "tag")
    if tag.startswith(_OUR_TAGS):
        raise ValueError(f"the potential's tag {tag!r} begins as those that tell its species do")
    species, zbl = potential.species, potential.repulsion
    nearest, densest = potential.nearest, potential.densest
    parts = [f"species: {' '.join(species)}"] if species else []
    if species and nearest is not None:
        pairs = combinations_with_replacement(range(len(species)), 2)
        named = (f"{species[i]}-{species[j]} {float(nearest[i, j])!r}" for i, j in pairs)
        parts.append(f"nearest: {' '.join(named)}")
    if species and densest is not None:
        named = (
            f"{species[i]}-{species[j]} {float(densest[i, j])!r}"
            for i, j in np.ndindex(densest.shape)
        )
        parts.append(f"densest: {' '.join(named)}")
        tops = zip(species, cast("NDArray[np.float64]", potential.summits), strict=True)
        parts.append(f"summits: {' '.join(f'{name} {float(top)!r}' for name, top in tops)}")
    if zbl is not None:
        of_pairs = (f"{one}-{other} {low!r} {high!r}" for one, other, low, high in zbl.pairs)
        parts.append(f"zbl: {' '.join(of_pairs) or f'{zbl.inner!r} {zbl.outer!r}'}")
    return "; ".join([*parts, tag] if tag else parts)


def _one_line(text: str, what: str) -> str:
    if len(text.splitlines()) > 1:
        raise ValueError(f"the potential's {what} must be one line, not {text!r}")
    return text.strip()


def _radial_lines(coefficients: NDArray[np.float64]) -> Iterator[str]:
    for i, j in np.ndindex(coefficients.shape[:2]):
        yield f"\t\t{i}-{j}"
        for row in coefficients[i, j]:
            yield f"\t\t\t{_braced(map(_real, row))}"


def _real(value: float) -> str:
    return f"{value:.16e}"


def _braced(items: Iterable[str]) -> str:
    return "{" + ", ".join(items) + "}"


def _nested(rows: NDArray[np.int32]) -> str:
    return _braced(_braced(map(str, row)) for row in rows.tolist())


def _active_set(block: dict[str, Any], data: bytes, species: tuple[str, ...]) -> ActiveSet:
    text = data[block["configurations_offset"] :].decode(errors="replace")
    # Blank lines first, so that the reader's line numbers are those of the whole file.
    padded = "\n" * (block["configurations_line"] - 1) + text
    configurations = _read_configurations(padded, species) if text.strip() else ()
    origins = block["origins"]
    for row, (configuration, _) in enumerate(origins):
        if configuration >= len(configurations):
            raise ValueError(
                f"active set: row {row} comes from configuration {configuration}, but the file "
                f"holds {len(configurations)}"
            )
    mode: Mode = "neighborhood" if block["neighborhood_mode"] else "configuration"
    return ActiveSet(
        matrix=block["matrix"],
        inverse=block["inverse"],
        mode=mode,
        weight_scaling=block["weight_scaling"],
        origins=_atoms_from_equations(origins, configurations, mode),
        configurations=configurations,
    )


def _read_configurations(text: str, species: tuple[str, ...]) -> tuple[Atoms, ...]:
    frames = ase.io.read(io.StringIO(text), index=":", format="mlip-cfg", species=species)
    for atoms in frames:
        atoms.info.pop(_SELECTED, None)
    return tuple(cast("list[Atoms]", frames))


def _atoms_from_equations(
    origins: NDArray[np.int64], configurations: tuple[Atoms, ...], mode: str
) -> NDArray[np.int64]:
    """Replace the number of an equation by the atom it is about (0 for the energy)."""
    found = origins.copy()
    for row, (configuration, equation) in enumerate(origins):
        if configuration == UNSET:
            found[row] = UNSET
            continue
        size = len(configurations[configuration])
        first = _first_equation(size) if mode == "neighborhood" else 0
        found[row, 1] = equation - first
        if not 0 <= found[row, 1] < (size if mode == "neighborhood" else 1):
            raise ValueError(
                f"active set: row {row} is equation {equation} of configuration {configuration}, "
                f"which is not one of its {'site energies' if first else 'energy'}"
            )
    return found


def _first_equation(size: int) -> int:
    """Return the number of the equation of the first atom's site energy."""
    return _EQUATIONS_BEFORE_FORCES + 3 * size + _STRESS_EQUATIONS


def _active_set_bytes(active_set: ActiveSet, species: tuple[str, ...]) -> bytes:
    neighborhood = active_set.mode == "neighborhood"
    weights = {
        "energy_weight": float(not neighborhood),
        "force_weight": 0.0,
        "stress_weight": 0.0,
        "site_en_weight": float(neighborhood),
    }
    scaling = active_set.weight_scaling
    head = "\n#MVS_v1.1\n" + "".join(f"{key} {_real(value)}\n" for key, value in weights.items())
    head += f"weight_scaling {int(scaling) if scaling == int(scaling) else _real(scaling)}\n#"
    equations = active_set.origins.copy()
    if neighborhood:
        for row, (configuration, atom) in enumerate(active_set.origins):
            if configuration != UNSET:
                size = len(active_set.configurations[configuration])
                equations[row, 1] = atom + _first_equation(size)
    origins = "".join(f"{c} {e}\n" for c, e in equations)
    pieces = [
        head.encode(),
        np.ascontiguousarray(active_set.matrix, dtype="<f8").tobytes(),
        np.ascontiguousarray(active_set.inverse.T, dtype="<f8").tobytes(),
        f"\n#\n{origins}#\n".encode(),
        _write_configurations(active_set, equations, species).encode(),
    ]
    return b"".join(pieces)


def _write_configurations(
    active_set: ActiveSet, equations: NDArray[np.int64], species: tuple[str, ...]
) -> str:
    """Write the configurations of an active set with the equations selected from each."""
    frames = []
    for index, atoms in enumerate(active_set.configurations):
        selected = sorted(equations[equations[:, 0] == index, 1].tolist())
        frame = atoms.copy()
        frame.calc = atoms.calc
        if selected:
            frame.info[_SELECTED] = ",".join(map(str, selected)) if selected[1:] else selected[0]
        frames.append(frame)
    if not frames:
        return ""
    buffer = io.StringIO()
    ase.io.write(buffer, frames, format="mlip-cfg", species=species)
    return buffer.getvalue()
