"""The configuration of ``pescape validate``."""

from __future__ import annotations

import difflib
import fnmatch
import re
from typing import TYPE_CHECKING, Annotated

from pydantic import BeforeValidator, Field, PositiveInt, model_validator

from pescape.config import Strict
from pescape.errors import ConfigError
from pescape.executors import ExecutorConfig
from pescape.validation.registry import AnyProperty, check_names, known_values
from pescape.validation.study import Threshold
from pescape.validation.suite import SuiteConfig, check_kinds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pescape.validation.base import PropertyConfig

_PERCENT = re.compile(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*%\s*")


def threshold_of(given: object) -> Threshold:
    """Read a threshold: a number in the unit of the value, or a percentage of the reference."""
    if isinstance(given, Threshold):
        return given
    percent = _PERCENT.fullmatch(given) if isinstance(given, str) else None
    if percent is not None:
        return Threshold(float(percent.group(1)) / 100.0, relative=True)
    if isinstance(given, bool) or not isinstance(given, (int, float)) or given < 0.0:
        raise ValueError("a number in the unit of the value or a text such as '5 %' was expected")
    return Threshold(float(given))


Limit = Annotated[Threshold, BeforeValidator(threshold_of)]


class ValidationConfig(Strict):
    """What is computed of each potential, and how near to the references it has to be."""

    title: str = "Validation"
    workers: PositiveInt = Field(2, description="processes, where there is no table executor")
    executor: ExecutorConfig | None = None
    suite: SuiteConfig | None = Field(None, description="every property that applies to a crystal")
    properties: tuple[AnyProperty, ...] = Field(
        (), description="more; one of the suite's titles takes that one's place"
    )
    thresholds: dict[str, Limit] = Field(
        default_factory=dict,
        description="largest difference, in the unit of the value or as '5 %', by name or pattern",
    )

    @model_validator(mode="after")
    def _whole(self) -> ValidationConfig:
        if self.executor is not None and "workers" in self.model_fields_set:
            raise ValueError("give workers or the table executor, not both")
        check_names(self.properties)
        if not self.chosen():
            raise ValueError(
                "nothing to compute: give [suite] with crystal = { element = ..., lattice = ... }, "
                "or [[properties]]"
            )
        return self

    @property
    def where(self) -> ExecutorConfig:
        """Where tasks run."""
        return self.executor or ExecutorConfig(workers=self.workers)  # type: ignore[call-arg]

    def chosen(
        self, only: Sequence[str] = (), without: Sequence[str] = ()
    ) -> tuple[PropertyConfig, ...]:
        """Give the properties to compute.

        Parameters
        ----------
        only, without
            Kinds or titles to restrict them to, and to leave out.
        """
        wanted = {} if self.suite is None else {one.title: one for one in self.suite.properties}
        wanted |= {one.title: one for one in self.properties}
        kinds = {name for one in wanted.values() for name in _names(one)}
        check_kinds([name for name in (*only, *without) if name not in kinds])
        return tuple(
            one
            for one in wanted.values()
            if (not only or _names(one) & set(only)) and not _names(one) & set(without)
        )

    def limits(self) -> dict[str, Threshold]:
        """Give the thresholds by full name of the value; a full name wins over patterns.

        Raises
        ------
        ConfigError
            A name or pattern is that of no value.
        """
        known = known_values(self.chosen())
        found: dict[str, Threshold] = {}
        # Of two patterns the later one wins; full names are no patterns and come last.
        for pattern in sorted(self.thresholds, key=known.__contains__):
            matching = fnmatch.filter(known, pattern)
            if not matching:
                near = difflib.get_close_matches(pattern, known, n=1)
                hint = f"; did you mean {near[0]!r}?" if near else ""
                raise ConfigError(f"thresholds: {pattern!r} is the name of no value{hint}")
            found |= dict.fromkeys(matching, self.thresholds[pattern])
        return found


def _names(one: PropertyConfig) -> set[str]:
    return {one.title, str(one.kind)}  # type: ignore[attr-defined]
