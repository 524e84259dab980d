"""The report of a study: a page, its figures and its tables, from the study alone."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from pescape.figures import FIGURES, drawings_of, scene_of
from pescape.figures.bars import overview
from pescape.files import write_text
from pescape.report.extras import campaign_section, curve_section, ensemble_section
from pescape.report.page import picture, rendered, section_of
from pescape.report.tables import download, write_tables
from pescape.validation.registry import PROPERTIES
from pescape.validation.study import group_errors, grouped_rows
from pescape.validation.study_run import write_structures

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from pescape.figures import Drawing
    from pescape.report.page import Picture, Section
    from pescape.validation.study import Study

PAGE_FILE = "report.html"


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
        Folder that `pescape ensemble` has written, to tell about too.
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
    beside = ((ensemble_section, ensemble), (campaign_section, campaign), (curve_section, curve))
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
        sections.append(_section(study, title, folder))
        finished()
    write_tables(study, folder)
    page = rendered(study, overview=general, sections=sections, extras=extras)
    write_text(folder / PAGE_FILE, page)
    return folder / PAGE_FILE


def _section(study: Study, title: str, folder: Path) -> Section:
    scene = scene_of(study, title)
    pictures: list[Picture] = []
    if scene is not None:
        own = PROPERTIES[scene.kind].draw if scene.kind in PROPERTIES else None
        pictures = _drawn(drawings_of(scene, own), folder)
    downloads = {one.source: download(one, folder) for one in study.outcomes(title)}
    there = {name: one for name, one in downloads.items() if one is not None}
    return section_of(study, title, pictures, there)


def _drawn(drawings: Sequence[Drawing], folder: Path) -> list[Picture]:
    return [
        picture(one.caption, one.size[0], one.write(folder / FIGURES), folder, raster=one.raster)
        for one in drawings
    ]
