"""Which members of an ensemble satisfy which predicates, and which of them together."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text
from rich.tree import Tree

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

#: What a member makes of each predicate: it holds, it does not, or a property failed (None).
Verdicts = dict[str, bool | None]


@dataclass(frozen=True)
class Branch:
    """Members that agree on all predicates so far.

    Parameters
    ----------
    label
        How it differs from its siblings: ``NAME``, ``not NAME`` or ``NAME unknown``; of the
        root, ``members``.
    holds
        Whether the predicate of its label holds; None of the root and where it is unknown.
    members
        Their numbers.
    branches
        What the next predicate parts them into; none of them is empty.
    """

    label: str
    holds: bool | None
    members: tuple[int, ...]
    branches: tuple[Branch, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Give what JSON can hold."""
        return {
            "label": self.label,
            "holds": self.holds,
            "count": len(self.members),
            "members": list(self.members),
            "branches": [branch.to_json() for branch in self.branches],
        }


def decision_tree(verdicts: Mapping[int, Verdicts], predicates: Sequence[str]) -> Branch:
    """Part members by one predicate after the other.

    Parameters
    ----------
    verdicts
        What each member makes of each predicate, by the member's number.
    predicates
        Names, in the order of the tree's levels.

    Returns
    -------
    Branch
        The root. A path along predicates that hold counts how many members satisfy all of them.
    """
    return Branch("members", None, tuple(verdicts), _parted(verdicts, predicates))


def _parted(verdicts: Mapping[int, Verdicts], predicates: Sequence[str]) -> tuple[Branch, ...]:
    if not predicates:
        return ()
    name, *rest = predicates
    branches = []
    for holds, label in ((True, name), (False, f"not {name}"), (None, f"{name} unknown")):
        own = {number: one for number, one in verdicts.items() if one[name] is holds}
        if own:
            branches.append(Branch(label, holds, tuple(own), _parted(own, rest)))
    return tuple(branches)


@dataclass(frozen=True)
class Satisfied:
    """How many members satisfy a predicate.

    Parameters
    ----------
    name, text
        Of the predicate.
    alone
        Members that satisfy it.
    together
        Members that satisfy it and all before it.
    unknown
        Members with a property it needs that failed.
    """

    name: str
    text: str
    alone: int
    together: int
    unknown: int


def count_satisfied(
    verdicts: Mapping[int, Verdicts], predicates: Mapping[str, str]
) -> tuple[Satisfied, ...]:
    """Count members that satisfy each predicate, alone and with all before it.

    Parameters
    ----------
    verdicts
        What each member makes of each predicate, by the member's number.
    predicates
        Their texts by name, in order.
    """
    counts, left = [], set(verdicts)
    for name, text in predicates.items():
        own = {number for number, one in verdicts.items() if one[name] is True}
        left &= own
        unknown = sum(one[name] is None for one in verdicts.values())
        counts.append(Satisfied(name, text, len(own), len(left), unknown))
    return tuple(counts)


class _NarrowTree(Tree):
    """Guides of three characters, which is how ``tree.txt`` has always been drawn."""

    TREE_GUIDES = [("   ", "│  ", "├─ ", "└─ ")] * 3


def tree_text(root: Branch) -> str:
    """Draw a tree with characters, a line for each branch.

    Parameters
    ----------
    root
        Of the tree.
    """
    text = io.StringIO()
    console = Console(file=text, width=10_000, color_system=None)
    console.print(_grown(root, f"{len(root.members)} members"), highlight=False)
    return text.getvalue().rstrip("\n")


def _grown(branch: Branch, label: str) -> Tree:
    tree = _NarrowTree(Text(label))
    for inner in branch.branches:
        tree.children.append(_grown(inner, f"{inner.label}: {len(inner.members)}"))
    return tree
