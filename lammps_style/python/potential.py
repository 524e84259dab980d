"""The potential that ``pair_style python`` evaluates, from whatever file holds it."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pescape.calculators.bpnn.formats import detect_format
from pescape.calculators.bpnn.potential import BPNNPotential
from pescape.calculators.mtp.potential import MTPotential
from pescape.lammps_style.python.clib import refuse

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from pescape._kernels import BPNNKernel, MTPKernel

#: Words that may follow the name of an n2p2 or RuNNer folder, each with its value.
UNITS = ("length_unit", "energy_unit")


@dataclass(frozen=True, eq=False)
class EmbeddedPotential:
    """A potential that was read from a file.

    Attributes
    ----------
    name, sha256
        The file as the input names it, and the hash of its bytes.
    content
        What it holds.
    """

    name: str
    sha256: str
    content: MTPotential | BPNNPotential

    @property
    def style(self) -> str:
        """Name of the class that stands for it in pair_coeff."""
        return "MTP" if isinstance(self.content, MTPotential) else "BPNN"

    @property
    def species_count(self) -> int:
        """How many species it tells apart; files of moment tensor potentials may not name them."""
        if isinstance(self.content, MTPotential):
            return self.content.species_count
        return len(self.content.species)

    def kernel(self) -> MTPKernel | BPNNKernel:
        """Compile it for evaluation."""
        return self.content.kernel()

    def site_gradients(self, *arguments: Any) -> NDArray[np.float64]:  # noqa: ANN401
        """Return dE_i/dθ (atoms, parameters) for the parameters of the active set."""
        if isinstance(self.content, MTPotential):
            return self.content.kernel().site_gradients(*arguments)
        which = self.content.active_parameters
        return self.content.kernel().site_gradients(*arguments, parameters=which)


def read_potential(words: str) -> EmbeddedPotential:
    """Read a potential of any kind.

    Parameters
    ----------
    words
        The name of a file or folder, also looked for in the folder that ``LAMMPS_POTENTIALS``
        names; after a folder of n2p2 or RuNNer ``length_unit U`` and ``energy_unit U``.
    """
    name, units = _split(words)
    path = _found(name)
    try:
        digest = _digest(path)
        is_moment_tensor = path.is_file() and path.read_bytes()[:3] == b"MTP"
        is_network = not is_moment_tensor and detect_format(path) is not None
    except OSError as error:
        refuse(f"cannot read potential file {name}: {error.strerror}")
    if is_network:
        content: MTPotential | BPNNPotential = BPNNPotential.read(path, **units)
    elif units:
        refuse(f"potential file {name}: only n2p2 and RuNNer folders have {' and '.join(units)}")
    elif path.is_dir():
        refuse(f"potential file {name} is a folder without input.nn, so not one of n2p2 or RuNNer")
    else:
        content = MTPotential.read(path)
    if not content.is_trained:
        refuse(f"potential file {name}: it is untrained (it has no coefficients): fit it first")
    return EmbeddedPotential(name, digest, content)


def _split(words: str) -> tuple[str, dict[str, str]]:
    """Separate the units from the name before them, which may hold spaces."""
    units: dict[str, str] = {}
    while len(parts := words.rsplit(maxsplit=2)) == 3 and parts[1] in UNITS:
        words, key, value = parts
        units[key] = value
    return words, units


def _found(name: str) -> Path:
    elsewhere = Path(os.environ.get("LAMMPS_POTENTIALS", "")) / name
    return elsewhere if not Path(name).exists() and elsewhere.exists() else Path(name)


def _digest(path: Path) -> str:
    """Return the hash of a file, or of all files of a folder in order of their names."""
    files = (
        sorted(entry for entry in path.iterdir() if entry.is_file()) if path.is_dir() else [path]
    )
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()
