"""What LAMMPS says that its runs cost."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Timing:
    """µs per atom and step.

    Attributes
    ----------
    loop
        Wall time of the MD loop.
    pair, neigh
        What of it the pair style and the neighbour lists take.
    cpu
        CPU time of the MD loop, all ranks together.
    """

    loop: float
    pair: float
    neigh: float
    cpu: float

    @classmethod
    def read(cls, output: str, atoms: int, steps: int, ranks: int = 1) -> Timing:
        """Read the timing of the last run from the output of LAMMPS."""

        def last(pattern: str) -> float:
            return float(re.findall(pattern, output, re.MULTILINE)[-1])

        unit = 1e6 / (atoms * steps)
        loop = unit * last(r"Loop time of (\S+)")
        return cls(
            loop=loop,
            pair=unit * last(r"^Pair +\| +\S+ +\| +(\S+)"),
            neigh=unit * last(r"^Neigh +\| +\S+ +\| +(\S+)"),
            cpu=loop * last(r"^(\S+)% CPU use") / 100 * ranks,
        )
