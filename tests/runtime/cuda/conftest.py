"""A driver without a GPU, compiled once."""

from pathlib import Path

import pytest

from .fake_driver import built


@pytest.fixture(scope="session")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built(tmp_path_factory.mktemp("driver"))
