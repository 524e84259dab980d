"""``pescape convert``, ``info`` and ``lammps``."""

from __future__ import annotations

from collections import Counter
from pathlib import Path  # noqa: TC003 (typer reads the annotations)
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

if TYPE_CHECKING:
    from pescape.calculators.bpnn import BPNNPotential
    from pescape.calculators.doptimality.active_set import ActiveSet
    from pescape.calculators.mtp import MTPotential

_POTENTIALS = (".mtp", ".almtp")
_LengthUnit = Annotated[
    str | None, typer.Option(help="Of an n2p2 or RuNNer folder: Angstrom, Bohr, or a value in Å.")
]
_EnergyUnit = Annotated[
    str | None, typer.Option(help="Of such a folder: eV, Hartree, or a value in eV.")
]


def read_potential(path: Path, species: str | None = None) -> MTPotential | BPNNPotential:
    """Read a potential of either kind and see to it that it names its species."""
    from pescape.calculators.mtp import MTPotential
    from pescape.errors import DataError

    if _kind(path) == "bpnn":
        from pescape.calculators.bpnn import BPNNPotential

        if species is not None:
            raise DataError(f"{path} names its elements: leave --species out")
        return BPNNPotential.read(path)
    potential = MTPotential.read(path)
    if species is not None:
        potential = potential.with_species(_listed(species))
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
    """Convert between file formats: potentials or data sets (.cfg, .xyz, …).

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
        say(f"{target}: {network.parameter_count} parameters")


def _kind(source: Path) -> Literal["mtp", "bpnn", "data"]:
    if source.suffix in _POTENTIALS:
        return "mtp"
    from pescape.calculators.bpnn.formats import detect_format

    if source.exists() and detect_format(source) is not None:
        return "bpnn"
    if source.is_dir():
        from pescape.errors import DataError

        raise DataError(f"{source} holds no input.nn: it is no n2p2 or RuNNer folder")
    return "data"


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
    if potential.repulsion is not None:
        say(
            f"{target.name} has a ZBL repulsion, which MLIP and other programs ignore: their "
            "energies and forces of near atoms will lack it"
        )
    return potential.parameter_count


def info(
    potential: Annotated[Path, typer.Argument(metavar="POT", help="Potential file or folder.")],
    json: Annotated[Path | None, typer.Option(help="Write it here too.")] = None,
    length_unit: _LengthUnit = None,
    energy_unit: _EnergyUnit = None,
) -> None:
    """Show what a potential holds.

    Example: `pescape info zr.almtp`
    """
    from pescape.cli.output import save_json, table

    if _kind(potential) == "bpnn":
        from pescape.calculators.bpnn import BPNNPotential

        read = BPNNPotential.read(potential, length_unit=length_unit, energy_unit=energy_unit)
        content = _bpnn_content(read)
    else:
        content = _mtp_content(potential)
    units = {"cutoff": " (Å)", "min_dist": " (Å)", "zbl": " repulsion, from and to (Å)"}
    rows = [(key.replace("_", " ") + units.get(key, ""), value) for key, value in content.items()]
    table(str(potential), ["", ""], rows)
    if json is not None:
        files = sorted(potential.iterdir()) if potential.is_dir() else [potential]
        save_json(json, content, files)


def _mtp_content(path: Path) -> dict[str, Any]:
    from pescape.calculators.mtp import MTPotential

    read = MTPotential.read(path)
    return {
        "name": read.name,
        "species": " ".join(read.species) or f"{read.species_count}, not named",
        "trained": read.is_trained,
        "cutoff": read.cutoff,
        "min_dist": read.min_dist,
        "zbl": None if read.repulsion is None else [read.repulsion.inner, read.repulsion.outer],
        "radial_functions": read.radial_funcs_count,
        "radial_basis_size": read.radial_basis_size,
        "basic_moments": len(read.basic),
        "products": len(read.products),
        "basis_functions": len(read.scalar_moments),
        "parameters": read.parameter_count,
        **_active_content(read.active_set),
        "active_parameters": _counted(read.active_set),
    }


def _counted(active: ActiveSet | None) -> str | None:
    if active is None:
        return None
    return "all" if active.counted.all() else "linear"


def _bpnn_content(read: BPNNPotential) -> dict[str, Any]:
    content: dict[str, Any] = {
        "name": read.name,
        "species": " ".join(read.species),
        "trained": read.is_trained,
        "cutoff": read.cutoff,
    }
    for name, element in zip(read.species, read.elements, strict=True):
        kinds = Counter(function.kind for function in element.functions)
        sizes = [len(element.functions), *element.hidden, 1]
        activations = ", ".join(layer.activation for layer in element.layers)
        counts = ", ".join(f"{count} {kind}" for kind, count in kinds.items())
        cutoffs = {function.cutoff.kind for function in element.functions}
        content[f"{name}_functions"] = f"{sizes[0]} ({counts})"
        content[f"{name}_cutoff_functions"] = ", ".join(sorted(cutoffs))
        content[f"{name}_scaling"] = element.scaling.kind
        content[f"{name}_network"] = f"{'-'.join(map(str, sizes))} ({activations})"
    return {
        **content,
        "parameters": read.parameter_count,
        **_active_content(read.active_set),
        "active_parameters": None if read.active_set is None else read.active_parameters,
    }


def _active_content(active: ActiveSet | None) -> dict[str, Any]:
    return {
        "active_set": None if active is None else active.mode,
        "active_rows": None if active is None else active.filled,
        "active_configurations": None if active is None else len(active.configurations),
    }


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
