"""One property by every potential and reference of a study: what the figures of it show."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pescape.figures.style import Style, plain, styles

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pescape.validation.property import Curve, Grid, PropertyResult
    from pescape.validation.study import Study


@dataclass(frozen=True, eq=False)
class Series:
    """One property, computed by one potential or by a reference.

    Parameters
    ----------
    name
        The potential's.
    result
        What it found.
    style
        How it is drawn.
    reference
        Whether it is what others are compared with.
    """

    name: str
    result: PropertyResult
    style: Style
    reference: bool = False

    def value(self, name: str) -> float | None:
        """Look a number up; None if it is not there.

        Parameters
        ----------
        name
            Within the property.
        """
        found = self.result.values.get(name)
        return None if found is None else found.value


@dataclass(frozen=True, eq=False)
class Scene:
    """One property by everyone who has it: all that its figures show.

    Parameters
    ----------
    title
        The name of the property in this study.
    kind
        Which property, a name of the registry.
    series
        Those that did not fail: potentials first, then computed references.
    known
        Numbers from files, by the reference's name and the value's name within the property.
    styles
        Of everyone in the study.
    """

    title: str
    kind: str
    series: tuple[Series, ...]
    known: Mapping[str, Mapping[str, float]]
    styles: Mapping[str, Style]

    @property
    def labels(self) -> list[str]:
        """Labels of the potentials, as legends name them, in order."""
        return [plain(one.name) for one in self.series]

    @property
    def units(self) -> dict[str, str]:
        """Units by the value's name within the property, in order."""
        return {
            name: value.unit for one in self.series for name, value in one.result.values.items()
        }

    @property
    def curve_names(self) -> tuple[str, ...]:
        """Names of all curves that anyone has, in order."""
        return tuple(dict.fromkeys(n for one in self.series for n in one.result.curves))

    @property
    def grid_names(self) -> tuple[str, ...]:
        """Names of all maps that anyone has, in order."""
        return tuple(dict.fromkeys(n for one in self.series for n in one.result.grids))

    def curves(self, name: str) -> list[tuple[Series, Curve]]:
        """Look curves of a name up, each with whose it is.

        Parameters
        ----------
        name
            One of `curve_names`.
        """
        return [(one, one.result.curves[name]) for one in self.series if name in one.result.curves]

    def grids(self, name: str) -> list[tuple[Series, Grid]]:
        """Look maps of a name up, each with whose it is.

        Parameters
        ----------
        name
            One of `grid_names`.
        """
        return [(one, one.result.grids[name]) for one in self.series if name in one.result.grids]


def scene_of(study: Study, title: str) -> Scene | None:
    """Gather a property from a study; None if it failed for everyone.

    Parameters
    ----------
    study
        What was found.
    title
        Name of the property in the study.
    """
    looks = styles(study)
    computed = {one.name for one in study.standards}
    series = tuple(
        Series(one.source, one.result, looks[one.source], one.source in computed)
        for one in study.outcomes(title)
        if one.result is not None
    )
    if not series:
        return None
    known = {
        standard.name: {
            name.removeprefix(f"{title}."): value.value
            for name, value in standard.values.items()
            if name.startswith(f"{title}.")
        }
        for standard in study.standards
        if not standard.outcomes
    }
    return Scene(title, series[0].result.kind, series, known, looks)
