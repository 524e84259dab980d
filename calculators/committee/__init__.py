"""Predicted errors: committees of resampled potentials, calibrated on held-out data."""
