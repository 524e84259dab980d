"""Properties as tasks: computed in parallel, kept, and never in each other's way."""

from __future__ import annotations

import functools
import json
import shutil
import tempfile
import time
from collections.abc import Mapping  # noqa: TC003 (pydantic reads annotations)
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from pescape.errors import TaskError
from pescape.files import fingerprint, write_json
from pescape.tasks.store import Task, task_kind
from pescape.validation.property import PROPERTIES, PropertyResult, Stored
from pescape.validation.sources import lammps_model

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from concurrent.futures import Executor

    from pescape.tasks.store import TaskStore
    from pescape.validation.property import PropertyConfig
    from pescape.validation.sources import CalculatorSource

_PROPERTY = task_kind("property")
RESULT_FILE = "result.json"
# What comes from outside and another attempt may mend; the store decides how often.
_TRANSIENT_ERRORS = (OSError, MemoryError, TaskError)
# What numbers may depend on, besides the potential.
_PROGRAMS = ("pescape", "ase", "numpy", "scipy", "lammps", "phonopy", "spglib", "matscipy")


@dataclass(frozen=True, eq=False)
class PropertyOutcome(Stored):
    """What became of one property of one potential.

    Parameters
    ----------
    source
        The potential's name.
    title
        The name of the property, which its values begin with.
    failure
        Why there is no result.
    result
        None if it failed.
    provenance
        How the numbers came to be: ``identity`` of the potential, ``seconds`` it took,
        ``versions`` of the programs.
    """

    source: str
    title: Annotated[str, Field(alias="property")]
    failure: str | None = None
    result: PropertyResult | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)

    @property
    def values(self) -> dict[str, float]:
        """Numbers by full name; none if it failed."""
        if self.result is None:
            return {}
        return {f"{self.title}.{name}": v.value for name, v in self.result.values.items()}

    @property
    def units(self) -> dict[str, str]:
        """Units by full name; none if it failed."""
        if self.result is None:
            return {}
        return {f"{self.title}.{name}": v.unit for name, v in self.result.values.items()}


def property_task(
    source: CalculatorSource, config: PropertyConfig, unfinished: Path | None = None
) -> Task:
    """Compute one property; what source and property are called does not change the key.

    Parameters
    ----------
    source, config
        The potential and the property.
    unfinished
        Folder in which long computations keep what they have, to go on after a kill.
    """
    kind = config.kind_name
    settings = config.model_dump(mode="json", exclude={"name", *config.incidental})
    key = fingerprint(kind, PROPERTIES[kind].version, settings, source.identity)
    working = None if unfinished is None else unfinished / key
    return Task(_PROPERTY, key, _compute, (source, config, working))


def _compute(
    folder: Path, source: CalculatorSource, config: PropertyConfig, working: Path | None
) -> None:
    """Leave the result, or why there is none, and how it came to be."""
    content: Mapping[str, Any]
    begin = time.perf_counter()
    try:
        content = {"result": _computed(source, config, working).to_json()}
    except _TRANSIENT_ERRORS:
        raise
    except Exception as error:  # noqa: BLE001 (calculators raise anything)
        content = {"failure": str(error).strip() or type(error).__name__}
    provenance = {
        "identity": source.identity,
        "seconds": round(time.perf_counter() - begin, 2),
        "versions": _versions(),
    }
    write_json(folder / RESULT_FILE, {**content, "provenance": provenance})
    if working is not None:
        shutil.rmtree(working, ignore_errors=True)


def _computed(
    source: CalculatorSource, config: PropertyConfig, working: Path | None
) -> PropertyResult:
    wanted = PROPERTIES[config.kind_name]
    with tempfile.TemporaryDirectory() as scratch:
        if wanted.engine == "lammps":
            lasting = Path(scratch) if working is None else working
            lasting.mkdir(parents=True, exist_ok=True)
            return wanted.compute(lammps_model(source, Path(scratch)), config, lasting)
        with source.session(Path(scratch)) as calculator:
            return wanted.compute(calculator, config)


@functools.cache
def _versions() -> dict[str, str]:
    return {name: metadata.version(name) for name in _PROGRAMS}


def _read_outcome(
    folder: Path, source: CalculatorSource, config: PropertyConfig
) -> PropertyOutcome:
    """Read what a finished task has left in its folder."""
    content = json.loads((folder / RESULT_FILE).read_text(encoding="utf-8"))
    names = {"source": source.name, "property": config.title}
    return PropertyOutcome.from_json({"result": None, "failure": None, **content, **names})


def run_properties(
    sources: Sequence[CalculatorSource],
    configs: Sequence[PropertyConfig],
    store: TaskStore,
    executor: Executor,
    *,
    unfinished: Path | None = None,
    retry_failed: bool = False,
    on_finished: Callable[[int, int], None] | None = None,
) -> list[list[PropertyOutcome]]:
    """Compute properties of potentials; those computed before are read.

    Parameters
    ----------
    sources
        Potentials, references.
    configs
        The properties.
    store
        Keeps results.
    executor
        Where they are computed.
    unfinished
        Folder in which long computations keep what they have, to go on after a kill.
    retry_failed
        Compute again what failed.
    on_finished
        Called with how many are finished, and of how many.

    Returns
    -------
    list of list of PropertyOutcome
        For each source, in the order of `configs`. A property that fails stops no other; its
        outcome says why.
    """
    pairs = [(source, config) for source in sources for config in configs]
    tasks = [property_task(source, config, unfinished) for source, config in pairs]
    if retry_failed:
        _discard_failed(tasks, store)

    def report(done: int, _: Task) -> None:
        if on_finished is not None:
            on_finished(done, len(tasks))

    trouble: str | None = None
    seconds = [PROPERTIES[config.kind_name].seconds for _, config in pairs]
    longest_first = sorted(range(len(tasks)), key=seconds.__getitem__, reverse=True)
    try:
        store.run([tasks[index] for index in longest_first], executor, report)
    except TaskError as error:  # of outer reasons: not kept, so that another run tries again
        trouble = str(error)
    outcomes = []
    for (source, config), task in zip(pairs, tasks, strict=True):
        if store.finished(task):
            outcomes.append(_read_outcome(store.folder(task), source, config))
        else:
            outcomes.append(PropertyOutcome(source.name, config.title, trouble or "not computed"))
    width = len(configs)
    return [outcomes[start : start + width] for start in range(0, len(outcomes), width)]


def _discard_failed(tasks: Sequence[Task], store: TaskStore) -> None:
    for task in {task.key: task for task in tasks}.values():
        if store.finished(task):
            kept = json.loads((store.folder(task) / RESULT_FILE).read_text(encoding="utf-8"))
            if "failure" in kept:
                store.discard(task)
