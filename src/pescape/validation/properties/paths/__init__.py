"""Minimum-energy paths: migration of vacancies and interstitials, and paths that are given."""
