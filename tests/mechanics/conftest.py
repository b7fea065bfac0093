"""The command line, for the tests in this folder."""

from __future__ import annotations

import pytest

from tests.fixtures import Command


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], one_thread: None) -> Command:
    return Command(monkeypatch, capsys)
