"""The reference: SevenNet-l3i5, a universal potential whose weights are in the wheel of PyPI.

    pip install sevenn

It is no density functional theory. Any other calculator of ASE can take its place: let the
function return that one.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import torch
from sevenn.calculator import SevenNetCalculator

if TYPE_CHECKING:
    from ase.calculators.calculator import Calculator


def calculator(model: str = "7net-l3i5", device: str = "cpu") -> Calculator:
    """Make a calculator; a campaign makes one for each trajectory.

    Parameters
    ----------
    model
        A name that sevenn knows, or a checkpoint file.
    device
        "cpu", "cuda", or "auto".
    """
    warnings.filterwarnings("ignore", message="No tensor product accelerator")
    torch.set_num_threads(1)  # one process is one core: the campaign's workers are the others
    return SevenNetCalculator(model, device=device)
