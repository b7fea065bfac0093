"""The command line, and a model fitted once, for the tests in this folder."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from iuscore.fit import EPUOptions, fit
from iuscore.fit.splits import open_splits
from iuscore.fit.training import TrainingOptions
from tests.fixtures import Command, class_folders


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], one_thread: None) -> Command:
    return Command(monkeypatch, capsys)


@pytest.fixture(scope="session")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A gray model of classes a and b, of two members; its images are in the sibling folder real."""
    root = tmp_path_factory.mktemp("fitted")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    real = class_folders(root / "real", n=16)
    fit(
        open_splits(real),
        root / "model",
        model_options=EPUOptions(size=(16, 16), base_channels=2, hidden_units=4),
        training=TrainingOptions(epochs=10, learning_rate=5e-2, patience=10),
        seeds=2,
    )
    torch.set_num_threads(threads)
    return root / "model"
