"""Systems of DeePMD-kit, folders of NumPy arrays, for ``ase.io``: format ``deepmd-npy``.

A system is a folder with ``type.raw``, ``type_map.raw`` and ``set.*/{coord,box,energy,force,
virial}.npy``, in Å and eV; ``nopbc`` marks free boundaries. All its frames have the same atoms in
the same order; of DeePMD-kit's mixed type, ``set.*/real_atom_types.npy`` tells those of each frame.
A folder of systems, at any depth, is read as one data set. Virials are tensors in eV, of the sign
that makes them -stress·volume of ASE.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.data import atomic_numbers
from ase.stress import full_3x3_to_voigt_6_stress, voigt_6_to_full_3x3_stress
from ase.utils.plugins import ExternalIOFormat

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

deepmd_npy_format = ExternalIOFormat(
    desc="DeePMD-kit systems of NumPy arrays", code="+S", module="pescape.plugins.io.deepmd_npy"
)

_TYPES, _NAMES, _FREE = "type.raw", "type_map.raw", "nopbc"
# Values of a frame in each array; None: for each atom.
_SIZES = {"coord": (None, 3), "box": (9,), "energy": (), "force": (None, 3), "virial": (9,)}
_FRAMES_OF_A_SET = 5000


def claims(path: Path) -> bool:
    """Return whether a path is of this format: named ``*.deepmd``, or a folder with systems.

    Parameters
    ----------
    path
        To read or to write.
    """
    return path.suffix == ".deepmd" or (path.is_dir() and bool(_systems(path)))


def read_deepmd_npy(
    filename: str, index: int | slice = -1, species: Sequence[str] | None = None
) -> Iterator[Atoms]:
    """Read configurations.

    Parameters
    ----------
    filename
        A system, or a folder of systems, which are read by name.
    index
        Which configurations.
    species
        Element of type 0, 1, ...; not needed where ``type_map.raw`` names them.

    Yields
    ------
    Atoms
        With energy (eV), forces (eV/Å) and stress (eV/Å³) as results, where there are any.

    Raises
    ------
    ValueError
        "FILE: ..." when a file is wrong.
    """
    systems = _systems(Path(filename))
    if not systems:
        raise ValueError(f"{filename}: no folder in it holds {_TYPES}, as systems of DeePMD-kit do")
    frames = (atoms for folder in systems for atoms in _read_system(folder, species))
    if index == slice(None):
        yield from frames
    else:
        chosen = list(frames)[index]
        yield from [chosen] if isinstance(chosen, Atoms) else chosen


def write_deepmd_npy(
    filename: str, images: Sequence[Atoms] | Atoms, species: Sequence[str] | None = None
) -> None:
    """Write configurations: one system for each sequence of elements.

    Parameters
    ----------
    filename
        The folder to make; its systems are named by formula.
    images
        The configurations; energies, forces and stresses come from their calculators, without
        starting a calculation. The free energy, which forces are derivatives of, goes before
        the energy.
    species
        Element of type 0, 1, ...; by default the elements in the order of their first
        appearance.
    """
    frames = [images] if isinstance(images, Atoms) else list(images)
    names = list(species or dict.fromkeys(s for atoms in frames for s in atoms.symbols))
    groups: dict[Any, list[dict[str, Floats]]] = {}
    for number, atoms in enumerate(frames):
        missing = sorted(set(atoms.symbols) - set(names))
        if missing:
            raise ValueError(
                f"configuration {number} has {missing[0]}, which is not among the species "
                f"{' '.join(names)}"
            )
        if atoms.pbc.any() != atoms.pbc.all():
            raise ValueError(
                f"configuration {number} is periodic in some directions only: DeePMD-kit knows "
                "all or none"
            )
        arrays = _arrays(atoms)
        key = (tuple(atoms.symbols), bool(atoms.pbc.all()), tuple(arrays))
        groups.setdefault(key, []).append(arrays)
    for (symbols, periodic, _), group in groups.items():
        folder = _new_folder(Path(filename), Atoms(symbols).get_chemical_formula())
        types = "".join(f"{names.index(symbol)}\n" for symbol in symbols)
        (folder / _TYPES).write_text(types)
        (folder / _NAMES).write_text("".join(f"{name}\n" for name in names))
        if not periodic:
            (folder / _FREE).touch()
        for start in range(0, len(group), _FRAMES_OF_A_SET):
            part = group[start : start + _FRAMES_OF_A_SET]
            target = folder / f"set.{start // _FRAMES_OF_A_SET:03d}"
            target.mkdir()
            for name in part[0]:
                np.save(target / f"{name}.npy", np.array([arrays[name] for arrays in part]))


def _systems(path: Path) -> list[Path]:
    return sorted(found.parent for found in path.rglob(_TYPES)) if path.is_dir() else []


def _read_system(folder: Path, species: Sequence[str] | None) -> Iterator[Atoms]:
    types = _types(folder / _TYPES)
    names = _names(folder, species)
    periodic = not (folder / _FREE).exists()
    sets = sorted(folder.glob("set.*"))
    if not sets:
        raise ValueError(f"{folder}: holds no set.000 with coord.npy")
    for place in sets:
        arrays = {
            name: values
            for name, size in _SIZES.items()
            if (values := _load(place / f"{name}.npy", size, len(types))) is not None
        }
        if "coord" not in arrays or (periodic and "box" not in arrays):
            missing = "box" if "coord" in arrays else "coord"
            free = "" if missing == "coord" else f"; without a cell, {_FREE} has to be there"
            raise ValueError(f"{place}: holds no {missing}.npy{free}")
        frames = len(arrays["coord"])
        for name, values in arrays.items():
            if len(values) != frames:
                raise ValueError(
                    f"{place / name}.npy: {len(values)} frames, but coord.npy has {frames}"
                )
        mixed = _load(place / "real_atom_types.npy", (None,), len(types))
        for index in range(frames):
            frame = {name: values[index] for name, values in arrays.items()}
            own = types if mixed is None else mixed[index].astype(int)
            if own.max(initial=0) >= len(names):
                raise ValueError(
                    f"{place} frame {index}: type {own.max()}, but there are {len(names)} "
                    f"elements: {' '.join(names)}"
                )
            yield _atoms(own, names, frame, periodic=periodic)


def _types(path: Path) -> NDArray[np.int64]:
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        wrong = [word for word in line.split() if not word.isdecimal()]
        if wrong:
            raise ValueError(f"{path}, line {number}: {wrong[0][:40]!r} is no type: 0, 1, ...")
    return np.array(path.read_text().split(), dtype=int)


def _names(folder: Path, species: Sequence[str] | None) -> list[str]:
    path = folder / _NAMES
    if path.exists():
        names = path.read_text().split()
        if species is not None and list(species) != names:
            raise ValueError(
                f"{path}: the types are {' '.join(names)}, in this order, not {' '.join(species)}"
            )
    elif species is None:
        raise ValueError(
            f"{folder}: holds no {_NAMES}: name the elements in the order of the types, for "
            'instance species=["Zr", "O"]'
        )
    else:
        path, names = folder / _TYPES, list(species)
    unknown = [name for name in names if atomic_numbers.get(name, 0) < 1]
    if unknown:
        raise ValueError(f"{path}: {unknown[0]!r} is no chemical symbol")
    return names


def _load(path: Path, size: tuple[int | None, ...], atoms: int) -> Floats | None:
    """Read an array whose frames have a size (None: the number of atoms), if it is there."""
    if not path.exists():
        return None
    try:
        values = np.load(path, allow_pickle=False).astype(float)
    except (OSError, ValueError, EOFError) as error:
        raise ValueError(f"{path}: no array of numbers ({error})") from error
    wanted = tuple(atoms if one is None else one for one in size)
    frames = len(values) if values.ndim else 0
    if values.size != frames * int(np.prod(wanted)) or not values.ndim:
        raise ValueError(
            f"{path}: shape {values.shape}, but {_TYPES} has {atoms} atoms: "
            f"(frames, {int(np.prod(wanted))}) is expected"
        )
    values = values.reshape(frames, *wanted)
    if not np.isfinite(values).all():
        bad = int(np.argwhere(~np.isfinite(values))[0, 0])
        raise ValueError(f"{path}: frame {bad} holds numbers that are not finite")
    return values


def _atoms(
    types: NDArray[np.int64], names: Sequence[str], frame: dict[str, Floats], *, periodic: bool
) -> Atoms:
    # Frames of mixed systems are padded with atoms of type -1.
    real = types >= 0
    cell = frame["box"].reshape(3, 3) if "box" in frame and periodic else None
    symbols = [names[number] for number in types[real]]
    atoms = Atoms(symbols, positions=frame["coord"][real], cell=cell, pbc=periodic)
    results: dict[str, Any] = {}
    if "energy" in frame:
        results["energy"] = float(frame["energy"])
    if "force" in frame:
        results["forces"] = frame["force"][real]
    if "virial" in frame and periodic:
        stress = -frame["virial"].reshape(3, 3) / atoms.get_volume()
        results["stress"] = full_3x3_to_voigt_6_stress(stress)
    if results:
        atoms.calc = SinglePointCalculator(atoms, **results)
    return atoms


def _arrays(atoms: Atoms) -> dict[str, Floats]:
    """Arrays of one frame, each flat."""
    results = getattr(atoms.calc, "results", {})
    arrays = {"coord": atoms.positions.ravel()}
    if atoms.pbc.all():
        arrays["box"] = atoms.cell.array.ravel()
    energy = results.get("free_energy", results.get("energy"))
    if energy is not None:
        arrays["energy"] = np.float64(energy)
    if results.get("forces") is not None:
        arrays["force"] = np.asarray(results["forces"], dtype=float).ravel()
    if results.get("stress") is not None and atoms.pbc.all():
        stress = voigt_6_to_full_3x3_stress(results["stress"])
        arrays["virial"] = -(stress * atoms.get_volume()).ravel()
    return arrays


def _new_folder(parent: Path, formula: str) -> Path:
    """Make a folder named by a formula, and a number where others have the same."""
    number = 1
    while (folder := parent / (formula if number == 1 else f"{formula}-{number}")).exists():
        number += 1
    folder.mkdir(parents=True)
    return folder
