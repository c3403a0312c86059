"""A Ray session for end-to-end tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from actors.runtime import ray_session


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A Ray session; yields its folder of logs."""
    logs = tmp_path_factory.mktemp("logs")
    with ray_session(logs):
        yield logs
