"""The ``.cfg`` format of MLIP, for ``ase.io``: ``ase.io.read("train.cfg", species=["Zr", "O"])``.

A ``.cfg`` file numbers its species and names no elements. The element of every species is taken
from the keyword ``species`` or, in files written here, from a ``Feature`` line. Whatever else
``Atoms`` hold and ``.cfg`` has no place for travels in ``Feature`` lines as JSON too, so that
nothing is lost between ``.cfg`` and extxyz; other programs ignore these lines.
"""

from pescape.plugins.io.cfg_reading import read_mlip_cfg
from pescape.plugins.io.cfg_writing import write_mlip_cfg

__all__ = ["read_mlip_cfg", "write_mlip_cfg"]
