"""The figure that shows a learning campaign."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from matplotlib.axes import Axes

    from pescape.learning.rounds import Round


def draw_rounds(rounds: Sequence[Round], path: Path, *, select: float) -> None:
    """Draw what each round found, learned and how well the potential did."""
    path.write_bytes(b"")
