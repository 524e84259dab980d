"""Machine-learned potentials as ASE calculators."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pescape.calculators.mtp.calculator import MTP

__all__ = ["MTP"]


def __getattr__(name: str) -> object:
    """Import calculators when they are first asked for."""
    if name == "MTP":
        from pescape.calculators.mtp.calculator import MTP

        return MTP
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
