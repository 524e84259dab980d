"""Contour exploration: walks along surfaces of constant potential energy."""
