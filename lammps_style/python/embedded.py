"""The names that LAMMPS' Python looks up in ``pescape.lammps_style``, imported when it does."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import sys
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Name -> module that defines it.
NAMES = {
    "BPNN": "pescape.lammps_style.python.pair",
    "MTP": "pescape.lammps_style.python.pair",
    "pescape": "pescape.lammps_style.python.pair",
    "guard": "pescape.lammps_style.python.guard",
}


def load(name: str) -> object:
    """Import one of the names, or say which Python it needs."""
    _check_python()
    with _hidden("torch"):
        return getattr(importlib.import_module(NAMES[name]), name)


@contextlib.contextmanager
def _hidden(package: str) -> Iterator[None]:
    """Keep an optional package from being imported by others, which every rank would wait for.

    vesin imports torch where it is installed, though nothing here hands it tensors.
    """
    if package in sys.modules:
        yield
        return
    sys.modules[package] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[package]


def _check_python() -> None:
    """Refuse a Python other than the one that pescape was installed with."""
    package = importlib.util.find_spec("pescape")
    folders = list(package.submodule_search_locations or []) if package else []
    compiled = [file.name for folder in folders for file in Path(folder).glob("_kernels.*")]
    suffix = sysconfig.get_config_var("EXT_SUFFIX")
    if compiled and not {f"_kernels{suffix}", "_kernels.abi3.so"} & set(compiled):
        raise ImportError(
            f"pescape was installed with another Python ({', '.join(compiled)}) than the one "
            f"that LAMMPS embeds ({suffix}): install pescape with a Python "
            f"{sysconfig.get_python_version()}"
        )
