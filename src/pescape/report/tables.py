"""All values beside the references', for machines: JSON with every digit, CSV for tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pescape.files import write_json
from pescape.validation.comparison import write_values

if TYPE_CHECKING:
    from pathlib import Path

    from pescape.validation.study import Row, Study

JSON_FILE, CSV_FILE = "values.json", "values.csv"


def write_tables(study: Study, folder: Path) -> tuple[Path, Path]:
    """Write ``values.json`` and ``values.csv``.

    Parameters
    ----------
    study
        The values.
    folder
        Where to.

    Returns
    -------
    Path, Path
        The two files.
    """
    write_json(folder / JSON_FILE, [_described(study, row) for row in study.rows()])
    write_values(study, folder / CSV_FILE)
    return folder / JSON_FILE, folder / CSV_FILE


def _described(study: Study, row: Row) -> dict[str, Any]:
    """Describe a row; errors and verdicts are by potential and then by reference."""
    potentials = [one.name for one in study.subjects]
    threshold = row.threshold
    return {
        "name": row.name,
        "unit": row.unit,
        "values": dict(row.values),
        "references": dict(row.references),
        "threshold": None if threshold is None else vars(threshold),
        "errors": {p: {r: row.error(p, r) for r in row.references} for p in potentials},
        "within": {p: {r: row.holds(p, r) for r in row.references} for p in potentials},
    }
