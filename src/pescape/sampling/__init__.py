"""Sampling campaigns: structures evolve, their images become data sets."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pescape.sampling.campaign import SampleResult, Watcher, sample
    from pescape.sampling.config import SampleConfig

_MODULES = {
    "SampleConfig": "config",
    "SampleResult": "campaign",
    "Watcher": "campaign",
    "sample": "campaign",
}

__all__ = ["SampleConfig", "SampleResult", "Watcher", "sample"]


def __getattr__(name: str) -> object:
    """Import what is public when it is first asked for."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
