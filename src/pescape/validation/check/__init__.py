"""The health check after a fit: what a user who trusts the potential would stumble over."""

from pescape.validation.check.findings import CheckReport, Verdict
from pescape.validation.check.run import CheckSettings, check_potential

__all__ = ["CheckReport", "CheckSettings", "Verdict", "check_potential"]
