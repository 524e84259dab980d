"""Formation energies of self-interstitials."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
from ase.geometry import find_mic
from pydantic import Field, model_validator

from pescape.plugins.structures.point_defects import interstitial as interstitial_in
from pescape.plugins.structures.point_defects import interstitial_sites
from pescape.validation.crystals import Repeat  # noqa: TC001 (pydantic reads it)
from pescape.validation.defects import DefectConfig, relaxed_host, repeat_of
from pescape.validation.relaxation import minimised
from pescape.validation.result import PropertyResult, Value, snapshot

if TYPE_CHECKING:
    from ase.calculators.calculator import BaseCalculator

# Two sites whose relaxed energies (eV) agree to this have become the same.
_SAME = 1e-3


class InterstitialConfig(DefectConfig):
    """Self-interstitials in a cell of fixed shape, their atoms relaxed."""

    kind: Literal["interstitial"] = "interstitial"
    sites: tuple[str, ...] | None = Field(None, description="all known of the lattice if unset")
    repeat: Repeat | None = Field(
        None, description="of the conventional cell, orthorhombic for hcp; about 12 Å if unset"
    )
    min_distance: float = Field(
        0.7, gt=0.0, le=1.0, description="atoms that start nearer are pushed apart; in units of a"
    )

    @model_validator(mode="after")
    def _known(self) -> InterstitialConfig:
        known = interstitial_sites(self.crystal.lattice)
        for site in self.sites or ():
            if site not in known:
                raise ValueError(
                    f"site {site!r} of {self.crystal.lattice} is not one of {', '.join(known)}"
                )
        return self

    @property
    def chosen(self) -> tuple[str, ...]:
        """The sites to compute."""
        return self.sites or interstitial_sites(self.crystal.lattice)

    @property
    def value_names(self) -> tuple[str, ...]:
        """Names of the values it gives."""
        return (*self.chosen, "lowest", *(f"{site}_moved" for site in self.chosen))


def interstitial(calculator: BaseCalculator, config: InterstitialConfig) -> PropertyResult:
    """Compute what it costs to take an atom of the crystal and put it between the others.

    Parameters
    ----------
    calculator
        With stress, for the lattice parameters.
    config
        The crystal, the cell and the sites.

    Returns
    -------
    PropertyResult
        By site, the relaxed formation energy (eV) and, with ``_moved`` added, how far from where
        it began the atom that moved most is (Å); ``lowest`` of the energies. A site that does
        not hold its atom gives the energy of where it goes, with a warning.
    """
    host, energy = relaxed_host(config.crystal, calculator)
    repeat = repeat_of(config.crystal, config.repeat)
    energies: dict[str, float] = {}
    moved: dict[str, Value] = {}
    structures = []
    for site in config.chosen:
        atoms = interstitial_in(host, repeat, site, min_distance=config.min_distance * host.a)
        start = atoms.positions.copy()
        atoms.calc = calculator
        minimised(atoms, **config.relaxation.model_dump(), what=f"interstitial at {site}")
        structures.append(snapshot(atoms, site))
        energies[site] = structures[-1].get_potential_energy() - len(atoms) * energy
        _, lengths = find_mic(atoms.positions - start, atoms.cell, atoms.pbc)
        moved[f"{site}_moved"] = Value(float(np.max(lengths)), "Å")
    values = {site: Value(one, "eV") for site, one in energies.items()}
    values["lowest"] = Value(min(energies.values()), "eV")
    return PropertyResult(
        "interstitial",
        values | moved,
        tuple(structures),
        settings=config.model_dump(mode="json"),
        warnings=_alike(energies),
    )


def _alike(energies: dict[str, float]) -> tuple[str, ...]:
    """Say which sites have relaxed to the same energy, and so to one another."""
    told, sites = [], list(energies)
    for index, site in enumerate(sites):
        same = [o for o in sites[:index] if abs(energies[o] - energies[site]) < _SAME]
        if same:
            told.append(f"{site} has the energy of {same[0]}: one has relaxed to the other")
    return tuple(told)
