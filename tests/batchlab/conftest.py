import copy
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # so that the tests share `report_pages`

from report_pages import Page, example

from tinygrad_batch.batchlab.report import render


@pytest.fixture(scope="session")
def diabetes():
    return example("diabetes")


@pytest.fixture(scope="session")
def page(diabetes):
    return Page(render(diabetes))


@pytest.fixture
def data(diabetes):
    return copy.deepcopy(diabetes)


@pytest.fixture
def no_charts(monkeypatch):
    """Take Matplotlib away: what is about words does not wait for pictures."""
    monkeypatch.setitem(sys.modules, "matplotlib", None)
