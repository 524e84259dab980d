"""``pescape grade``, ``select``, ``convert``, ``info`` and ``lammps``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from pescape.calculators.mtp import MTPotential

_POTENTIALS = (".mtp", ".almtp")
_Potential = Annotated[Path, typer.Argument(metavar="POT", help="Potential with an active set.")]
_Species = Annotated[str | None, typer.Option(help="Elements in order, for files that name none.")]
_Threads = Annotated[int, typer.Option(min=1, help="OpenMP threads.")]


def read_potential(path: Path, species: str | None = None) -> MTPotential:
    """Read a potential and see to it that it names its species."""
    from pescape.calculators.mtp import MTPotential
    from pescape.errors import DataError

    potential = MTPotential.read(path)
    if species is not None:
        potential = potential.with_species([part.strip() for part in species.split(",")])
    if not potential.species:
        raise DataError(f"{path} names no elements: say which with --species, e.g. --species Zr,O")
    return potential


def grade(
    potential: _Potential,
    data: Annotated[Path, typer.Argument(help="Configurations, labelled or not.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="extxyz file to write.")],
    json: Annotated[Path | None, typer.Option(help="Write the largest grades here too.")] = None,
    threshold: Annotated[float, typer.Option(help="Above it a grade is risky.")] = 2.1,
    species: _Species = None,
    threads: _Threads = 1,
) -> None:
    """Extrapolation grades: up to 1 a potential interpolates, above 2.1 it is risky.

    The output holds each atom's grade as `extrapolation_grades` (neighbourhood mode) and
    the largest as `extrapolation_grade`.

    Example: `pescape grade zr.almtp candidates.xyz -o graded.xyz`
    """
    from pescape.cli.output import save_json, table
    from pescape.dataset import read_configurations, write_configurations
    from pescape.learning.selection import graded

    fitted = read_potential(potential, species)
    frames = graded(fitted, read_configurations(data, species=fitted.species), threads=threads)
    write_configurations(output, frames)
    largest = [float(atoms.info["extrapolation_grade"]) for atoms in frames]
    risky = sum(value > threshold for value in largest)
    rows = [(len(frames), min(largest), sorted(largest)[len(largest) // 2], max(largest), risky)]
    columns = ["configurations", "least", "median", "largest", f"above {threshold:g}"]
    table(f"extrapolation grades of {data}", columns, rows)
    if json is not None:
        save_json(json, {"grades": largest, "risky": risky}, [potential, data])


def select(
    potential: _Potential,
    candidates: Annotated[Path, typer.Argument(help="Configurations without labels.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="extxyz file to write.")],
    training: Annotated[
        Path | None, typer.Option(help="The data the potential was trained on.")
    ] = None,
    min_distance: Annotated[
        float, typer.Option(help="Å; candidates with nearer atoms are left out.")
    ] = 0.0,
    similarity: Annotated[
        float, typer.Option(help="In grades; of candidates that differ less, one is kept.")
    ] = 0.5,
    json: Annotated[Path | None, typer.Option(help="Write what was selected here too.")] = None,
    species: _Species = None,
    threads: _Threads = 1,
) -> None:
    """Select the candidates that teach a potential most (D-optimality, MaxVol).

    Example: `pescape select zr.almtp risky.xyz -o selected.xyz --training train.xyz`
    """
    from pescape.cli.output import save_json, say
    from pescape.dataset import read_configurations, write_configurations
    from pescape.errors import DataError
    from pescape.learning.selection import choose

    fitted = read_potential(potential, species)
    frames = read_configurations(candidates, species=fitted.species)
    known = [] if training is None else read_configurations(training, species=fitted.species)
    choice = choose(
        fitted,
        frames,
        training=known,
        min_distance=min_distance,
        similarity=similarity,
        threads=threads,
    )
    say(
        f"{len(choice.indices)} of {len(frames)} selected; left out: {choice.redundant} that add "
        f"no volume, {choice.similar} similar to a selected one, {choice.unphysical} with atoms "
        "too near each other"
    )
    if json is not None:
        grades = [None if value != value else float(value) for value in choice.grades]  # noqa: PLR0124
        content = {"selected": list(choice.indices), "grades": grades}
        save_json(json, content, [path for path in (potential, candidates, training) if path])
    if not choice.indices:
        raise DataError(f"nothing selected: the potential knows all of {candidates}")
    write_configurations(output, [frames[index] for index in choice.indices])


def convert(
    source: Annotated[Path, typer.Argument(metavar="IN", help="A potential or a data set.")],
    target: Annotated[Path, typer.Argument(metavar="OUT", help="Its suffix says the format.")],
    species: Annotated[
        str | None, typer.Option(help="Elements in order, e.g. Zr,O, for files that name none.")
    ] = None,
) -> None:
    """Convert between file formats: potentials (.mtp, .almtp) or data sets (.cfg, .xyz, …).

    Examples: `pescape convert train.cfg train.xyz --species Zr,O`,
    `pescape convert zr.almtp zr.mtp`
    """
    from pescape.cli.output import say
    from pescape.dataset import read_configurations, write_configurations
    from pescape.errors import DataError

    if (source.suffix in _POTENTIALS) != (target.suffix in _POTENTIALS):
        raise DataError(f"{source.name} and {target.name}: one is a potential, the other is not")
    if source.suffix in _POTENTIALS:
        from pescape.calculators.mtp import MTPotential

        potential = MTPotential.read(source)
        if species is not None:
            potential = potential.with_species([part.strip() for part in species.split(",")])
        if target.suffix == ".mtp":
            potential = potential.with_active_set(None)
        elif potential.active_set is None:
            raise DataError(
                f"{source} has no active set, which {target.name} should hold: "
                "make one with pescape fit mtp"
            )
        potential.write(target)
        say(f"{target}: {potential.parameter_count} parameters")
        return
    names = None if species is None else [part.strip() for part in species.split(",")]
    frames = read_configurations(source, species=names)
    write_configurations(target, frames)
    say(f"{target}: {len(frames)} configurations")


def info(
    potential: Annotated[Path, typer.Argument(metavar="POT", help="Potential file.")],
    json: Annotated[Path | None, typer.Option(help="Write it here too.")] = None,
) -> None:
    """Show what a potential file holds.

    Example: `pescape info zr.almtp`
    """
    from pescape.calculators.mtp import MTPotential
    from pescape.cli.output import save_json, table

    read = MTPotential.read(potential)
    active = read.active_set
    content = {
        "name": read.name,
        "species": " ".join(read.species) or f"{read.species_count}, not named",
        "trained": read.is_trained,
        "cutoff": read.cutoff,
        "min_dist": read.min_dist,
        "radial_functions": read.radial_funcs_count,
        "radial_basis_size": read.radial_basis_size,
        "basic_moments": len(read.basic),
        "products": len(read.products),
        "basis_functions": len(read.scalar_moments),
        "parameters": read.parameter_count,
        "active_set": None if active is None else active.mode,
        "active_rows": None if active is None else active.filled,
        "active_configurations": None if active is None else len(active.configurations),
    }
    units = {"cutoff": " (Å)", "min_dist": " (Å)"}
    rows = [(key.replace("_", " ") + units.get(key, ""), value) for key, value in content.items()]
    table(str(potential), ["", ""], rows)
    if json is not None:
        save_json(json, content, [potential])


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
