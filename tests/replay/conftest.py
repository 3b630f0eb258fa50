import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # so that the tests share `programs`, `passing` and `reference`

BACKEND_NAMES = ["reference", "numpy", "native"]


@pytest.fixture(params=BACKEND_NAMES)
def backend(request, monkeypatch):
    """Every backend in turn, and the simplest one that only does what a program says."""
    if request.param == "reference":
        import reference

        from tinygrad_batch.replay.backends import BACKENDS

        monkeypatch.setitem(BACKENDS, "reference", lambda: reference.build)
    if request.param == "native":
        pytest.importorskip("llvmlite")
    return request.param
