"""The loss as a sum of squares: its value, its gradient and its Gauss-Newton matrix."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from pescape.calculators.bpnn.fit.jacobian import residual_rows
from pescape.calculators.bpnn.fit.model import predict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from pescape.calculators.bpnn.fit.batches import Batch
    from pescape.calculators.bpnn.fit.model import Model

    Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Scales:
    """Factors that turn residuals into the rows whose squares are summed.

    Parameters
    ----------
    energies, forces
        Of each configuration's energy and force components, shape (C,).
    virials
        Of each configuration's virial, shape (C, 6); zero where there is no label.
    """

    energies: Floats
    forces: Floats
    virials: Floats

    def times(self, factors: Floats) -> Scales:
        """Multiply the rows of each configuration by a factor (C,)."""
        return Scales(
            self.energies * factors, self.forces * factors, self.virials * factors[:, None]
        )


@dataclass(frozen=True, eq=False)
class LeastSquares:
    """L(θ) = Σ (scale × residual)² + Σ penalty θ².

    Parameters
    ----------
    model
        The networks.
    batches
        The data.
    scales
        Of the rows.
    penalty
        Of each parameter, shape (P,).
    device
        Where the batches are.
    """

    model: Model
    batches: Sequence[Batch]
    scales: Scales
    penalty: Floats
    device: str = "cpu"

    def value(self, theta: Floats) -> float:
        """L(θ)."""
        vector = self._vector(theta)
        with torch.no_grad():
            total = sum(float(self._squares(vector, batch)) for batch in self.batches)
        return total + float(self.penalty @ theta**2)

    def value_and_gradient(
        self, theta: Floats, batches: Sequence[Batch] | None = None
    ) -> tuple[float, Floats]:
        """L(θ) and dL/dθ; of some batches alone if they are given."""
        vector = self._vector(theta).requires_grad_()
        total = 0.0
        for batch in self.batches if batches is None else batches:
            loss = self._squares(vector, batch)
            loss.backward()  # type: ignore[no-untyped-call]
            total += float(loss.detach())
        gradient = np.zeros_like(theta) if vector.grad is None else vector.grad.cpu().numpy()
        total += float(self.penalty @ theta**2)
        return total, gradient + 2.0 * self.penalty * theta

    def gauss_newton(self, theta: Floats) -> tuple[float, Floats, Floats]:
        """L(θ), Aᵀr (P,) and AᵀA (P, P), of the rows r and their Jacobian A."""
        vector = self._vector(theta)
        matrix = vector.new_zeros(len(theta), len(theta))
        slope = vector.new_zeros(len(theta))
        total = 0.0
        for batch in self.batches:
            scale = self._batch_scales(batch)
            if not any(part.any() for part in scale):
                continue
            rows, residuals = residual_rows(self.model, vector, batch, *scale)
            matrix += rows.T @ rows
            slope += rows.T @ residuals
            total += float(residuals @ residuals)
        total += float(self.penalty @ theta**2)
        return (
            total,
            slope.cpu().numpy() + self.penalty * theta,
            matrix.cpu().numpy() + np.diag(self.penalty),
        )

    def _vector(self, theta: Floats) -> Tensor:
        return torch.tensor(theta, dtype=torch.float64, device=self.device)

    def _batch_scales(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        part = slice(batch.start, batch.stop)
        arrays = (
            self.scales.energies[part],
            np.repeat(self.scales.forces[part], np.diff(batch.first)),
            self.scales.virials[part],
        )
        energies, forces, virials = (torch.tensor(x, device=self.device) for x in arrays)
        return energies, forces, virials

    def _squares(self, theta: Tensor, batch: Batch) -> Tensor:
        energies, forces, virials = self._batch_scales(batch)
        found = predict(self.model, theta, batch)
        loss = ((found.energies - batch.energies) * energies).square().sum()
        loss = loss + ((found.forces - batch.forces) * forces[:, None]).square().sum()
        return loss + ((found.virials - batch.virials) * virials).square().sum()
