"""Properties as tasks: computed in parallel, kept, and never in each other's way."""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pescape.errors import TaskError
from pescape.files import fingerprint, write_json
from pescape.tasks import Task
from pescape.validation.registry import PROPERTIES
from pescape.validation.result import PropertyResult

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from concurrent.futures import Executor

    from pescape.tasks import TaskStore
    from pescape.validation.base import PropertyConfig
    from pescape.validation.sources import CalculatorSource

RESULT_FILE = "result.json"
# What comes from outside and another attempt may mend; the store decides how often.
_OUTER = (OSError, MemoryError, TaskError)


@dataclass(frozen=True, eq=False)
class Outcome:
    """What became of one property of one potential.

    Parameters
    ----------
    source
        The potential's name.
    title
        The name of the property, which its values begin with.
    result
        None if it failed.
    failure
        Why.
    """

    source: str
    title: str
    result: PropertyResult | None
    failure: str | None = None

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

    def to_json(self) -> dict[str, Any]:
        """Give what JSON can hold."""
        result = None if self.result is None else self.result.to_json()
        return {
            "source": self.source,
            "property": self.title,
            "failure": self.failure,
            "result": result,
        }


def property_task(source: CalculatorSource, config: PropertyConfig) -> Task:
    """Compute one property; what source and property are called does not change the key."""
    kind = str(config.kind)  # type: ignore[attr-defined]
    settings = config.model_dump(mode="json", exclude={"name"})
    key = fingerprint(kind, PROPERTIES[kind].version, settings, source.identity)
    return Task("property", key, _compute, (source, config))


def _compute(folder: Path, source: CalculatorSource, config: PropertyConfig) -> None:
    """Leave the result, or why there is none."""
    content: Mapping[str, Any]
    try:
        with (
            tempfile.TemporaryDirectory() as scratch,
            source.session(Path(scratch)) as calculator,
        ):
            kind = str(config.kind)  # type: ignore[attr-defined]
            content = PROPERTIES[kind].compute(calculator, config).to_json()
    except _OUTER:
        raise
    except Exception as error:  # noqa: BLE001 (calculators raise anything)
        content = {"failure": str(error).strip() or type(error).__name__}
    write_json(folder / RESULT_FILE, content)


def read_outcome(folder: Path, source: CalculatorSource, config: PropertyConfig) -> Outcome:
    """Read what a finished task has left."""
    content = json.loads((folder / RESULT_FILE).read_text(encoding="utf-8"))
    if "failure" in content:
        return Outcome(source.name, config.title, None, content["failure"])
    return Outcome(source.name, config.title, PropertyResult.from_json(content))


def run_properties(
    sources: Sequence[CalculatorSource],
    configs: Sequence[PropertyConfig],
    store: TaskStore,
    executor: Executor,
    *,
    retry_failed: bool = False,
    on_finished: Callable[[int, int], None] | None = None,
) -> list[list[Outcome]]:
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
    retry_failed
        Compute again what failed.
    on_finished
        Called with how many are finished, and of how many.

    Returns
    -------
    list of list of Outcome
        For each source, in the order of `configs`. A property that fails is told in its outcome
        and stops no other.
    """
    pairs = [(source, config) for source in sources for config in configs]
    tasks = [property_task(source, config) for source, config in pairs]
    if retry_failed:
        _discard_failed(tasks, store)

    def tell(done: int, _: Task) -> None:
        if on_finished is not None:
            on_finished(done, len(tasks))

    trouble: str | None = None
    try:
        store.run(tasks, executor, tell)
    except TaskError as error:  # of outer reasons: not kept, so that another run tries again
        trouble = str(error)
    outcomes = []
    for (source, config), task in zip(pairs, tasks, strict=True):
        if store.finished(task):
            outcomes.append(read_outcome(store.folder(task), source, config))
        else:
            outcomes.append(Outcome(source.name, config.title, None, trouble or "not computed"))
    width = len(configs)
    return [outcomes[start : start + width] for start in range(0, len(outcomes), width)]


def _discard_failed(tasks: Sequence[Task], store: TaskStore) -> None:
    for task in {task.key: task for task in tasks}.values():
        if store.finished(task):
            kept = json.loads((store.folder(task) / RESULT_FILE).read_text(encoding="utf-8"))
            if "failure" in kept:
                store.discard(task)
