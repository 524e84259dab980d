"""The potential that ``pair_style python`` evaluates, from whatever file holds it."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pescape.calculators.potential import load, potential_kind
from pescape.lammps_style.python.clib import refuse

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from pescape.calculators.potential import Kernel, Potential

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
    content: Potential

    @property
    def style(self) -> str:
        """Name of the class that stands for it in pair_coeff."""
        return self.content.kind.upper()

    @property
    def species_count(self) -> int:
        """How many species it tells apart; files of moment tensor potentials may not name them."""
        return self.content.species_count

    def kernel(self) -> Kernel:
        """Compile it for evaluation."""
        return self.content.kernel()

    def site_gradients(self, *arguments: Any) -> NDArray[np.float64]:  # noqa: ANN401
        """Return dE_i/dθ (atoms, parameters) for the parameters of the active set."""
        return self.content.site_gradients(*arguments)


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
        is_network = potential_kind(path) == "bpnn"
    except OSError as error:
        refuse(f"cannot read potential file {name}: {error.strerror}")
    if units and not is_network:
        refuse(f"potential file {name}: only n2p2 and RuNNer folders have {' and '.join(units)}")
    if path.is_dir() and not is_network:
        refuse(f"potential file {name} is a folder without input.nn, so not one of n2p2 or RuNNer")
    content = load(path, **units)
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
