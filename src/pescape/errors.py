"""Errors that are the user's to mend, not bugs."""

from __future__ import annotations


class PescapeError(Exception):
    """An error told in one clear line: which file or value, what was expected."""


class ConfigError(PescapeError):
    """A configuration file that cannot be used as it is."""


class DataError(PescapeError):
    """A data set with missing, wrong or unphysical entries."""


class TaskError(PescapeError):
    """A task that failed for a reason outside its inputs."""
