"""The loss as a sum of squares: its value, its gradient and its Gauss-Newton matrix.

The matrix needs a row for each energy, force component and virial: its derivative by every
parameter. Let z be the sums of a layer, a its activations, x the inputs, E an atom's energy and
δ = ∂E/∂z. Forces and virials are sums over atoms of U δ with U = ∂G/∂R · W of the first layer,
so that ∂δ/∂θ of every atom is what they need. δ_k is the derivative of E when the k-th sum of
the first layer is pushed; with ȧ, ż the changes that this push makes further up and
μ = ∂δ_k/∂z, back-propagated, ∂δ_k/∂W = a μ + ȧ δ of any later layer. No product is larger than
(force components of a configuration) × (its atoms × nodes) × (parameters above).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from pescape.calculators.bpnn.fit.model import ACTIVATIONS, predict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from pescape.calculators.bpnn.fit.model import Batch, ElementBatch, ElementNetwork, Model

    Floats = NDArray[np.float64]


# Numbers in a dense block of derivatives.
_DENSE_NUMBERS = 8_000_000


@dataclass(frozen=True, eq=False)
class _Response:
    """What the network of one element gives for n atoms.

    Parameters
    ----------
    inputs
        x, shape (n, D).
    energies
        E, shape (n,).
    gradients
        ∂E/∂θ, shape (n, P).
    delta
        δ of the first layer, shape (n, H).
    curvature
        ∂²E/∂z∂z of the first layer, shape (n, H, H).
    above
        ∂δ/∂θ for the first layer's biases and all that is above, shape (n, H, P').
    weights
        W of the first layer for unscaled symmetry functions, shape (D, H).
    """

    inputs: Tensor
    energies: Tensor
    gradients: Tensor
    delta: Tensor
    curvature: Tensor
    above: Tensor
    weights: Tensor


def residual_rows(
    model: Model,
    theta: Tensor,
    batch: Batch,
    energy_scales: Tensor,
    force_scales: Tensor,
    virial_scales: Tensor,
) -> tuple[Tensor, Tensor]:
    """Rows of all residuals of a batch that count, scaled, and the residuals themselves.

    Parameters
    ----------
    model, theta
        The networks and their parameters.
    batch
        The data.
    energy_scales, force_scales, virial_scales
        Factors of the residuals: (C,), (atoms,), (C, 6).

    Returns
    -------
    tuple
        Shapes (R, P) and (R,), energies first, then forces, then virials.
    """
    P, C = len(theta), len(batch)
    energies = theta.new_zeros(C)
    rows_e = theta.new_zeros(C, P)
    rows_f, rows_v = theta.new_zeros(3 * batch.atoms, P), theta.new_zeros(6 * C, P)
    forces, virials = theta.new_zeros(3 * batch.atoms), theta.new_zeros(6 * C)
    counts = (force_scales != 0.0).tolist()
    with torch.no_grad():
        for network, atoms in zip(model.networks, batch.elements, strict=True):
            if not len(atoms.functions):
                continue
            response = _response(network, theta, atoms)
            energies.index_add_(0, atoms.configurations, response.energies)
            rows_e[:, network.part].index_add_(0, atoms.configurations, response.gradients)
            for c in range(C):
                a, b = batch.first[c], batch.first[c + 1]
                if atoms.first[c] == atoms.first[c + 1] or not any(counts[a:b]):
                    continue
                _add_forces(response, network, atoms, c, a, b - a, forces, rows_f[:, network.part])
                _add_virials(response, network, atoms, c, virials, rows_v[:, network.part])
    scales = torch.cat((energy_scales, force_scales.repeat_interleave(3), virial_scales.ravel()))
    rows = torch.cat((rows_e, rows_f, rows_v))
    residuals = torch.cat(
        (
            energies - batch.energies,
            forces - batch.forces.ravel(),
            virials - batch.virials.ravel(),
        )
    )
    kept = scales != 0.0
    return rows[kept] * scales[kept, None], residuals[kept] * scales[kept]


def _add_forces(
    response: _Response,
    network: ElementNetwork,
    atoms: ElementBatch,
    c: int,
    first_atom: int,
    count: int,
    forces: Tensor,
    rows: Tensor,
) -> None:
    """Add what one element does to the forces of a configuration and to their rows."""
    D = atoms.derivatives.shape[1]
    step = max(_DENSE_NUMBERS // (3 * count * D), 1)
    mine = slice(3 * first_atom, 3 * (first_atom + count))
    for i in range(atoms.first[c], atoms.first[c + 1], step):
        j = min(i + step, atoms.first[c + 1])
        blocks = _dense(atoms, c, i, j, first_atom, count)
        _contract(response, network, blocks, slice(i, j), -1.0, forces[mine], rows[mine])


def _dense(atoms: ElementBatch, c: int, i: int, j: int, first_atom: int, count: int) -> Tensor:
    """Return derivatives of central atoms i to j by all positions, shape (j - i, 3 count, D)."""
    p, q = atoms.first_block[c], atoms.first_block[c + 1]
    D = atoms.derivatives.shape[1]
    if (i, j) == (atoms.first[c], atoms.first[c + 1]) and q - p == (j - i) * count:
        return atoms.derivatives[3 * p : 3 * q].view(j - i, 3 * count, D).double()
    centers = atoms.centers[p:q]
    here = (centers >= i) & (centers < j)
    dense = torch.zeros(j - i, count, 3, D, dtype=torch.float64, device=atoms.derivatives.device)
    blocks = atoms.derivatives[3 * p : 3 * q].view(q - p, 3, D)
    dense[centers[here] - i, atoms.moved[p:q][here] - first_atom] = blocks[here].double()
    return dense.view(j - i, 3 * count, D)


def _add_virials(
    response: _Response,
    network: ElementNetwork,
    atoms: ElementBatch,
    c: int,
    virials: Tensor,
    rows: Tensor,
) -> None:
    i, j = atoms.first[c], atoms.first[c + 1]
    blocks = atoms.strains[6 * i : 6 * j].view(j - i, 6, -1).double()
    mine = slice(6 * c, 6 * c + 6)
    _contract(response, network, blocks, slice(i, j), 1.0, virials[mine], rows[mine])


def _contract(
    response: _Response,
    network: ElementNetwork,
    blocks: Tensor,
    part: slice,
    sign: float,
    values: Tensor,
    rows: Tensor,
) -> None:
    """Add ±Σ U δ over atoms to values (R,), and its derivative by θ of the element to rows."""
    n, R, D = blocks.shape
    delta, x = response.delta[part], response.inputs[part]
    H = delta.shape[1]
    pushed = blocks.view(n * R, D) @ response.weights
    # Of each row: nodes of all atoms.
    nodes = pushed.view(n, R, H).transpose(0, 1).reshape(R, n * H)
    values.addmv_(nodes, delta.reshape(n * H), alpha=sign)
    rows[:, D * H :].addmm_(nodes, response.above[part].reshape(n * H, -1), alpha=sign)
    # The first layer's weights make δ, through z, and U itself.
    through = torch.bmm(pushed.view(n, R, H), response.curvature[part])
    by_weight = (x.T @ through.view(n, R * H)).view(D, R, H).permute(1, 0, 2)
    itself = (delta.T @ blocks.view(n, R * D)).view(H, R, D).permute(1, 2, 0)
    first = rows[:, : D * H].view(R, D, H)
    first.add_(by_weight, alpha=sign).addcmul_(network.scale[:, None], itself, value=sign)


def _response(network: ElementNetwork, theta: Tensor, atoms: ElementBatch) -> _Response:
    layers = network.layers(theta)
    x = torch.addcmul(network.offset, atoms.functions, network.scale)
    a, slopes, curves = [x], [], []
    for (weights, bias), name in zip(layers, network.activations, strict=True):
        value, slope, curve = _activation(name, a[-1] @ weights + bias)
        a.append(value)
        slopes.append(slope)
        curves.append(curve)
    last = len(layers) - 1
    delta = [network.slope * slopes[last]]
    pulled = [torch.full_like(slopes[last], network.slope)]  # ∂E/∂a of each layer
    for k in range(last, 0, -1):
        pulled.insert(0, delta[0] @ layers[k][0].T)
        delta.insert(0, pulled[0] * slopes[k - 1])
    pushed, risen = _pushes(layers, slopes)
    mu = [curves[last][:, None] * pushed[last] * network.slope]
    for k in range(last, 0, -1):
        back = (mu[0] @ layers[k][0].T) * slopes[k - 1][:, None]
        mu.insert(0, back + curves[k - 1][:, None] * pushed[k - 1] * pulled[k - 1][:, None])
    gradients, above = [], [mu[0]]
    n, H = delta[0].shape
    for k in range(last + 1):
        gradients += [(a[k][:, :, None] * delta[k][:, None, :]).reshape(n, -1), delta[k]]
        if k:
            outer = a[k][:, None, :, None] * mu[k][:, :, None, :]
            outer = outer + risen[k - 1][..., None] * delta[k][:, None, None, :]
            above += [outer.reshape(n, H, -1), mu[k]]
    return _Response(
        inputs=x,
        energies=a[-1].squeeze(1) * network.slope + network.intercept,
        gradients=torch.cat(gradients, dim=1),
        delta=delta[0],
        curvature=mu[0],
        above=torch.cat(above, dim=2),
        weights=network.scale[:, None] * layers[0][0],
    )


def _pushes(
    layers: list[tuple[Tensor, Tensor]], slopes: list[Tensor]
) -> tuple[list[Tensor], list[Tensor]]:
    """Return ż and ȧ of all layers for a push of each sum of the first, shapes (n, H, nodes)."""
    H = slopes[0].shape[1]
    pushed = [torch.eye(H, dtype=slopes[0].dtype, device=slopes[0].device)[None]]
    risen = [pushed[0] * slopes[0][:, None]]
    for k in range(1, len(layers)):
        pushed.append(risen[-1] @ layers[k][0])
        risen.append(pushed[-1] * slopes[k][:, None])
    return pushed, risen


def _activation(name: str, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Value, first and second derivative."""
    if name == "linear":
        return z, torch.ones_like(z), torch.zeros_like(z)
    if name == "tanh":
        value = torch.tanh(z)
        slope = 1.0 - value * value
        return value, slope, -2.0 * value * slope
    with torch.enable_grad():
        leaf = z.detach().requires_grad_()
        value = ACTIVATIONS[name](leaf)
        (slope,) = torch.autograd.grad(value.sum(), leaf, create_graph=True)
        (curve,) = torch.autograd.grad(slope.sum(), leaf)
    return value.detach(), slope.detach(), curve


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
        """Multiply the rows of each configuration by a factor (C,).

        Parameters
        ----------
        factors
            Shape (C,).
        """
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
        """Return L(θ).

        Parameters
        ----------
        theta
            θ, shape (P,).
        """
        vector = self._vector(theta)
        with torch.no_grad():
            total = sum(float(self._squares(vector, batch)) for batch in self.batches)
        return total + float(self.penalty @ theta**2)

    def value_and_gradient(
        self, theta: Floats, batches: Sequence[Batch] | None = None
    ) -> tuple[float, Floats]:
        """Return L(θ) and dL/dθ, shape (P,).

        Parameters
        ----------
        theta
            θ, shape (P,).
        batches
            Those to sum over; by default all.
        """
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
        """Return L(θ), Aᵀr (P,) and AᵀA (P, P), of the rows r and their Jacobian A.

        Parameters
        ----------
        theta
            θ, shape (P,).
        """
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
