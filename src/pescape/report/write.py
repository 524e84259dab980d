"""The report of a study: a page, its figures and its tables, from files that are there."""

from __future__ import annotations

import contextlib
import itertools
import json
from typing import TYPE_CHECKING, Any

from markupsafe import Markup
from pydantic import TypeAdapter

from pescape.calculators.fit.errors import stated
from pescape.ensemble.learning_curve import LearningCurve
from pescape.ensemble.results import Branch, Spread, read_report
from pescape.errors import DataError, TaskError
from pescape.figures import FIGURES, drawings_of, scene_of
from pescape.figures.bars import overview
from pescape.figures.ensemble import draw_histograms, draw_tree
from pescape.figures.learning import draw_learning_curve, draw_levels, draw_rounds
from pescape.files import write_json, write_text
from pescape.learning.records import read_levels, read_rounds
from pescape.report.page import Extra, Picture, Table, number, picture, rendered, section_of
from pescape.validation.property import PROPERTIES, current_name
from pescape.validation.study import group_errors, grouped_rows, write_values
from pescape.validation.study_run import write_structures

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from pescape.ensemble.learning_curve import CurvePoint
    from pescape.figures import Drawing
    from pescape.learning.records import LevelSummary
    from pescape.report.page import Section
    from pescape.validation.study import Row, Study

PAGE_FILE, JSON_FILE, CSV_FILE = "report.html", "values.json", "values.csv"
# Histograms that a figure holds.
_MAX_HISTOGRAMS = 12
# Errors of potentials in tables, by attribute.
_ERRORS = {
    "energy_rmse": "energy RMSE (meV/atom)",
    "force_rmse": "force RMSE (eV/Å)",
    "test_energy_rmse": "test energy RMSE (meV/atom)",
    "test_force_rmse": "test force RMSE (eV/Å)",
}


def write_report(
    study: Study,
    folder: Path,
    *,
    ensemble: Path | None = None,
    campaign: Path | None = None,
    curve: Path | None = None,
    on_finished: Callable[[int, int], None] | None = None,
) -> Path:
    """Write the page, the figures, the structures and the tables of a study.

    Parameters
    ----------
    study
        What was found.
    folder
        Gets ``report.html``, which needs none of the other files; ``figures/``, each as PNG and
        SVG; ``structures/``; ``values.json`` and ``values.csv``.
    ensemble
        Folder that `pescape ensemble` has written, to report on too.
    campaign
        Folder that `pescape learn` has written, likewise.
    curve
        Folder that `pescape learning-curve` has written, likewise.
    on_finished
        Called with how many parts are finished, and of how many.

    Returns
    -------
    Path
        The page.
    """
    beside = ((_ensemble_section, ensemble), (_campaign_section, campaign), (_curve_section, curve))
    parts = len(study.titles) + 1 + sum(source is not None for _, source in beside)
    done = itertools.count(1)

    def finished() -> None:
        if on_finished is not None:
            on_finished(next(done), parts)

    # First of all, since folders that somebody names may be wrong.
    extras = []
    for make, source in beside:
        if source is not None:
            extras.append(make(source, folder))
            finished()
    write_structures(study, folder)
    rows = [row for group in grouped_rows(study).values() for row in group]
    general = _drawn(overview(study, rows, group_errors(study)), folder)
    finished()
    sections = []
    for title in study.titles:
        sections.append(_property_section(study, title, folder))
        finished()
    write_json(folder / JSON_FILE, [_described(study, row) for row in study.rows()])
    write_values(study, folder / CSV_FILE)
    page = rendered(study, overview=general, sections=sections, extras=extras)
    write_text(folder / PAGE_FILE, page)
    return folder / PAGE_FILE


def _property_section(study: Study, title: str, folder: Path) -> Section:
    scene = scene_of(study, title)
    pictures: list[Picture] = []
    if scene is not None:
        known = PROPERTIES.get(current_name(scene.kind))
        own = None if known is None else known.draw
        pictures = _drawn(drawings_of(scene, own), folder)
    return section_of(study, title, pictures, folder)


def _drawn(drawings: Sequence[Drawing], folder: Path) -> list[Picture]:
    return [
        picture(one.caption, one.size[0], one.write(folder / FIGURES), folder, raster=one.raster)
        for one in drawings
    ]


def _described(study: Study, row: Row) -> dict[str, Any]:
    """JSON of a value; errors and verdicts are by potential and then by reference."""
    potentials = [one.name for one in study.subjects]
    threshold = row.threshold
    return {
        "name": row.name,
        "unit": row.unit,
        "values": dict(row.values),
        "references": dict(row.references),
        "threshold": None if threshold is None else vars(threshold),
        "errors": {p: {r: row.error(p, r) for r in row.references} for p in potentials},
        "within": {p: {r: row.holds(p, r) for r in row.references} for p in potentials},
    }


@contextlib.contextmanager
def _reading(source: Path, command: str, missing: str = "") -> Iterator[None]:
    """Context manager: failures to read what another command leaves become errors that say so."""
    try:
        yield
    except FileNotFoundError as error:
        raise TaskError(f"{error.filename}: {missing}") from None
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{source}: not what `pescape {command}` leaves ({error!r})") from error


def _ensemble_section(source: Path, folder: Path) -> Extra:
    """Tell how what a fit predicts depends on its seed: figures 8 and 9 of Luo et al."""
    content = read_report(source)
    with _reading(source, "ensemble"):
        spreads = [Spread(**one) for one in content["values"]]
        tree = TypeAdapter(Branch).validate_python(content["tree"])
        members = [one["values"] for one in content["members"]]
        pictures = [
            _picture(
                "ensemble-histograms",
                "What the members predict; the reference dotted, the mean as a line",
                8.0,
                folder,
                lambda file: draw_histograms(members, spreads, _histograms(content), file),
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
        tables = (_predicate_table(content), _spread_table(spreads))
    text = f"{len(members)} potentials, fitted to the same data from different seeds."
    return Extra("ensemble", "Ensemble", text, tuple(pictures), tables)


def _histograms(content: dict[str, Any]) -> list[str]:
    """Values to draw: those asked for, else those that predicates are about, else all."""
    known = [one["name"] for one in content["values"]]
    asked = content["config"].get("histograms") or []
    about = " ".join(one["text"] for one in content["predicates"])
    wanted = asked or [name for name in known if name in about] or known
    return [name for name in wanted if name in known][:_MAX_HISTOGRAMS]


def _predicate_table(content: dict[str, Any]) -> Table:
    rows = [
        (one["name"], one["text"], *(str(one[key]) for key in ("alone", "together", "unknown")))
        for one in content["predicates"]
    ]
    columns = ("predicate", "which says", "members", "and all before it", "unknown")
    return Table("Predicates, and how many members satisfy them", columns, tuple(rows), 2)


def _spread_table(spreads: list[Spread]) -> Table:
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


def _campaign_section(source: Path, folder: Path) -> Extra:
    """Tell how a potential was learned: data and errors by level, and round by round."""
    with _reading(source, "learn", "nothing has been learned here yet"):
        levels = read_levels(source)
        rounds, settled = read_rounds(source)
        guard = json.loads((source / "config.json").read_text(encoding="utf-8"))["guard"]
    pictures, tables = [], []
    if levels:
        caption = "Learning curves: the data set and the errors, level by level"
        pictures.append(
            _picture(
                "campaign-levels", caption, 7.0, folder, lambda file: draw_levels(levels, file)
            )
        )
        tables.append(_error_table("Levels of the campaign", ("rounds", "configurations"), levels))
    pictures.append(
        _picture(
            "campaign-rounds",
            "What each round met and learned",
            7.0,
            folder,
            lambda file: draw_rounds(rounds, file, select=guard["select"], stop=guard["stop"]),
        )
    )
    text = f"{len(rounds)} rounds of active learning to {rounds[-1].configurations} configurations"
    text += "." if settled else ", not settled yet."
    return Extra("campaign", "Learning campaign", text, tuple(pictures), tuple(tables))


def _curve_section(source: Path, folder: Path) -> Extra:
    """Tell how errors fall with the size of the data."""
    with _reading(source, "learning-curve", "no learning curve has been finished here yet"):
        curve = TypeAdapter(LearningCurve).validate_json((source / "curve.json").read_bytes())
    text = (
        f"Tested on {curve.test_configurations} configurations that nothing is fitted to; ± one "
        "standard error, from resampling them. Bold: no other potential is better by more than "
        "chance explains (95 % confidence)."
    )
    caption = "Errors by level and size of the data"
    table = _error_table(caption, ("configurations", "atoms"), curve.points)
    shown = _picture(
        "learning-curve",
        "Errors against the number of configurations: solid on the test set, dashed on the "
        "training data",
        7.0,
        folder,
        lambda file: draw_learning_curve(curve, file),
    )
    return Extra("curve", "Learning curve", text, (shown,), (table,))


def _error_table(
    caption: str, counts: tuple[str, str], potentials: Sequence[CurvePoint | LevelSummary]
) -> Table:
    """Table of the errors of potentials, with some of their counts by attribute."""
    integers = ("level", "parameters", *counts)
    rows = tuple(
        (
            *(str(getattr(one, name)) for name in integers),
            *(_error_cell(one, name) for name in _ERRORS),
        )
        for one in potentials
    )
    return Table(caption, (*integers, *_ERRORS.values()), rows)


def _error_cell(one: CurvePoint | LevelSummary, name: str) -> str:
    """Write an error; one on a test set with its standard error, in bold where none is better."""
    if not name.startswith("test_"):
        return number(getattr(one, name))
    text = stated(one, name).replace("-", "−")
    # Levels of a campaign are tested on snapshots of their own: none is the best.
    best = getattr(one, "best", ())
    return Markup("<strong>{}</strong>").format(text) if name in best else text


def _picture(
    name: str, caption: str, width: float, folder: Path, draw: Callable[[Path], None]
) -> Picture:
    files = folder / FIGURES / f"{name}.png", folder / FIGURES / f"{name}.svg"
    for file in files:
        draw(file)
    return picture(caption, width, files, folder)
