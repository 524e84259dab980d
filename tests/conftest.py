import os
from pathlib import Path

import pytest

# Threads of the linear algebra only get in each other's way at the size of these matrices. Read
# when numpy is loaded, which happens after this.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def shared():
    """Folder of reference data that need not be there: ../shared, or where PESCAPE_SHARED says."""
    beside = Path(__file__).resolve().parents[1].parent / "shared"
    folder = Path(os.environ.get("PESCAPE_SHARED", beside))
    if not folder.is_dir():
        pytest.skip(f"no reference data: {folder} does not exist")
    return folder


def strained_and_rattled(parents, count, *, seed=0, **options):
    """Derive structures from crystals, turn by turn, each with chance of its own."""
    import numpy as np

    from pescape.plugins.structures import rattled_crystal

    return [
        rattled_crystal(parents[index % len(parents)], seed=child, **options)
        for index, child in enumerate(np.random.SeedSequence(seed).spawn(count))
    ]
