"""From a potential-energy surface to a trustworthy machine-learned potential."""

from pescape import _mpi

__version__ = "0.1.0"

_mpi.preload()
