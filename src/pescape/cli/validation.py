"""``pescape validate`` and ``pescape report``."""

from __future__ import annotations

import dataclasses
import json
import time
from pathlib import Path  # noqa: TC003 (typer reads the annotations)
from typing import TYPE_CHECKING, Annotated

import typer
from pydantic_core import PydanticUndefined

from pescape.cli.options import ConfigFile  # noqa: TC001 (typer reads the annotations)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydantic.fields import FieldInfo

    from pescape.validation.config import ValidationConfig
    from pescape.validation.study import ReferenceData, Row, Study
    from pescape.validation.study_run import ValidationPlan


def report(
    study: Annotated[
        Path, typer.Argument(metavar="DIR", help="Folder that pescape validate has written.")
    ],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Folder to write to, instead of DIR.")
    ] = None,
    title: Annotated[str | None, typer.Option(help="Instead of the study's.")] = None,
    ensemble: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Tell about this output of pescape ensemble too."),
    ] = None,
    campaign: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Tell about this output of pescape learn too."),
    ] = None,
    curve: Annotated[
        Path | None,
        typer.Option(
            "--learning-curve",
            metavar="DIR",
            help="Tell about this output of pescape learning-curve too.",
        ),
    ] = None,
) -> None:
    """Make the report of a validation again, from its study.json alone.

    Leaves report.html, one page that needs no other file and no network; its figures as PNG and
    SVG (figures/); the structures (structures/); and all numbers (values.csv, values.json).

    Example: `pescape report results --title "Three potentials of Zr" --ensemble ensemble`
    """
    from pescape.cli.output import progress_bar, say
    from pescape.report import write_report
    from pescape.validation.study_run import read_study

    found = read_study(study)
    if title is not None:
        found = dataclasses.replace(found, title=title)
    with progress_bar() as bar:
        shown = bar.add_task("report", total=None, note="")
        page = write_report(
            found,
            study if output is None else output,
            ensemble=ensemble,
            campaign=campaign,
            curve=curve,
            on_finished=lambda done, parts: bar.update(shown, completed=done, total=parts),
        )
    say(f"{page}")


#: Keys that all properties have.
_COMMON = ("kind", "name")


def print_properties() -> None:
    """Print all kinds with their keys and defaults, as tables of a configuration."""
    from rich.markup import escape

    from pescape.cli.output import say
    from pescape.validation import PROPERTIES

    for kind, one in PROPERTIES.items():
        told = " ".join((one.config.__doc__ or "").partition("\n\n")[0].split())
        engine = ", in LAMMPS" if one.engine == "lammps" else ""
        say(f"[bold]{kind}[/]{engine}: {escape(told)}")
        for name, field in one.config.model_fields.items():
            if name not in _COMMON:
                say(f"    {escape(_line(name, field))}")


def _line(name: str, field: FieldInfo) -> str:
    about = f"  # {field.description}" if field.description else ""
    return f"{name} = {_default(field)}{about}"


def _default(field: FieldInfo) -> str:
    """Write a default as TOML has it; dots where one has to be given or depends on others."""
    default = field.get_default(call_default_factory=True, validated_data={})
    if default is PydanticUndefined or default is None:
        return "..."
    if hasattr(default, "model_dump"):
        return "{ ... }"
    return json.dumps(default, default=str)


#: Most rows of a table on the screen.
_ROWS = 60


def _list_references(wanted: bool) -> None:
    if wanted:
        from pescape.cli.output import say
        from pescape.validation.references import read_values, shipped_values

        for name, path in shipped_values().items():
            one = read_values(path).content
            about = f"{len(one.values)} values of {', '.join(one.elements)}"
            say(f"[bold]{name}[/]: {about}; {one.source}")
        raise typer.Exit


def _list_properties(wanted: bool) -> None:
    if wanted:
        print_properties()
        raise typer.Exit


def validate(
    potentials: Annotated[
        list[str],
        typer.Argument(
            metavar="POT...",
            help="Potential files (.mtp, .almtp, .bpnn, .amp), folders of networks, or "
            "calculators as -r takes them; NAME=POT chooses the name.",
        ),
    ],
    config: Annotated[
        ConfigFile, typer.Argument(help="TOML file with [suite] or [[properties]], [thresholds].")
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder to write to.")],
    reference: Annotated[
        list[str] | None,
        typer.Option(
            "-r",
            "--reference",
            help="What potentials are compared with, several times if need be: eam:FILE, "
            "MODULE:CLASS, FILE.py:FUNCTION or a TOML file of a calculator; another potential; "
            "a TOML or JSON file of values; or published values by name.",
        ),
    ] = None,
    species: Annotated[
        str | None, typer.Option(help="Elements in order (Zr,O), for files that name none.")
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option(metavar="KIND", help="Only properties of this kind or name.")
    ] = None,
    without: Annotated[
        list[str] | None, typer.Option(metavar="KIND", help="None of this kind or name.")
    ] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes.")] = None,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Compute again the properties that failed.")
    ] = False,
    status: Annotated[bool, typer.Option("--status", help="Show what is finished.")] = False,
    strict: Annotated[
        bool,
        typer.Option("--strict", help="Exit with 2 if something fails or is beyond its threshold."),
    ] = False,
    list_references: Annotated[  # noqa: ARG001 (its callback does it)
        bool,
        typer.Option(
            "--list-references",
            callback=_list_references,
            is_eager=True,
            help="Show the published values that come with the package.",
        ),
    ] = False,
    list_properties: Annotated[  # noqa: ARG001
        bool,
        typer.Option(
            "--list-properties",
            callback=_list_properties,
            is_eager=True,
            help="Show every kind of property with its keys and their defaults.",
        ),
    ] = False,
) -> None:
    """Compute what potentials predict and compare it with references.

    Leaves in the output folder the report (report.html), all numbers (values.csv, study.json)
    and the structures of every property (structures/). A property that fails is reported as
    failed and stops no other. Killed at any moment and started again, the command goes on where
    it was. It exits with 1 if nothing could be computed, and else with 0; see --strict. What can
    be asked for: --list-properties.

    Example: `pescape validate zr.almtp suite.toml -o report -r eam:Zr_mm.eam.fs -r zr-experiment`,
    where suite.toml holds

    ```toml
    title = "Zirconium"

    [suite]                       # all properties that apply
    crystal = { element = "Zr", lattice = "hcp" }
    without = ["melting"]

    [[properties]]                # others, or in place of the suite's of that name
    kind = "lattice"
    phases = [{ element = "Zr", lattice = "hcp" }]

    [thresholds]                  # by name or pattern, in its unit or in per cent
    "lattice.hcp.a" = 0.02
    "elastic.C*" = "10 %"
    ```

    A file of values names its numbers as the table of the command does:

    ```toml
    name = "experiment"
    source = "Fisher & Renken, Phys. Rev. 135 (1964) A482"
    elements = ["Zr"]

    [values]
    "elastic.C11" = 155.4
    "lattice.hcp.a" = { value = 3.23, unit = "Å", source = "of this one" }
    ```
    """
    from pescape.cli.output import say, warn
    from pescape.validation.config import ValidationConfig
    from pescape.validation.references import source_from, standard_from
    from pescape.validation.study_run import plan_validation

    settings = config.load(ValidationConfig, workers=workers)
    elements = tuple(species.split(",")) if species else ()
    plan = plan_validation(
        settings,
        [source_from(one, elements) for one in potentials],
        [standard_from(one, elements) for one in reference or ()],
        only=only or (),
        without=without or (),
    )
    if status:
        _print_status(plan, output)
        return
    for text in plan.warnings:
        warn(text)
    begin = time.perf_counter()
    study = _run_with_progress(plan, settings, output, config.folder, retry_failed=retry_failed)
    print_study(study)
    say(f"{_reported(study, output)}  ({time.perf_counter() - begin:.0f} s)")
    _exit(study, strict=strict)


def _run_with_progress(
    plan: ValidationPlan,
    settings: ValidationConfig,
    output: Path,
    base: Path,
    *,
    retry_failed: bool,
) -> Study:
    from pescape.cli.output import progress_bar
    from pescape.validation.study_run import run_validation

    with progress_bar() as bar:
        total = len(plan.sources) * len(plan.properties)
        shown = bar.add_task("properties", total=total, note="")
        return run_validation(
            plan,
            settings,
            output,
            base=base,
            retry_failed=retry_failed,
            on_finished=lambda done, _: bar.update(shown, completed=done),
        )


def _reported(study: Study, output: Path) -> Path:
    from pescape.cli.output import progress_bar
    from pescape.report import write_report

    with progress_bar(counted=False) as bar:
        bar.add_task("report", total=None, note="")
        return write_report(study, output)


def _exit(study: Study, *, strict: bool) -> None:
    from pescape.validation.study import violations

    computed = [one.result is not None for subject in study.subjects for one in subject.outcomes]
    if not any(computed):
        raise typer.Exit(1)
    if strict and (violations(study) or not all(computed)):
        raise typer.Exit(2)


def print_study(study: Study) -> None:
    """Print values beside references, errors by group, failures and violated thresholds.

    Parameters
    ----------
    study
        A finished validation.
    """
    from pescape.cli.output import number, table, warn
    from pescape.validation.study import group_errors, violations

    if not study.standards:
        _print_rows(study, study.rows(), None)
    for standard in study.standards:
        known = [row for row in study.rows() if standard.name in row.references]
        _print_rows(study, known, standard)
    groups = [
        (one.group, one.standard, one.subject, one.mean, one.largest, one.unit, one.count)
        for one in group_errors(study)
    ]
    if groups:
        columns = ["of", "reference", "potential", "mean", "largest", "unit", "values"]
        table("absolute errors", columns, groups)
    beyond = [
        (row.name, subject, standard, row.error(subject, standard), str(row.threshold), row.unit)
        for row, subject, standard in violations(study)
    ]
    if beyond:
        columns = ["value", "potential", "reference", "error", "threshold", "unit"]
        table(f"{number(len(beyond))} beyond their thresholds", columns, beyond)
    for one in (outcome for title in study.titles for outcome in study.outcomes(title)):
        if one.failure is not None:
            warn(f"{one.title} of {one.source} failed: {one.failure}")


def _print_rows(study: Study, rows: Sequence[Row], standard: ReferenceData | None) -> None:
    """Print values, beside a reference if there is one."""
    from pescape.cli.output import number, say, table

    names = [subject.name for subject in study.subjects]

    def cell(row: Row, name: str) -> str:
        error = None if standard is None else row.relative_error(name, standard.name)
        told = "" if error is None else f" ({100.0 * error:+.1f} %)"
        beyond = standard is not None and row.holds(name, standard.name) is False
        return f"{'[red]' if beyond else ''}{number(row.values.get(name))}{told}"

    cells = []
    for row in rows[:_ROWS]:
        reference = [] if standard is None else [row.references[standard.name]]
        cells.append((row.name, row.unit, *reference, *(cell(row, name) for name in names)))
    columns = ["value", "unit", *([] if standard is None else [standard.name]), *names]
    table(study.title if standard is None else f"beside {standard.name}", columns, cells)
    if len(rows) > _ROWS:
        say(f"… {len(rows) - _ROWS} more in values.csv")


def _print_status(plan: ValidationPlan, output: Path) -> None:
    from pescape.cli.output import say
    from pescape.validation.study_run import validation_progress

    for name, (done, wanted) in validation_progress(plan, output).items():
        say(f"{name}: {done} of {wanted} properties computed")
