"""Reports of validations: a page for people, figures, and tables for machines."""

from pescape.report.write import PAGE_FILE, write_report

__all__ = ["PAGE_FILE", "write_report"]
