"""What `pescape check` says of fitted potentials, in one table.

    python benchmarks/trust_check.py Si.almtp=Si_train.extxyz Mo.bpnn=Mo_train.extxyz …

For each potential and its data: elastic constants of the data's crystals by regression of the
strained frames (with standard errors), by the same regression of the potential's stresses, and
relaxed at the potential's own equilibrium; pairs whose energy falls on the way in; random packings
that collapse; and what the check takes.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from pescape.calculators import load
from pescape.data.configurations import read_configurations
from pescape.validation.check import CheckSettings, check_potential

if TYPE_CHECKING:
    from pescape.validation.check import CheckReport


def add_constants(table: Table, report: CheckReport) -> None:
    """Add a row for each elastic constant."""
    for crystal in report.crystals:
        for name, one in crystal.elastic.items():
            known = one.data is not None and one.error is not None and one.same_frames is not None
            data = f"{one.data:.1f} ± {one.error:.1f}" if known else "–"
            same = f"{one.same_frames:.1f}" if known else "–"
            off = f"{100.0 * (one.same_frames / one.data - 1.0):+.0f} %" if known else "–"
            relaxed = "–" if one.relaxed is None else f"{one.relaxed:.1f}"
            place = Path(report.potential).name, crystal.name, name
            table.add_row(*place, data, same, off, relaxed)


def add_rest(table: Table, report: CheckReport) -> None:
    """Add a row of everything else."""
    falls = [one for one in report.pushes if one.falls_at is not None]
    table.add_row(
        Path(report.potential).name,
        f"{len(falls)} of {len(report.pushes)}",
        ", ".join(f"{'–'.join(one.pair)} {one.where} {one.falls_at:.2f} Å" for one in falls) or "–",
        f"{sum(bool(one.collapsed) for one in report.packings)} of {len(report.packings)}",
        f"{min(one.contact for one in report.packings):.2f}" if report.packings else "–",
        ", ".join(f"{count} {status}" for status, count in report.counts.items()),
        f"{report.cpu_seconds:.0f}",
    )


def main() -> None:
    """Check all that are named."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("given", nargs="+", metavar="POT=DATA")
    parser.add_argument("--packings", type=int, default=20)
    arguments = parser.parse_args()
    constants = Table("potential", "crystal", "", "data", "same frames", "off", "relaxed", box=None)
    rest = Table("potential", "falls", "", "collapsed", "contact", "verdicts", "CPU s", box=None)
    for given in arguments.given:
        path, _, data = given.partition("=")
        potential = load(path)
        frames = read_configurations(data, species=potential.species) if data else None
        settings = CheckSettings(packings=arguments.packings)
        report = check_potential(potential, frames, settings, name=path, data=data)
        add_constants(constants, report)
        add_rest(rest, report)
    console = Console(width=140)
    console.print("elastic constants, GPa\n", constants, "\nholes\n", rest)


if __name__ == "__main__":
    main()
