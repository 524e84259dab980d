"""pescape inside LAMMPS."""

from __future__ import annotations


def __getattr__(name: str) -> object:
    """Import what serves LAMMPS' own Python (`MTP`, `pescape`, `guard`) when it is asked for."""
    if name.startswith("_"):
        raise AttributeError(name)
    from pescape.lammps_style import embedded

    if name not in embedded.NAMES:
        raise AttributeError(f"module 'pescape.lammps_style' has no attribute {name!r}")
    return embedded.load(name)
