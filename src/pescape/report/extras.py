"""Sections about what lies beside a validation: an ensemble, a campaign, a learning curve."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter

from pescape.ensemble.learning_curve import LearningCurve
from pescape.ensemble.results import Spread, read_report
from pescape.ensemble.tree import Branch
from pescape.errors import DataError, TaskError
from pescape.figures import FIGURES
from pescape.figures.ensemble import draw_histograms, draw_tree
from pescape.figures.learning import draw_learning_curve, draw_levels, draw_rounds
from pescape.learning.records import read_levels, read_rounds
from pescape.report.page import Extra, Picture, Table, picture
from pescape.report.tables import number

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pescape.learning.records import LevelSummary

# Histograms that a figure holds.
_MOST = 12
_ERRORS = (
    "energy RMSE (meV/atom)",
    "force RMSE (eV/Å)",
    "test energy RMSE (meV/atom)",
    "test force RMSE (eV/Å)",
)


def ensemble_section(source: Path, folder: Path) -> Extra:
    """Tell how what a fit predicts depends on its seed: figures 8 and 9 of Luo et al.

    Parameters
    ----------
    source
        Folder that `pescape ensemble` has written.
    folder
        Of the report.
    """
    content = read_report(source)
    try:
        spreads = [Spread(**one) for one in content["values"]]
        tree = TypeAdapter(Branch).validate_python(content["tree"])
        members = [one["values"] for one in content["members"]]
        pictures = [
            _picture(
                "ensemble-histograms",
                "What the members predict; the reference dotted, the mean as a line",
                8.0,
                folder,
                lambda file: draw_histograms(members, spreads, _shown(content), file),
            )
        ]
        if content["predicates"]:
            pictures.append(
                _picture(
                    "ensemble-tree",
                    "How many members satisfy which predicates together",
                    9.0,
                    folder,
                    lambda file: draw_tree(tree, file),
                )
            )
        tables = (_predicates(content), _spreads(spreads))
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{source}: not what `pescape ensemble` leaves ({error!r})") from error
    text = f"{len(members)} potentials, fitted to the same data from different seeds."
    return Extra("ensemble", "Ensemble", text, tuple(pictures), tables)


def _shown(content: dict[str, Any]) -> list[str]:
    """Name the values of the histograms: those asked for, or those with most spread to see."""
    known = [one["name"] for one in content["values"]]
    asked = content["config"].get("histograms") or []
    about = " ".join(one["text"] for one in content["predicates"])
    wanted = asked or [name for name in known if name in about] or known
    return [name for name in wanted if name in known][:_MOST]


def _predicates(content: dict[str, Any]) -> Table:
    rows = [
        (one["name"], one["text"], *(str(one[key]) for key in ("alone", "together", "unknown")))
        for one in content["predicates"]
    ]
    columns = ("predicate", "which says", "members", "and all before it", "unknown")
    return Table("Predicates, and how many members satisfy them", columns, tuple(rows), 2)


def _spreads(spreads: list[Spread]) -> Table:
    rows = [
        (
            one.name,
            one.unit,
            str(one.count),
            *(number(x) for x in (one.mean, one.std, one.least, one.largest, one.reference)),
        )
        for one in spreads
    ]
    columns = ("value", "unit", "members", "mean", "deviation", "least", "largest", "reference")
    return Table("Distribution of every value over the members", columns, tuple(rows), 2)


def campaign_section(source: Path, folder: Path) -> Extra:
    """Tell how a potential was learned: data and errors by level, and round by round.

    Parameters
    ----------
    source
        Folder that `pescape learn` has written.
    folder
        Of the report.
    """
    try:
        levels = read_levels(source)
        rounds, settled = read_rounds(source)
        guard = json.loads((source / "config.json").read_text(encoding="utf-8"))["guard"]
    except FileNotFoundError as error:
        raise TaskError(f"{error.filename}: nothing has been learned here yet") from None
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{source}: not what `pescape learn` leaves ({error!r})") from error
    pictures = []
    if levels:
        pictures.append(
            _picture(
                "campaign-levels",
                "Learning curves: the data set and the errors, level by level",
                7.0,
                folder,
                lambda file: draw_levels(levels, file),
            )
        )
    pictures.append(
        _picture(
            "campaign-rounds",
            "What each round met and learned",
            7.0,
            folder,
            lambda file: draw_rounds(rounds, file, select=guard["select"], stop=guard["stop"]),
        )
    )
    last = rounds[-1]
    text = f"{len(rounds)} rounds of active learning to {last.configurations} configurations"
    text += "." if settled else ", not settled yet."
    tables = (_levels(levels),) if levels else ()
    return Extra("campaign", "Learning campaign", text, tuple(pictures), tables)


def curve_section(source: Path, folder: Path) -> Extra:
    """Tell how errors fall with the size of the data.

    Parameters
    ----------
    source
        Folder that `pescape learning-curve` has written.
    folder
        Of the report.
    """
    try:
        content = (source / "curve.json").read_bytes()
        curve = TypeAdapter(LearningCurve).validate_json(content)
        text = f"Tested on {curve.test_configurations} configurations that nothing is fitted to."
        table = _points(curve)
    except FileNotFoundError as error:
        raise TaskError(f"{error.filename}: no learning curve has been finished here yet") from None
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"{source}: not what `pescape learning-curve` leaves ({error!r})"
        ) from error
    shown = _picture(
        "learning-curve",
        "Errors against the number of configurations: solid on the test set, dashed on the "
        "training data",
        7.0,
        folder,
        lambda file: draw_learning_curve(curve, file),
    )
    return Extra("curve", "Learning curve", text, (shown,), (table,))


def _points(curve: LearningCurve) -> Table:
    columns = ("level", "parameters", "configurations", "atoms", *_ERRORS)
    rows = [
        (
            *(str(x) for x in (one.level, one.parameters, one.configurations, one.atoms)),
            number(one.energy_rmse),
            number(one.force_rmse),
            number(one.test_energy_rmse),
            number(one.test_force_rmse),
        )
        for one in curve.points
    ]
    return Table("Errors by level and size of the data", columns, tuple(rows))


def _levels(levels: list[LevelSummary]) -> Table:
    columns = ("level", "parameters", "rounds", "configurations", *_ERRORS)
    rows = [
        (
            *(str(x) for x in (one.level, one.parameters, one.rounds, one.configurations)),
            number(one.energy_rmse),
            number(one.force_rmse),
            number(one.test_energy_rmse),
            number(one.test_force_rmse),
        )
        for one in levels
    ]
    return Table("Levels of the campaign", columns, tuple(rows))


def _picture(
    name: str, caption: str, width: float, folder: Path, draw: Callable[[Path], None]
) -> Picture:
    files = folder / FIGURES / f"{name}.png", folder / FIGURES / f"{name}.svg"
    for file in files:
        draw(file)
    return picture(caption, width, files, folder)
