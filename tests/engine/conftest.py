"""A small set of images and a finished run of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fixtures import Command, again, class_folders


@pytest.fixture
def images(tmp_path: Path) -> Path:
    return class_folders(tmp_path / "images", n=6, seed=5)


@pytest.fixture
def done(command: Command, fitted: Path, images: Path, tmp_path: Path) -> Path:
    """A finished run of three parts."""
    out = tmp_path / "out"
    assert again(command, fitted, images, out, "--shard-size", 4).status == 0
    return out
