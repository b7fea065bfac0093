"""Back ends, hypothesis profiles and the folder of shared reference files."""

from __future__ import annotations

import importlib.util
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, Phase, settings
from torch import Tensor

from iuscore import ops
from iuscore.fit import EPUOptions, TextureOptions, TrainingOptions, fit, open_splits
from iuscore.ops import _backend
from iuscore.ops._native import additive_cnn_cuda
from tests import isas
from tests.equivalence.host_build import build_module
from tests.fixtures import Command, class_folders

ROOT = Path(__file__).resolve().parents[1]
REQUIRE_CUDA = os.environ.get("IUSCORE_REQUIRE_CUDA") == "1"

# Images here are small, and two threads that wait for each other on a busy machine are slower than one by far.
torch.set_num_threads(1)
os.environ.setdefault("OMP_NUM_THREADS", "1")  # of subprocesses
# What runs in the background ignores Ctrl-C, as do its children; tests of interruptions need it heard.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Session fixtures do not change between examples; deadlines mean nothing on a busy machine.
_COMMON: dict[str, Any] = {
    "deadline": None,
    "print_blob": True,
    "suppress_health_check": [HealthCheck.too_slow, HealthCheck.data_too_large],
}
settings.register_profile("dev", max_examples=25, **_COMMON)
settings.register_profile("ci", max_examples=100, derandomize=True, **_COMMON)
# On a GPU that is lent for minutes, a failing test does not take the others' time to find a smaller example.
settings.register_profile("gpu", max_examples=25, phases=(Phase.explicit, Phase.generate), **_COMMON)
settings.register_profile("nightly", max_examples=10_000, **_COMMON)
settings.load_profile(os.environ.get("IUSCORE_TEST_PROFILE", "ci" if os.environ.get("CI") else "dev"))


@dataclass(frozen=True)
class BackendUnderTest:
    """An implementation of the ops; `maps` takes images on the CPU and brings the results back to it."""

    name: str
    device: torch.device
    backend: _backend.Backend

    def moved(self, given: Any) -> Any:
        """Tensors, arrays, or a list of them, on the device. Arrays are copied: torch takes no negative strides."""
        if self.device.type == "cpu" or given is None:
            return given
        if isinstance(given, list):
            return [self.moved(one) for one in given]
        return (torch.from_numpy(np.array(given)) if isinstance(given, np.ndarray) else given).to(self.device)

    def maps(self, images: Any, **options: Any) -> tuple[Tensor, Tensor]:
        images = self.moved(images)
        maps, ranges = ops.perceptual_maps(images, backend=self.backend, return_ranges=True, **options)
        assert maps.device.type == ranges.device.type == self.device.type
        return maps.cpu(), ranges.cpu()


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], one_thread: None) -> Command:
    """The command line in this process."""
    return Command(monkeypatch, capsys)


@pytest.fixture(scope="session")
def several_isas() -> tuple[str, ...]:
    """The instruction sets of this machine, the plainest first, for tests that compare them.

    With one alone there is nothing to compare. IUSCORE_REQUIRE_ISA=avx2,avx512 makes it a failure that one is missing.
    """
    found = isas.available()
    required = os.environ.get("IUSCORE_REQUIRE_ISA", "").split(",")
    if lacking := [isa for isa in required if isa and isa not in found]:
        pytest.fail(f"IUSCORE_REQUIRE_ISA: this machine lacks {', '.join(lacking)}; it has {', '.join(found)}")
    if len(found) == 1:
        pytest.skip(f"one instruction set: {found[0]}")
    return found


def _why_not(name: str) -> str:
    if name == "cpu-native":
        return _backend.why_not_cpu()
    if name == "cuda-native":
        return _backend.why_not_cuda()
    return "" if name == "cpu-torch" or torch.cuda.is_available() else "torch sees no CUDA device"


def get_backend(name: str) -> BackendUnderTest:
    if why := _why_not(name):
        if name == "cpu-native":
            pytest.fail(f"the CPU kernels are part of every build: {why}")
        pytest.skip(f"{name}: {why}")
    device, implementation = name.split("-")
    return BackendUnderTest(name, torch.device(device), "native" if implementation == "native" else "torch")


_CUDA = [pytest.param(name, marks=pytest.mark.cuda) for name in ("cuda-native", "cuda-torch")]


@pytest.fixture(scope="session", params=["cpu-native", "cpu-torch", *_CUDA])
def backend(request: pytest.FixtureRequest) -> BackendUnderTest:
    """Every back end in turn."""
    return get_backend(request.param)


@pytest.fixture(scope="session", params=["cpu-native", _CUDA[0]])
def native(request: pytest.FixtureRequest) -> BackendUnderTest:
    """The compiled kernels."""
    return get_backend(request.param)


@pytest.fixture(scope="session")
def cuda_native() -> BackendUnderTest:
    """The compiled CUDA kernels alone; for tests marked cuda."""
    return get_backend("cuda-native")


@pytest.fixture(scope="module")
def host_kernels() -> Iterator[ModuleType]:
    """The CUDA kernels on the host, in the place of the compiled module of additive_cnn."""
    path = build_module()
    spec = importlib.util.spec_from_file_location("host_kernels", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(additive_cnn_cuda, "cuda", lambda: module)
        yield module


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Thread pools cost more than they give on images this small."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def shared_folder() -> Path | None:
    """The folder of reference values and sample images, beside the repository or in it."""
    places = (ROOT / "shared", ROOT.parent / "shared")
    return next((place for place in places if place.is_dir()), None)


@pytest.fixture(scope="session")
def shared() -> Path:
    folder = shared_folder()
    if folder is None:
        pytest.skip("no folder shared/ in the repository or beside it")
    return folder


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "cuda: needs a CUDA device; with IUSCORE_REQUIRE_CUDA=1 a skip is a failure")


ANY_SCALE = ("equivalence", "invariants", "oracles")
"""Folders of tests whose images are drawn on any scale, which the ops warn of; tests/ops tests the warnings."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.parent.name in ANY_SCALE:
            item.add_marker(pytest.mark.filterwarnings("ignore:images. expected (floats|uint16) in:UserWarning"))


def skip_fails(reason: str) -> bool:
    """Whether a skipped test fails where a GPU is required: not where the tool that it compares with is missing."""
    return "could not import " not in reason


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Any:
    report = yield
    marked = item.get_closest_marker("cuda") and not hasattr(report, "wasxfail")
    if REQUIRE_CUDA and marked and report.skipped and skip_fails(str(report.longrepr)):
        report.outcome = "failed"
        report.longrepr = f"IUSCORE_REQUIRE_CUDA=1, but this test was skipped: {report.longrepr}"
    return report


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
        members=2,
    )
    torch.set_num_threads(threads)
    return root / "model"


@pytest.fixture(scope="session")
def texture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A texture model of classes a and b, of three members."""
    root = tmp_path_factory.mktemp("texture")
    real = class_folders(root / "real", n=20, channels=3)
    return fit(open_splits(real), root / "model", model="texture", model_options=TextureOptions(size=(32, 32))).folder
