"""``pescape convert``, ``info`` and ``lammps``."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 (typer reads the annotations)
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from pescape.calculators.potential import Potential

_POTENTIALS = (".mtp", ".almtp")
_LengthUnit = Annotated[
    str | None, typer.Option(help="Of an n2p2 or RuNNer folder: Angstrom, Bohr, or a value in Å.")
]
_EnergyUnit = Annotated[
    str | None, typer.Option(help="Of such a folder: eV, Hartree, or a value in eV.")
]


def read_potential(path: Path, species: str | None = None) -> Potential:
    """Read a potential of any kind and see to it that it names its species.

    Parameters
    ----------
    path
        The file or folder.
    species
        Elements in order, separated by commas, for files that name none.
    """
    from pescape.calculators.potential import load, potential_kind
    from pescape.errors import DataError

    if species is not None and potential_kind(path) == "bpnn":
        raise DataError(f"{path} names its elements: leave --species out")
    potential = load(path, species=None if species is None else _listed(species))
    if not potential.species:
        raise DataError(f"{path} names no elements: say which with --species, e.g. --species Zr,O")
    return potential


def convert(
    source: Annotated[Path, typer.Argument(metavar="IN", help="A potential or a data set.")],
    target: Annotated[Path, typer.Argument(metavar="OUT", help="Its suffix says the format.")],
    species: Annotated[
        str | None, typer.Option(help="Elements in order, e.g. Zr,O, for files that name none.")
    ] = None,
    length_unit: _LengthUnit = None,
    energy_unit: _EnergyUnit = None,
) -> None:
    """Convert between file formats: potentials or data sets (.cfg, .xyz, .deepmd, …).

    Moment tensor potentials are .mtp and .almtp; only this program reads the ZBL repulsion that
    they may hold. Behler-Parrinello networks are read from
    .bpnn, Amp, SIMPLE-NN and n2p2 or RuNNer folders, and written as .bpnn or, to a name without
    a suffix, as a folder for n2p2.

    Examples: `pescape convert train.cfg train.xyz --species Zr,O`,
    `pescape convert zr.almtp zr.mtp`, `pescape convert ZrO.amp ZrO.bpnn`,
    `pescape convert nnp ZrO.bpnn --length-unit Bohr --energy-unit Hartree`
    """
    from pescape.cli.output import say
    from pescape.data.configurations import read_configurations, write_configurations
    from pescape.errors import DataError

    kinds = _kind(source), _target_kind(target)
    if (kinds[0] == "data") != (kinds[1] == "data"):
        raise DataError(f"{source.name} and {target.name}: one is a potential, the other is not")
    if kinds[0] == "data":
        names = None if species is None else _listed(species)
        frames = read_configurations(source, species=names)
        write_configurations(target, frames)
        say(f"{target}: {len(frames)} configurations")
    elif kinds[0] != kinds[1]:
        raise DataError(
            f"{source.name} and {target.name}: a moment tensor potential and a Behler-Parrinello "
            "network cannot be made from each other"
        )
    elif kinds[0] == "mtp":
        say(f"{target}: {_convert_mtp(source, target, species)} parameters")
    elif species is not None:
        raise DataError(f"{source} names its elements: leave --species out")
    else:
        from pescape.calculators.bpnn import BPNNPotential

        network = BPNNPotential.read(source, length_unit=length_unit, energy_unit=energy_unit)
        network.write(target)
        _convert_errors(network, target)
        say(f"{target}: {network.parameter_count} parameters")


def _kind(source: Path) -> Literal["mtp", "bpnn", "data"]:
    from pescape.calculators.potential import potential_kind
    from pescape.data.configurations import own_format
    from pescape.errors import DataError

    kind = potential_kind(source)
    if kind is None and source.is_dir() and own_format(source) is None:
        raise DataError(f"{source} holds no input.nn: it is no n2p2 or RuNNer folder")
    return kind or "data"


def _target_kind(target: Path) -> Literal["mtp", "bpnn", "data"]:
    if target.suffix in _POTENTIALS:
        return "mtp"
    if target.suffix == ".amp":
        from pescape.errors import DataError

        raise DataError(
            f"{target.name}: Amp's format is not written; write a .bpnn file, or a folder for "
            "n2p2 (a name without a suffix)"
        )
    return "bpnn" if target.suffix in ("", ".bpnn") else "data"


def _listed(species: str) -> list[str]:
    return [part.strip() for part in species.split(",")]


def _convert_mtp(source: Path, target: Path, species: str | None) -> int:
    from pescape.calculators.mtp import MTPotential
    from pescape.cli.output import say
    from pescape.errors import DataError

    potential = MTPotential.read(source)
    if species is not None:
        potential = potential.with_species(_listed(species))
    if target.suffix == ".mtp":
        potential = potential.with_active_set(None)
    elif potential.active_set is None:
        raise DataError(
            f"{source} has no active set, which {target.name} should hold: "
            "make one with pescape fit mtp"
        )
    potential.write(target)
    _convert_errors(potential, target)
    if potential.repulsion is not None:
        say(
            f"{target.name} has a ZBL repulsion, which MLIP and other programs ignore: their "
            "energies and forces of near atoms will lack it"
        )
    return potential.parameter_count


def _convert_errors(potential: Potential, target: Path) -> None:
    """Copy the committee of a potential beside its other file, for what reads it from there."""
    from pescape.calculators.committee.files import error_file, errors_beside, write_errors
    from pescape.calculators.potential import load

    model = errors_beside(potential)
    if model is not None and target.suffix and model.fits(load(target)):
        write_errors(error_file(target), model)


def info(
    potential: Annotated[Path, typer.Argument(metavar="POT", help="Potential file or folder.")],
    json: Annotated[Path | None, typer.Option(help="Write it here too.")] = None,
    length_unit: _LengthUnit = None,
    energy_unit: _EnergyUnit = None,
) -> None:
    """Show what a potential holds.

    Example: `pescape info zr.almtp`
    """
    from pescape.calculators.committee.files import errors_beside
    from pescape.calculators.potential import load
    from pescape.cli.output import save_json, table

    read = load(potential, length_unit=length_unit, energy_unit=energy_unit)
    content = read.summary()
    model = errors_beside(read) if read.species else None
    if model is not None:
        content |= model.summary()
        least = content.pop("least_force_error")
        content |= {f"least_force_error_{name}": value for name, value in least.items()}
    units = {"cutoff": " (Å)", "min_dist": " (Å)", "zbl": " repulsion, from and to (Å)"}
    units |= dict.fromkeys([key for key in content if key.startswith("least_force")], " (eV/Å)")
    units["least_energy_error"] = " (eV/atom)"
    rows = [(key.replace("_", " ") + units.get(key, ""), value) for key, value in content.items()]
    table(str(potential), ["", ""], rows)
    if json is not None:
        files = sorted(potential.iterdir()) if potential.is_dir() else [potential]
        save_json(json, content, files)


def lammps(
    context: typer.Context,
    ranks: Annotated[int, typer.Option("-n", "--ranks", min=1, help="MPI ranks.")] = 1,
    threads: Annotated[int, typer.Option("-t", "--threads", min=1, help="OpenMP threads.")] = 1,
) -> None:
    """Run LAMMPS with the plugin and MPI found; what follows `--` goes to `lmp`.

    Example: `pescape lammps -n 2 -- -in in.file`
    """
    from pescape.lammps_style import launcher

    raise typer.Exit(launcher.run(context.args, ranks=ranks, threads=threads))
