import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared():
    """Folder of reference data that need not be there: ../shared, or where PESCAPE_SHARED says."""
    beside = Path(__file__).resolve().parents[1].parent / "shared"
    folder = Path(os.environ.get("PESCAPE_SHARED", beside))
    if not folder.is_dir():
        pytest.skip(f"no reference data: {folder} does not exist")
    return folder
