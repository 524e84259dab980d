import numpy as np
import pytest
from matplotlib.figure import Figure

from pescape.figures import drawings_of, scene_of
from pescape.figures.bars import overview
from pescape.figures.style import styles
from pescape.validation.study import group_errors, grouped_rows


def test_maps_of_all_potentials_share_their_colors(study):
    maps = drawings_of(scene_of(study, "plane"))[1]
    figure = Figure(layout="constrained")
    maps.draw(figure)
    limits = {axes.collections[0].get_clim() for axes in figure.axes[:3]}
    assert len(limits) == 1


def test_potentials_keep_their_colors_and_references_are_dark(study):
    looks = styles(study)
    colors = [looks[one.name].color for one in study.subjects]
    assert len(set(colors)) == 3
    assert not {looks[one.name].color for one in study.standards} & set(colors)
    for title in study.titles:
        shown = scene_of(study, title)
        assert shown is None or all(one.style == looks[one.name] for one in shown.series)


def test_a_property_that_failed_for_everyone_has_no_figures(study):
    assert scene_of(study, "unknown") is None


def test_the_overview_shows_percent_of_the_first_reference(study):
    rows = [row for group in grouped_rows(study).values() for row in group]
    relative, means = overview(study, rows, group_errors(study))
    assert (relative.name, means.name) == ("relative-errors", "mean-errors")
    figure = Figure(layout="constrained")
    relative.draw(figure)
    (axes,) = figure.axes
    shown = {x for line in axes.lines for x in np.atleast_1d(line.get_xdata())}
    expected = 100.0 * (study.subjects[0].values["elastic.C11"] / 168.4 - 1.0)
    assert any(x == pytest.approx(expected) for x in shown)
