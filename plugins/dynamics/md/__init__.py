"""Molecular dynamics that explores: temperature ramps and their thermostats."""
