"""Figures of properties and of whole studies, each as PNG and as SVG."""

from pescape.figures.base import FIGURES, Drawing, Scene, Series, scene_of
from pescape.figures.registry import DRAWERS, drawings_of

__all__ = ["DRAWERS", "FIGURES", "Drawing", "Scene", "Series", "drawings_of", "scene_of"]
