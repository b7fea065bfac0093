"""benchmarks/gpu without a GPU: its cases, floors, order, files and exits; the calls it times, made on the CPU."""

from __future__ import annotations

import importlib
import json
import re
import runpy
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from iuscore.models import EPUCNN
from iuscore.models.epu import flops
from iuscore.ops import _backend
from tests.conftest import skip_fails
from tests.project.tree import ROOT, python

FOLDER = ROOT / "benchmarks" / "gpu"
WITH_CUDA = set(_backend.OPS) - {"additive_cnn"}  # see networks.py
MODULES = ("cases", "calls", "small", "measure", "networks")


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The modules of the folder; their names are common ones and leave nothing behind."""
    monkeypatch.syspath_prepend(FOLDER)
    yield SimpleNamespace(**{name: importlib.import_module(name) for name in MODULES})
    for name in MODULES:
        sys.modules.pop(name, None)


def instant(calls: list[Callable[[], object]], samples: int) -> dict[str, float]:
    """A timer that calls nothing and reports two milliseconds for each call."""
    assert samples >= 3
    assert all(callable(call) for call in calls)
    return {"median": 2.0, "q1": 1.9, "q3": 2.1, "min": 1.8, "max": 2.2, "calls": len(calls)}


def on_cpu(gpu: Any, free: int = 1 << 30) -> Any:
    made_up = gpu.cases.Gpu("made up", 1e9, 4, 1e9)
    return gpu.measure.Place(torch.device("cpu"), instant, made_up, lambda: free, 1024)


def small_cases(gpu: Any) -> list[Any]:
    """All cases of an op, on small images."""
    tiny = [replace(c, side=min(c.side, 12), batch=min(c.batch, 4), threads=0, graph=False) for c in gpu.cases.cases()]
    return list({repr(case): case for case in tiny}.values())


def test_every_op_is_measured_at_all_sizes_and_contents(gpu: Any) -> None:
    cases = gpu.cases.cases()
    assert {case.op for case in cases} == WITH_CUDA
    assert len({repr(case) for case in cases}) == len(cases)
    for op in set(gpu.cases.VARIANTS) - gpu.cases.OF_ROWS:
        seen = {(case.side, case.batch, case.content) for case in cases if case.op == op}
        sides, batches, contents = (128, 224, 512), (1, 16, 256, 4096, 65536), ("noise", "medical", "constant")
        assert seen == {(s, b, c) for s in sides for b in batches for c in contents}
    for op in gpu.cases.OF_ROWS:
        assert {case.batch for case in cases if case.op == op} == {1, 16, 256, 4096, 65536}
    for op, variants in gpu.cases.VARIANTS.items():
        assert any(case.graph and case.batch == 1 for case in cases if case.op == op)
        for variant in variants:
            assert any(case.torch for case in cases if case.op == op and case.options == variant)


def test_block_widths_are_allowed(gpu: Any) -> None:
    for op, widths in gpu.cases.BLOCK_WIDTHS.items():
        header = (ROOT / "csrc" / "ops" / f"{op.removesuffix('_features')}.h").read_text(encoding="utf-8")
        (most,) = re.findall(r"\bkMax\w*Block = (\d+);", header)
        assert all(width % 32 == 0 and width <= int(most) for width in widths)


def test_usual_cases_come_first_and_the_largest_last(gpu: Any) -> None:
    cases = gpu.cases.cases()
    first = sum(len(variants) for variants in gpu.cases.VARIANTS.values())
    assert all(case.batch == 4096 and case.side in (0, 128) for case in cases[:first])
    sizes = [case.batch * case.input_bytes for case in cases[first:]]
    assert sizes == sorted(sizes)


# Images a second on an H200 (132 multiprocessors, 1.98 GHz, 4.8 TB/s), by hand from the formulas.
@pytest.mark.parametrize(
    ("op", "options", "side", "limit", "million_a_second"),
    [
        # 132 * 16 * 1.98e9 / (3 * 128^2)
        ("color_histogram", {"space": "rgb", "bins": 256}, 128, "atomics", 85.08),
        # 132 * 16 * 1.98e9 / (4 * 128^2)
        ("glcm_features", {"levels": 32}, 128, "atomics", 63.81),
        # 4.8e12 / (128^2 + 4 * 256^2 * 4)
        ("glcm", {"levels": 256}, 128, "bytes", 4.507),
        # 132 * 16 * 1.98e9 / ((6 + 8) * 128^2)
        ("texture_stats", {"kind": "color"}, 128, "atomics", 18.23),
        # 4.8e12 / (512^2 * 3 + 4 * 128^2 * 2 + 16)
        ("perceptual_maps", {"kind": "color"}, 512, "bytes", 5.231),
        # 132 * 128 * 1.98e9 / (2 * 8 * 3 * 64 * (128 + 64))
        ("resize", {"size": (64, 64)}, 128, "arithmetic", 56.72),
        # 132 * 128 * 1.98e9 / (27^2 * 64 * 108)
        ("image_views", {"kind": "color"}, 128, "arithmetic", 6.639),
        # 132 * 128 * 1.98e9 / (64 * (64 + 64 * 32 + 32))
        ("additive_mlp", {"inputs": 64, "hidden": (64, 32)}, 0, "arithmetic", 243.8),
        # 4.8e12 / (4 * 64 + 4 * 65)
        ("additive_lookup", {"inputs": 64, "points": 4097}, 0, "bytes", 9302.3),
    ],
)
def test_floors_are_those_of_bandwidth_and_arithmetic(
    gpu: Any, op: str, options: dict[str, Any], side: int, limit: str, million_a_second: float
) -> None:
    h200 = gpu.cases.Gpu("H200", 4.8e12, 132, 1.98e9)
    case = gpu.cases.Case(op, side, 1000, "noise", options)
    floor = gpu.cases.floor(case, h200)
    assert floor["limit"] == limit
    assert 1e3 * 1000 / floor["floor_ms"] / 1e6 == pytest.approx(million_a_second, rel=1e-3)


def test_all_cases_run_and_are_written(gpu: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """On the CPU, on small images, with a timer that runs nothing: options, inputs, comparison, rows, file."""
    todo = small_cases(gpu)
    contents: list[dict[str, Any]] = []
    assert gpu.measure.measure_all(todo, on_cpu(gpu), 1.0, contents.append, lambda: 0.0)
    assert len(contents) == len(todo) + 1
    rows = json.loads(json.dumps(contents[-1]))["rows"]
    assert {row["op"] for row in rows} == WITH_CUDA
    assert [row.get("error") or row.get("skipped") for row in rows] == [None] * len(todo)
    assert all(row["equals_cpu"] for row in rows)
    for row in rows:
        assert row["items_per_s"] == pytest.approx(row["batch"] / 2e-3)
        assert row["share_of_floor"] == pytest.approx(row["floor_ms"] / 2.0)
        assert ("times_torch" in row) == row["torch"]
    assert len(capsys.readouterr().out.splitlines()) == len(todo)
    page = runpy.run_path(str(ROOT / "docs" / "generate_numbers.py"))["_on_gpu"]
    usual = [{**row, "batch": 4096} for row in rows]
    shown = "\n".join(page({"steps": {"measure": {"measurements": {"rows": usual, "left_out": [{}, {}]}}}}))
    assert "### perceptual_maps on the GPU" in shown
    assert "For want of time 2 cases, the largest, were left out." in shown
    assert shown.count("\n| ") == len(rows) + 2 * len(WITH_CUDA)


def test_the_torch_implementations_run_too(gpu: Any) -> None:
    for case in small_cases(gpu):
        if case.torch:
            inputs = gpu.calls.make_inputs(case, 2, torch.device("cpu"))
            results = [gpu.calls.tensors_of(gpu.calls.call(case, inputs, which)) for which in ("native", "torch")]
            native, plain = ([(x.shape, x.dtype) for x in tensors] for tensors in results)
            assert native == plain


def test_small_launches_equal_the_cpu(gpu: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert gpu.small.run(torch.device("cpu")) == 0
    monkeypatch.setattr(gpu.small, "same_bits", lambda one, other: False)
    assert gpu.small.run(torch.device("cpu")) == 1


def test_a_wrong_image_late_in_a_large_batch_is_noticed(gpu: Any) -> None:
    case = gpu.cases.Case("resize", 8, 700, "noise", {"size": (4, 4)})
    images = gpu.calls.make_inputs(case, 700, torch.device("cpu"))
    found = gpu.calls.call(case, images, "native")
    assert gpu.measure.begins_and_repeats(found, found[:3], case)
    for image in (1, 600, 699):
        wrong = found.clone()
        wrong[image, 0, 0, 0] += 1
        assert not gpu.measure.begins_and_repeats(wrong, found[:3], case)


def test_what_the_torch_form_cannot_do_is_no_fault_of_the_kernel(gpu: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise RuntimeError("out of memory")

    case = replace(next(c for c in gpu.cases.cases() if c.torch and c.op == "resize"), side=12, batch=4, threads=0)
    monkeypatch.setattr(gpu.measure, "_torch", fails)
    row = gpu.measure.measure(replace(case, graph=False), on_cpu(gpu))
    assert row["equals_cpu"]
    assert row["native_ms"]["median"] == 2.0
    assert row["torch_error"] == "RuntimeError: out of memory"


def test_what_does_not_fit_is_skipped_with_a_reason(gpu: Any) -> None:
    case = gpu.cases.Case("perceptual_maps", 512, 65536, "noise", {"kind": "color"})
    row = gpu.measure.measure(case, on_cpu(gpu, free=10_000_000_000))
    assert row["skipped"] == "needs 60,130,590,720 bytes, 4,500,000,000 may be used"


def test_out_of_time_the_largest_cases_are_left_out_and_named(gpu: Any, capsys: pytest.CaptureFixture[str]) -> None:
    todo = small_cases(gpu)[:6]
    ticks = iter(range(100))
    contents: list[dict[str, Any]] = []
    assert gpu.measure.measure_all(todo, on_cpu(gpu), 1.5, contents.append, lambda: float(next(ticks)))
    assert len(contents[-1]["rows"]) == 2
    assert [case["side"] for case in contents[-1]["left_out"]] == [case.side for case in todo[2:]]
    assert "out of time: 4 cases, the largest, were left out" in capsys.readouterr().out


def test_a_failing_case_is_a_row_and_a_failure(gpu: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    contents: list[dict[str, Any]] = []
    wrong = gpu.cases.Case("perceptual_maps", 12, 2, "noise", {"kind": "violet"})
    good = gpu.cases.Case("perceptual_maps", 12, 2, "noise", {"kind": "gray"})
    assert not gpu.measure.measure_all([wrong, good], on_cpu(gpu), 1.0, contents.append, lambda: 0.0)
    assert contents[-1]["rows"][0]["error"].startswith("ValueError: kind: expected 'color' or 'gray'")
    assert contents[-1]["rows"][1]["equals_cpu"]
    monkeypatch.setattr(gpu.measure, "same_bits", lambda one, other: False)
    assert not gpu.measure.measure_all([good], on_cpu(gpu), 1.0, contents.append, lambda: 0.0)


def test_medical_images_are_45_percent_black(gpu: Any) -> None:
    case = gpu.cases.Case("glcm", 128, 3, "medical", {"levels": 32})
    images = gpu.calls.make_inputs(case, 3, torch.device("cpu"))
    assert images.shape == (3, 128, 128, 1)
    assert images.dtype == torch.uint8
    assert 0.44 < float((images == 0).float().mean()) < 0.48


@pytest.mark.parametrize(
    ("program", "options", "status", "text"),
    [
        ("run.py", [], 2, "no GPU run: torch sees no CUDA device on this machine"),
        ("run.py", ["--out"], 2, "expected one argument"),
        ("run.py", ["--site", "nowhere"], 2, "--site: expected a folder with an installed iuscore and its CUDA module"),
        ("run.py", ["--plan"], 0, "memcheck  70 s at most"),
        ("measure.py", [], 2, "one of the arguments --out --small is required"),
        ("measure.py", ["--out", "x.json", "--seconds", "soon"], 2, "invalid float value"),
    ],
)
def test_mistakes_and_missing_gpus_set_the_exit_status(
    program: str, options: list[str], status: int, text: str
) -> None:
    if program == "run.py" and not options and torch.cuda.is_available():
        pytest.skip("there is a GPU")
    done = python(FOLDER / program, *options)
    assert done.returncode == status, done.stdout + done.stderr
    assert text in done.stdout + done.stderr


def test_budgets_leave_measuring_its_time() -> None:
    program = runpy.run_path(str(FOLDER / "run.py"))
    assert program["TOTAL"] < 480.0
    assert program["TOTAL"] - sum(program["BUDGET"].values()) >= 70.0
    assert list(program["STEPS"]) == [*program["BUDGET"], "measure"]


def test_what_a_step_started_ends_with_it(tmp_path: Path) -> None:
    run = runpy.run_path(str(FOLDER / "run.py"))["run"]
    child = f"import time; time.sleep(3); open({str(tmp_path / 'late')!r}, 'w')"
    code = f"import subprocess, sys; print('begun', flush=True); subprocess.run([sys.executable, '-c', {child!r}])"
    report = run([sys.executable, "-c", code], 1.5)
    assert (report["ok"], report["exit"]) == (False, "out of time")
    assert report["output"].endswith("begun\n")
    time.sleep(3.5)
    assert not (tmp_path / "late").exists()


def test_results_are_short_and_the_log_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = runpy.run_path(str(FOLDER / "run.py"))
    monkeypatch.setenv("IUSCORE_COMMIT", "0123abcd")
    steps = {"build": {"ok": True, "output": "a" * 9000, "pip": {"ok": False, "output": "b" * 9000}}}
    program["save"](tmp_path / "gpu.json", {}, steps)
    results = json.loads((tmp_path / "gpu.json").read_text())
    assert results["commit"] == "0123abcd"
    assert results["steps"]["build"]["output"] == "a" * program["KEPT_CHARACTERS"]
    assert (tmp_path / "gpu.log").read_text() == "b" * 9000 + "\n" + "a" * 9000


@pytest.mark.parametrize(("printed", "ok"), [("Error: Device not supported", True), ("Invalid write", False)])
def test_a_machine_without_sanitizers_fails_nothing(
    printed: str, ok: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "compute-sanitizer"
    program.write_text(f"#!/bin/sh\necho $PYTORCH_NO_CUDA_MEMORY_CACHING '{printed}'; exit 9\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    report = runpy.run_path(str(FOLDER / "run.py"))["sanitizer"]("memcheck")(tmp_path, 20.0)
    assert report["ok"] is ok
    assert ("skipped" in report) is ok
    assert f"1 {printed}" in report["output"]


def test_all_tests_marked_cuda_are_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests of every folder run, and a file that cannot be imported hides no other file."""
    step = runpy.run_path(str(FOLDER / "run.py"))["tests"]
    asked: list[Any] = []
    monkeypatch.setitem(step.__globals__, "run", lambda *arguments: asked.extend(arguments) or {})
    step(tmp_path, 7.0)
    command, seconds, env = asked
    places = command[3 : command.index("-m", 3)]
    assert (command[1:3], places[-1], command[3 + len(places) :][:2]) == (["-m", "pytest"], "tests", ["-m", "cuda"])
    assert not any(option.startswith("--ignore") for option in command)  # all packages are installed here
    assert (seconds, env["IUSCORE_REQUIRE_CUDA"]) == (7.0, "1")


def test_a_missing_tool_to_compare_with_is_no_failure() -> None:
    with pytest.raises(pytest.skip.Exception) as missing:
        pytest.importorskip("a_tool_that_is_nowhere")
    assert not skip_fails(str(("x.py", 3, f"Skipped: {missing.value}")))
    assert skip_fails("('x.py', 3, 'Skipped: cuda-native: not built')")


def networks_on_cpu(gpu: Any) -> Any:
    return gpu.networks.Place(torch.device("cpu"), called, 1e9, lambda module: module, side=8, batch=3, largest_base=32)


def called(calls: list[Callable[[], object]], samples: int) -> dict[str, float]:
    for call in calls:
        call()
    return instant(calls, samples)


def test_networks_are_compared(gpu: Any, host_kernels: object) -> None:
    """Compared programs, steps, rows and page; each call is made once."""
    contents: list[Any] = []
    content = gpu.networks.measure_all(networks_on_cpu(gpu), lambda: True, contents.append)
    (model,) = json.loads(json.dumps(content))["models"]
    assert list(model["rates"]) == [gpu.networks.OURS, gpu.networks.EXACT, gpu.networks.EAGER, gpu.networks.COMPILED]
    for row in model["rates"].values():
        assert row["images_per_s"] == pytest.approx(1500.0)
        assert row["off"] < 0.05
    assert model["rates"][gpu.networks.EXACT]["off"] < 1e-6
    assert model["times_compiled"] == 1.0
    names = [row["step"] for row in content["steps"]]
    assert [name.split()[0] for name in names].count("pool") == 3
    assert [name.split()[0] for name in names].count("rectify") == 3
    assert (names[0], names[-1]) == ("first convolution", "linear layers")
    assert not any("error" in row for row in content["steps"])
    assert gpu.networks.is_right(content)
    for wrong in ({"off": 0.1}, {"error": "out of memory"}):
        there = {**model["rates"], gpu.networks.OURS: wrong}
        assert not gpu.networks.is_right({**content, "models": [{**model, "rates": there}]})
    page = runpy.run_path(str(ROOT / "docs" / "generate_numbers.py"))["_networks"]
    shown = "\n".join(page({"steps": {"networks": {"networks": content}}}))
    assert "### EPU-CNN on the GPU, base 32, 8 x 8" in shown
    assert "iuscore over torch.compile: 1." in shown


def test_networks_that_are_out_of_time_are_named(gpu: Any) -> None:
    ticks = iter([False, False, False, False])
    content = gpu.networks.measure_all(networks_on_cpu(gpu), lambda: next(ticks), lambda found: None)
    assert content["left_out"] == [
        "base 32: iuscore, fast, iuscore, exact, PyTorch, bfloat16 autocast", "steps",
        "base 32: torch.compile, bfloat16 autocast", "steps",
    ]  # fmt: skip


def test_the_floor_of_the_network_is_that_of_its_operations(gpu: Any) -> None:
    """32.6 thousand images a second, of the published model."""
    with torch.device("meta"):
        model = EPUCNN(["a", "b"], size=(128, 128), base_channels=64, hidden_units=32)
    assert gpu.networks.RATE / flops(model) == pytest.approx(32_600, rel=2e-3)


def test_sanitizers_run_the_network_kernels(gpu: Any, host_kernels: object) -> None:
    got, expected = gpu.small.network_kernels(torch.device("cpu"))
    assert torch.equal(got, expected)


def test_files_whose_packages_are_missing_are_left_out(tmp_path: Path) -> None:
    missing = runpy.run_path(str(FOLDER / "run.py"))["missing"]
    file = tmp_path / "test_x.py"
    file.write_text("import torch\nfrom tests import a\nimport not_there.b\nfrom not_here import c\n")
    assert missing(file) == ["not_here", "not_there"]
    assert not missing(ROOT / "tests/equivalence/test_glcm.py")
