"""Sampling campaigns: structures evolve, their images become data sets."""

from pescape.sampling.campaign import SampleResult, Watcher, sample
from pescape.sampling.config import SampleConfig

__all__ = ["SampleConfig", "SampleResult", "Watcher", "sample"]
