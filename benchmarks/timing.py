"""CPU seconds of a function, for the benchmarks of fits."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def seconds(function: Callable[[], object], repeats: int = 5) -> float:
    """Least CPU seconds of a few runs."""
    found = []
    for _ in range(repeats):
        start = time.process_time()
        function()
        found.append(time.process_time() - start)
    return min(found)
