"""From a potential-energy surface to a trustworthy machine-learned potential."""

__version__ = "0.1.0"
