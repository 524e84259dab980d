"""A validation from beginning to end: what ``pescape validate`` runs."""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ase.io

from pescape.config import Strict
from pescape.errors import ConfigError
from pescape.files import atomic, write_json
from pescape.tasks.cluster import open_executor
from pescape.tasks.store import TaskStore, exclusive
from pescape.validation.compounds import Solid
from pescape.validation.property import known_values
from pescape.validation.references import KnownValues
from pescape.validation.runner import property_task, run_properties
from pescape.validation.sources import PotentialFile
from pescape.validation.study import (
    KnownValue,
    ReferenceData,
    Study,
    TestedPotential,
    structures_file,
    write_values,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from concurrent.futures import Executor

    from pescape.labelling import Reference
    from pescape.validation.config import ValidationConfig
    from pescape.validation.property import PropertyConfig
    from pescape.validation.runner import PropertyOutcome
    from pescape.validation.study import Threshold

STUDY_FILE = "study.json"
VALUES_FILE = "values.csv"


@dataclass(frozen=True, eq=False)
class ValidationPlan:
    """What is going to be computed and compared.

    Parameters
    ----------
    title
        Of the report.
    subjects
        The potentials.
    standards
        What they are compared with, the most important first.
    properties
        In the order of the report.
    thresholds
        By full name of the value.
    warnings
        What of the references is not going to be used.
    """

    title: str
    subjects: tuple[PotentialFile | Reference, ...]
    standards: tuple[PotentialFile | Reference | KnownValues, ...]
    properties: tuple[PropertyConfig, ...]
    thresholds: Mapping[str, Threshold]
    warnings: tuple[str, ...] = ()

    @property
    def sources(self) -> tuple[PotentialFile | Reference, ...]:
        """Everything that properties are computed of."""
        computed = (one for one in self.standards if not isinstance(one, KnownValues))
        return (*self.subjects, *computed)


def plan_validation(
    config: ValidationConfig,
    subjects: Sequence[PotentialFile | Reference],
    standards: Sequence[PotentialFile | Reference | KnownValues] = (),
    *,
    only: Sequence[str] = (),
    without: Sequence[str] = (),
) -> ValidationPlan:
    """See to it that everything fits together before anything is computed.

    Parameters
    ----------
    config
        The properties and thresholds.
    subjects
        The potentials.
    standards
        What they are compared with.
    only, without
        Kinds or titles of properties to restrict the validation to, and to leave out.

    Raises
    ------
    ConfigError
        Two have the same name, a threshold is that of no value, a reference has nothing in
        common with the properties, or a program or a file is missing.
    """
    counts = Counter(one.name for one in (*subjects, *standards))
    twice = [name for name, count in counts.items() if count > 1]
    if twice:
        raise ConfigError(f"two are called {twice[0]!r}: tell them apart by NAME=PATH")
    properties = config.chosen(only, without)
    if not properties:
        raise ConfigError("no property is left to compute")
    elements = set(_elements(properties))
    names = known_values(properties)
    known = [one for one in standards if isinstance(one, KnownValues)]
    warnings = tuple(text for one in known for text in one.check(names, elements))
    limits = {name: limit for name, limit in config.limits().items() if name in names}
    plan = ValidationPlan(
        config.title, tuple(subjects), tuple(standards), properties, limits, warnings
    )
    for source in plan.sources:
        _check(source, elements)
    return plan


def _check(source: PotentialFile | Reference, elements: set[str]) -> None:
    """Read a potential, or look whether a calculator's programs are there."""
    if isinstance(source, PotentialFile):
        with source.session():
            return
    source.check(elements)


def _elements(settings: object) -> Iterator[str]:
    """Find the elements that configurations are about."""
    if isinstance(settings, Solid):
        yield from settings.composition
    elif isinstance(settings, (list, tuple)):
        for one in settings:
            yield from _elements(one)
    elif isinstance(settings, Strict):
        for name in ("element", "elements", "species"):
            given = getattr(settings, name, ())
            yield from (given,) if isinstance(given, str) else (given or ())
        for name in type(settings).model_fields:
            yield from _elements(getattr(settings, name))


def run_validation(
    plan: ValidationPlan,
    config: ValidationConfig,
    folder: Path,
    *,
    executor: Executor | None = None,
    base: Path | str = ".",
    retry_failed: bool = False,
    on_finished: Callable[[int, int], None] | None = None,
) -> Study:
    """Compute what is not computed yet, compare, and write everything.

    Parameters
    ----------
    plan
        What is computed and compared.
    config
        Where tasks run.
    folder
        Output: ``study.json``, ``values.csv``, ``structures/``; ``tasks/`` and ``unfinished/``
        hold what resuming needs.
    executor
        Where the tasks run, instead of what `config` says.
    base
        Where relative file names of the configuration start.
    retry_failed
        Compute again what failed.
    on_finished
        Called with how many properties are finished, and of how many.

    Returns
    -------
    Study
        Outcomes of properties that failed say why.
    """
    folder = folder.resolve()
    with contextlib.ExitStack() as stack:
        stack.enter_context(exclusive(folder))
        outcomes = run_properties(
            plan.sources,
            plan.properties,
            TaskStore(folder / "tasks"),
            executor or stack.enter_context(open_executor(config.where, folder, base=base)),
            unfinished=folder / "unfinished",
            retry_failed=retry_failed,
            on_finished=on_finished,
        )
        study = _study(plan, outcomes)
        write_json(folder / STUDY_FILE, study.to_json())
        write_values(study, folder / VALUES_FILE)
        write_structures(study, folder)
    return study


def _study(plan: ValidationPlan, outcomes: list[list[PropertyOutcome]]) -> Study:
    computed = {source.name: tuple(own) for source, own in zip(plan.sources, outcomes, strict=True)}
    units = {name: unit for own in outcomes for one in own for name, unit in one.units.items()}
    subjects = (
        TestedPotential(one.name, describe(one), one.identity, computed[one.name])
        for one in plan.subjects
    )
    standards = (
        one.standard(units)
        if isinstance(one, KnownValues)
        else _computed_standard(one, computed[one.name])
        for one in plan.standards
    )
    return Study(plan.title, tuple(subjects), tuple(standards), plan.thresholds)


def _computed_standard(
    source: PotentialFile | Reference, outcomes: tuple[PropertyOutcome, ...]
) -> ReferenceData:
    values = {name: KnownValue(value) for one in outcomes for name, value in one.values.items()}
    return ReferenceData(source.name, describe(source), values, outcomes)


def describe(source: PotentialFile | Reference) -> str:
    """Say what a potential or a calculator is.

    Parameters
    ----------
    source
        The potential or calculator.
    """
    if not isinstance(source, PotentialFile):
        parts = [source.recipe, source.version]
        parts += [_setting(k, v) for k, v in source.settings.items() if v and k != "sha256"]
        return ", ".join(one for one in parts if one)
    path = Path(source.path)
    with source.session() as calculator:
        potential: Any = calculator.potential  # type: ignore[attr-defined]
    elements = " ".join(potential.species)
    return f"{path.name}: {potential.description}, {elements}, cut-off {potential.cutoff:g} Å"


def _setting(key: str, value: object) -> str:
    return f"{key} {' '.join(map(str, value)) if isinstance(value, list) else value}"


def write_structures(study: Study, folder: Path) -> None:
    """Write the structures of every property of everybody as extxyz, atomically.

    Parameters
    ----------
    study
        The study.
    folder
        In which the folder of structures is.
    """
    for one in (outcome for title in study.titles for outcome in study.outcomes(title)):
        if one.result is not None and one.result.structures:
            with atomic(folder / structures_file(one.source, one.title)) as temporary:
                ase.io.write(temporary, list(one.result.structures), format="extxyz")


def read_study(folder: Path) -> Study:
    """Read the study that a validation has left in a folder.

    Parameters
    ----------
    folder
        Of the validation.

    Raises
    ------
    ConfigError
        There is none, or it is not what it should be.
    """
    path = folder / STUDY_FILE
    try:
        return Study.from_json(json.loads(path.read_text(encoding="utf-8")))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ConfigError(f"{path}: there is none; `pescape validate` leaves it") from error
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"{path}: not a study as `pescape validate` leaves it") from error


def validation_progress(plan: ValidationPlan, folder: Path) -> dict[str, tuple[int, int]]:
    """Count, for each potential and reference, the properties that are finished, and all.

    Parameters
    ----------
    plan
        What is computed.
    folder
        Of the validation.
    """
    store = TaskStore(folder.resolve() / "tasks", read_only=True)
    return {
        source.name: (
            sum(store.finished(property_task(source, one)) for one in plan.properties),
            len(plan.properties),
        )
        for source in plan.sources
    }
