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
