"""Settings of the recipes for plane-wave codes, with defaults for metals and their oxides."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, PositiveFloat, PositiveInt

from pescape.config import Strict

#: Settings that steer the way to self-consistency and leave its end where it is.
STEERING = ("mixing", "max_steps", "algorithm")

#: Settings of this machine.
LOCAL = ("command", "python", "ranks", "pseudo_dir", *STEERING)


class PlaneWaveConfig(Strict):
    """What all plane-wave codes have in common."""

    xc: str = Field("PBE", description="exchange-correlation functional, as the code calls it")
    kpoint_density: PositiveFloat = Field(
        10_000.0,
        description="k-points × volume, Å³, at least; the mesh holds Γ and has one point along "
        "directions that are not periodic",
    )
    smearing: Literal["fermi-dirac", "methfessel-paxton"] = Field(
        "fermi-dirac",
        description="of the occupations; methfessel-paxton (first order) is for metals only",
    )
    width: PositiveFloat = Field(0.1, description="of the smearing, eV")
    spin: bool = Field(False, description="spin-polarised")
    moments: dict[str, float] = Field(
        default_factory=dict,
        description="initial magnetic moments by element, μB; 1 for elements not named",
    )
    max_steps: PositiveInt = Field(200, description="most steps of the self-consistency cycle")
    mixing: PositiveFloat | None = Field(
        None, description="share of the new density in each step; the code's own if unset"
    )
    algorithm: str | None = Field(
        None, description="of the eigensolver, as the code calls it; its own if unset"
    )
    ranks: PositiveInt = Field(1, description="MPI processes, started by mpiexec")
    options: dict[str, Any] = Field(
        default_factory=dict, description="further keywords of the code, which win over these"
    )


class GpawConfig(PlaneWaveConfig):
    """GPAW in plane-wave mode, so that it gives stresses."""

    cutoff: PositiveFloat = Field(450.0, description="of the plane waves, eV")
    tolerance: PositiveFloat = Field(1e-5, description="of the energy, eV per valence electron")
    setups: dict[str, str] = Field(
        default_factory=dict, description="PAW data sets by element, where not the default"
    )
    python: str | None = Field(
        None,
        description="the interpreter that imports gpaw; this one if unset. Debian's package "
        "runs under /usr/bin/python3",
    )
    command: str | None = Field(
        None,
        description="what starts the interpreter in parallel, such as '/usr/bin/mpiexec -n 4'; "
        "mpiexec on PATH if unset and ranks asks for it",
    )


class EspressoConfig(PlaneWaveConfig):
    """pw.x of Quantum ESPRESSO; the functional is that of the pseudopotentials."""

    xc: str = Field("", description="overrides the pseudopotentials' functional (input_dft)")
    cutoff: PositiveFloat = Field(680.0, description="of the wave functions, eV (50 Ry)")
    density_cutoff: PositiveFloat | None = Field(
        None, description="of the density, eV; 8 times cutoff if unset, as ultrasoft ones need"
    )
    tolerance: PositiveFloat = Field(1e-6, description="of the energy, eV per atom")
    pseudopotentials: dict[str, str] = Field(description="UPF files by element")
    pseudo_dir: str = Field(".", description="where they are, from the configuration file on")
    command: str | None = Field(
        None, description="what runs pw.x, such as 'mpirun -n 8 pw.x'; pw.x on PATH if unset"
    )


class VaspConfig(PlaneWaveConfig):
    """VASP, the user's own."""

    cutoff: PositiveFloat = Field(520.0, description="of the plane waves, eV")
    tolerance: PositiveFloat = Field(1e-6, description="of the energy, eV per atom")
    pseudopotentials: dict[str, str] = Field(
        description="POTCAR folders by element, { Zr = 'Zr_sv' }"
    )
    pseudo_set: str = Field(
        "potpaw_PBE", description="folder of the data sets, below pseudo_dir or VASP_PP_PATH"
    )
    pseudo_dir: str | None = Field(None, description="VASP_PP_PATH if unset")
    command: str | None = Field(
        None, description="what runs VASP, such as 'srun vasp_std'; vasp_std if unset"
    )
