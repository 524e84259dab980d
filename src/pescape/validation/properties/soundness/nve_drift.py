"""Whether the energy of a crystal is conserved, and as well as the time step promises."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from pydantic import Field, PositiveFloat, PositiveInt

from pescape.validation.properties.heat.dynamics import OrthogonalCrystal, start
from pescape.validation.properties.heat.thermal import Bath, at_rest
from pescape.validation.property import (
    Curve,
    Floats,
    PropertyConfig,
    PropertyError,
    PropertyResult,
    Value,
    register_property,
)
from pescape.validation.sources import thermo

if TYPE_CHECKING:
    from pathlib import Path

    from pescape.validation.sources import LammpsModel

_EQUILIBRATION = 2.0  # ps
# Steps between samples; averages that the drift is fitted to.
_EVERY, _BLOCKS = 5, 10
# Of drifts (meV/atom/ns) and orders of the integrator, what is worth a warning.
_DRIFT_LIMIT, _ORDER_LIMIT = 1.0, 0.5
_WARM = """timestep {timestep}
velocity all create {twice} {seed} mom yes rot no dist gaussian loop geom
fix move all nvt temp {temperature} {temperature} 0.1
run {steps}
write_data warm.data nocoeff
"""
_CONSERVE = """clear
{head}timestep {timestep}
fix move all nve
thermo {every}
thermo_style custom step temp etotal
thermo_modify format float %.15g
run {steps}
"""


class NveDriftConfig(PropertyConfig):
    """Molecular dynamics of a crystal at constant energy, with a time step and half of it."""

    incidental: ClassVar[frozenset[str]] = frozenset({"ranks"})

    kind: Literal["nve_drift"] = "nve_drift"
    crystal: OrthogonalCrystal
    temperature: PositiveFloat = Field(600.0, description="that it begins with, K")
    atoms: PositiveInt = Field(200, description="of the supercell, about")
    timestep: PositiveFloat | None = Field(
        None, description="fs; 2 and less for light atoms if unset"
    )
    duration: PositiveFloat = Field(10.0, description="ps")
    seed: PositiveInt = 1
    ranks: PositiveInt = 1

    @property
    def value_names(self) -> tuple[str, ...]:
        """Names of the values it gives."""
        return ("drift", "drift_error", "fluctuation", "order", "temperature")


@register_property(NveDriftConfig, heading="Energy drift", engine="lammps", seconds=9.0)
def nve_drift(model: LammpsModel, config: NveDriftConfig, folder: Path) -> PropertyResult:
    """See how well the energy is conserved.

    Parameters
    ----------
    model
        The potential.
    config
        The crystal and the time step.
    folder
        Where runs are kept.

    Returns
    -------
    PropertyResult
        ``drift`` of the total energy and its standard error (meV/atom/ns), ``fluctuation``
        about it (meV/atom, root mean square), ``order``: the power of the time step that the
        fluctuation goes with, which is 2 for smooth forces that are derivatives of the energy,
        and the mean ``temperature`` (K).
    """
    bath = Bath.of(
        model,
        config.crystal,
        folder,
        atoms=config.atoms,
        timestep=config.timestep,
        seed=config.seed,
        ranks=config.ranks,
    )
    at_rest(bath)
    here = bath.run("nve", _script(bath, config))
    columns = thermo(here, -2)
    time, energy = _energies(bath, columns, 1.0)
    drift, error, fluctuation = conservation(time, energy)
    half = len(time) // 2 + 1
    *_, coarse = conservation(time[:half], energy[:half])
    *_, fine = conservation(*_energies(bath, thermo(here), 0.5))
    temperature = float(columns["Temp"].mean())
    if min(coarse, fine) <= 0.0 or not np.isfinite(temperature):
        raise PropertyError("the energy does not fluctuate: nothing moves")
    order = float(np.log2(coarse / fine))
    warnings = []
    if abs(drift) > max(_DRIFT_LIMIT, 3.0 * error):
        warnings.append(f"the energy drifts by {drift:.2g} meV/atom/ns")
    if abs(order - 2.0) > _ORDER_LIMIT:
        warnings.append(
            f"the fluctuation of the energy goes with the time step to the power of {order:.1f}, "
            "not 2: forces are not smooth, or the time step is too long"
        )
    values = {
        "drift": Value(drift, "meV/atom/ns"),
        "drift_error": Value(error, "meV/atom/ns"),
        "fluctuation": Value(fluctuation, "meV/atom"),
        "order": Value(order),
        "temperature": Value(temperature, "K"),
    }
    curve = Curve(time, energy - energy[0], "time (ps)", "total energy (meV/atom)")
    return config.result(values, curves={"energy": curve}, warnings=warnings)


def _script(bath: Bath, config: NveDriftConfig) -> str:
    """Warm the crystal up, and go on from there with the time step and with half of it."""
    script = _WARM.format(
        timestep=1e-3 * bath.timestep,
        twice=2.0 * config.temperature,
        temperature=config.temperature,
        seed=bath.seed,
        steps=bath.steps(_EQUILIBRATION),
    )
    steps = max(_EVERY * 5 * _BLOCKS, bath.steps(config.duration))
    head = start(bath.atoms, bath.model, "warm.data")
    # As many steps of half the length cover half the time, in which both runs are compared.
    for share in (1.0, 0.5):
        script += _CONSERVE.format(
            head=head, timestep=share * 1e-3 * bath.timestep, every=_EVERY, steps=steps
        )
    return script


def _energies(bath: Bath, columns: dict[str, Floats], share: float) -> tuple[Floats, Floats]:
    """Give times (ps) and energies (meV/atom) of a run with a share of the time step."""
    time = 1e-3 * share * bath.timestep * (columns["Step"] - columns["Step"][0])
    return time, 1e3 * columns["TotEng"] / len(bath.atoms)


def conservation(time: Floats, energy: Floats) -> tuple[float, float, float]:
    """Tell the drift of an energy from its fluctuation.

    Parameters
    ----------
    time
        Shape (n,), ps.
    energy
        Shape (n,), meV/atom.

    Returns
    -------
    drift, error, fluctuation : float
        meV/atom/ns by a straight line through block averages, its standard error, and the root
        mean square of what is left, meV/atom.
    """
    times, energies = (
        np.array([part.mean() for part in np.array_split(series, _BLOCKS)])
        for series in (time, energy)
    )
    line, covariance = np.polyfit(times, energies, 1, cov=True)
    left = energy - np.polyval(line, time)
    return 1e3 * float(line[0]), 1e3 * float(covariance[0, 0] ** 0.5), float(left.std())
