"""What the members of an ensemble predict, and how that is summed up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pescape.learning.decision_tree import Verdicts, count_satisfied, decision_tree
from pescape.validation.registry import known_values

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pescape.learning.decision_tree import Branch, Satisfied
    from pescape.learning.ensemble import EnsembleConfig
    from pescape.validation.runner import Outcome


@dataclass(frozen=True, eq=False)
class Member:
    """One potential of an ensemble.

    Parameters
    ----------
    number
        From 1.
    seed
        Of its random start.
    potential
        Its file.
    errors
        Root mean square errors by name (meV/atom, eV/Å, GPa): on the training set, and on the
        test set if there is one.
    outcomes
        Of the properties.
    verdicts
        Which predicates hold.
    """

    number: int
    seed: int
    potential: Path
    errors: dict[str, dict[str, float | None]]
    outcomes: tuple[Outcome, ...]
    verdicts: Verdicts

    @property
    def values(self) -> dict[str, float]:
        """Numbers by full name, without those of properties that failed."""
        return {name: value for one in self.outcomes for name, value in one.values.items()}

    @property
    def failures(self) -> dict[str, str]:
        """Why properties failed."""
        return {one.title: one.failure for one in self.outcomes if one.failure is not None}

    @property
    def satisfied(self) -> int:
        """How many predicates hold."""
        return sum(verdict is True for verdict in self.verdicts.values())

    @property
    def rank(self) -> tuple[int, float]:
        """What members are ordered by: predicates satisfied, then the error of forces."""
        force = self.errors.get("test", self.errors["training"])["force_rmse"]
        return -self.satisfied, np.inf if force is None else force


@dataclass(frozen=True)
class Spread:
    """How a value is distributed over an ensemble.

    Parameters
    ----------
    name, unit
        Of the value.
    count
        Members that have it.
    mean, std, least, largest
        Over these; the standard deviation of a sample, 0 of a single member.
    reference
        The reference's value, if known.
    """

    name: str
    unit: str
    count: int
    mean: float | None
    std: float | None
    least: float | None
    largest: float | None
    reference: float | None


@dataclass(frozen=True, eq=False)
class EnsembleReport:
    """What an ensemble has shown.

    Parameters
    ----------
    folder
        Where the files are.
    members
        In order of their numbers.
    reference
        Outcomes of the reference; empty without one.
    satisfied
        Counts of each predicate.
    tree
        Which members satisfy which predicates together.
    spreads
        Of all values.
    best
        Numbers of the members that satisfy the most predicates, least error of forces first.
    """

    folder: Path
    members: tuple[Member, ...]
    reference: tuple[Outcome, ...]
    satisfied: tuple[Satisfied, ...]
    tree: Branch
    spreads: tuple[Spread, ...]
    best: tuple[int, ...]


def report_of(
    config: EnsembleConfig, members: Sequence[Member], reference: Sequence[Outcome], folder: Path
) -> EnsembleReport:
    """Sum up what members predict.

    Parameters
    ----------
    config
        The ensemble's.
    members
        With their verdicts.
    reference
        Its outcomes; empty without one.
    folder
        Where the files of the report will be.
    """
    verdicts = {member.number: member.verdicts for member in members}
    ordered = sorted(members, key=lambda member: member.rank)
    most = ordered[0].satisfied
    return EnsembleReport(
        folder=folder,
        members=tuple(members),
        reference=tuple(reference),
        satisfied=count_satisfied(verdicts, config.predicates),
        tree=decision_tree(verdicts, list(config.predicates)),
        spreads=_spreads(known_values(config.properties), members, reference),
        best=tuple(member.number for member in ordered if member.satisfied == most),
    )


def _spreads(
    names: Sequence[str], members: Sequence[Member], reference: Sequence[Outcome]
) -> tuple[Spread, ...]:
    known = {name: value for one in reference for name, value in one.values.items()}
    units = {
        name: unit
        for outcomes in (reference, *(member.outcomes for member in members))
        for one in outcomes
        for name, unit in one.units.items()
    }
    found = []
    for name in names:
        values = np.array([m.values[name] for m in members if name in m.values])
        some = len(values) > 0
        found.append(
            Spread(
                name,
                units.get(name, ""),
                len(values),
                mean=float(values.mean()) if some else None,
                std=float(values.std(ddof=min(1, len(values) - 1))) if some else None,
                least=float(values.min()) if some else None,
                largest=float(values.max()) if some else None,
                reference=known.get(name),
            )
        )
    return tuple(found)
