"""``pescape structures`` and ``pescape label``."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 (typer reads the annotations)
from typing import Annotated

import typer

from pescape.cli.options import ConfigFile  # noqa: TC001 (typer reads the annotations)


def structures(
    config: Annotated[ConfigFile, typer.Argument(help="TOML file with [[structures]] tables.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="extxyz file to write.")],
    seed: Annotated[int | None, typer.Option(help="Instead of the seed in CONFIG.")] = None,
) -> None:
    """Build initial structures: rattled crystals, polymorphs, packings, solid solutions, defects.

    Example: `pescape structures structures.toml -o start.xyz`, where structures.toml holds

    ```toml
    seed = 1
    [[structures]]
    element = "Zr"
    lattice = "hcp"               # bcc, diamond, fcc, hcp, omega or sc
    a = 3.23                      # Å
    c_over_a = 1.6
    repeat = [[1, 1, 1], [2, 2, 1]]
    count = 20
    rattle = [0.02, 0.2]          # Å
    strain = 0.03
    volume = [0.9, 1.1]
    min_distance = 2.2            # Å

    [[structures]]
    builder = "polymorph"         # supercells with vacancies, substitutions, strain
    files = ["zirconia.cif"]      # beside structures.toml; or crystals = [{ ... }]
    elements = ["Zr", "O"]
    count = 20
    mutations = { deletion = 0.05, substitution = 0.05, displacement = 0.2 }

    [[structures]]
    builder = "packing"           # random insertion
    boxes = [8.0, 13.0]           # Å, in turn
    composition = { Zr = [0.0, 1.0], O = [0.0, 0.7] }
    volume_fraction = [0.05, 0.5]
    radii = { Zr = 1.123, O = 0.613 }
    count = 20

    [[structures]]
    builder = "solid_solution"    # elements at random on the sites of a crystal
    crystals = [{ element = "Zr", lattice = "bcc", a = 3.58, repeat = [[4, 4, 4]] }]
    composition = { Zr = 0.8, Nb = 0.2 }
    count = 20
    ```
    """
    from pescape.cli.output import say
    from pescape.data.configurations import write_configurations
    from pescape.structures import StructuresConfig, build_all

    settings = config.load(StructuresConfig, seed=seed)
    built = build_all(settings.structures, settings.seed, config.folder)
    write_configurations(output, built)
    say(f"{output}: {len(built)} structures, {sum(map(len, built))} atoms")


def label(
    source: Annotated[Path, typer.Argument(metavar="IN", help="Configurations to label.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="extxyz file to write.")],
    reference: Annotated[
        str,
        typer.Option(
            "-r",
            "--reference",
            help="eam:FILE, MODULE:CLASS of an ASE calculator, FILE.py:FUNCTION that makes one, "
            "or a TOML file.",
        ),
    ],
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 1,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Try again what failed before.")
    ] = False,
) -> None:
    """Label configurations with reference energies, forces and stresses.

    Each finished label is kept in the folder OUT.tasks: stopped and started again, the
    command goes on where it was. Labels that failed (not converged, crashed, timed out, …)
    are left out of OUT and told; they are not tried again unless asked.

    Example: `pescape label start.xyz -o train.xyz -r eam:Zr_mm.eam.fs --workers 2`.
    A TOML file has a recipe's table, here GPAW's of Debian, or names any ASE calculator,
    `calculator = "ase.calculators.emt:EMT"` with `options = { ... }`:

    ```toml
    timeout = 3600                # s; a label that takes longer is killed
    attempts = 2                  # the second mixes less, for longer
    [gpaw]                        # or [espresso], [vasp]
    python = "/usr/bin/python3"
    cutoff = 450                  # eV
    kpoint_density = 10000        # k-points × Å³
    ```
    """
    from pescape.cli.output import progress_bar, say, warn
    from pescape.data.configurations import read_configurations, write_configurations
    from pescape.labelling import LabelFailure, reference_from
    from pescape.labelling.label import failure_summary, label_all

    frames = read_configurations(source)
    calculator = reference_from(reference)
    folder = output.with_name(f"{output.name}.tasks")
    with progress_bar() as bar:
        shown = bar.add_task("label", total=len(frames), note="")
        outcomes = label_all(
            frames,
            calculator,
            folder,
            workers=workers,
            command=f"pescape label {source.name}",
            retry_failed=retry_failed,
            on_finished=lambda done: bar.update(shown, completed=done),
        )
    labelled = [one for one in outcomes if not isinstance(one, LabelFailure)]
    failures = [one for one in outcomes if isinstance(one, LabelFailure)]
    write_configurations(output, labelled)
    say(f"{output}: {len(labelled)} configurations labelled by {calculator.name}")
    if failures:
        warn(f"{failure_summary(failures)}; {folder} tells how, --retry-failed tries again")
