"""Drawing: figures of properties and studies, of fits, campaigns and ensembles.

Figures take plain results and compute nothing. They are written as PNG and SVG without dates, so
that equal results leave equal files.
"""

from pescape.figures.curves import drawings_of
from pescape.figures.style import FIGURES, Drawing, Scene, Series, scene_of

__all__ = ["FIGURES", "Drawing", "Scene", "Series", "drawings_of", "scene_of"]
