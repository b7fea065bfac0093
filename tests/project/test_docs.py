"""The site builds without a warning, and what the pages and docstrings show is what happens.

In docs/*.md, blocks marked ``python`` and ``console`` are run, page by page, in a folder where the quick start has been
run before. A block that cannot be run has the line ``<!-- not run: reason -->`` above it. A shown line of output must
occur in the real one, where any number stands for any other and ``...`` for anything.
"""

from __future__ import annotations

import doctest
import importlib
import json
import os
import pkgutil
import re
import runpy
import shlex
import shutil
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

import iuscore
from iuscore import cli
from tests.conftest import ROOT

DOCS = ROOT / "docs"
QUICK_START = "quickstart"
RUN = ("python", "console")
MODULES = sorted(m.name for m in pkgutil.walk_packages(iuscore.__path__, "iuscore.") if "._c" not in m.name)

_FENCE = re.compile(r"^(?P<mark><!--[^\n]*-->\n+)?```(?P<language>[^\n]*)\n(?P<body>.*?)^```$", re.M | re.S)
_NOT_RUN = re.compile(r"<!-- not run: \w.* -->\n+")
_NUMBER = r"[-+]?\d+(?:\.\d+)?"


@dataclass(frozen=True)
class Block:
    """One fenced block; ``line`` is that of its fence."""

    language: str
    body: str
    line: int
    run: bool


def blocks_of(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    found = []
    for match in _FENCE.finditer(text):
        not_run = _NOT_RUN.fullmatch(match["mark"] or "") is not None
        line = text.count("\n", 0, match.start("language")) + 1
        found.append(Block(match["language"], match["body"], line, match["language"] in RUN and not not_run))
    return found


PAGES = sorted(page.stem for page in DOCS.glob("*.md") if any(block.run for block in blocks_of(page)))

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("name", MODULES)
def test_docstring_examples_show_what_happens(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert doctest.testmod(importlib.import_module(name)).failed == 0


@pytest.fixture(scope="module")
def after_quick_start(tmp_path_factory: pytest.TempPathFactory, one_thread: None) -> Path:
    """A folder with what the quick start leaves behind. The page itself is tested by making it."""
    folder = tmp_path_factory.mktemp("quickstart")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        Runner(QUICK_START, patch).run()
    return folder


@pytest.mark.parametrize("name", PAGES)
def test_page_shows_what_happens(
    name: str, after_quick_start: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if name == QUICK_START:
        assert (after_quick_start / "scores").is_dir()
        return
    folder = tmp_path / "work"
    shutil.copytree(after_quick_start, folder)
    monkeypatch.chdir(folder)
    Runner(name, monkeypatch).run()


class Runner:
    """Runs the blocks of one page in the present folder; they share their Python names."""

    def __init__(self, page: str, patch: pytest.MonkeyPatch) -> None:
        self.path = DOCS / f"{page}.md"
        self.patch = patch
        self.names: dict[str, Any] = {"__name__": "__main__"}
        self.status = 0

    def run(self) -> None:
        for block in blocks_of(self.path):
            where = f"{self.path.name}:{block.line}"
            if not block.run:
                continue
            if block.language == "console":
                self._console(block.body, where)
            elif ">>>" in block.body:
                self._session(block.body, where)
            else:
                exec(compile(block.body, where, "exec"), self.names)

    def _session(self, body: str, where: str) -> None:
        test = doctest.DocTestParser().get_doctest(body, self.names, where, str(self.path), 0)
        messages: list[str] = []
        # The next block uses the names of this one.
        runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS, verbose=False)
        failed = runner.run(test, out=messages.append, clear_globs=False).failed
        self.names.update(test.globs)
        assert failed == 0, "".join(messages)

    def _console(self, body: str, where: str) -> None:
        commands = [part.split("\n") for part in re.split(r"^\$ ", body.replace("\\\n", ""), flags=re.M)[1:]]
        for i, (command, *shown) in enumerate(commands):
            if command == "echo $?":
                assert shown[0] == str(self.status), f"{where}: exit status {self.status}"
                continue
            self.status, output = self._execute(shlex.split(command))
            asks_status = i + 1 < len(commands) and commands[i + 1][0] == "echo $?"
            assert asks_status or self.status == 0, f"{where}: {command}\n{output}"
            for line in filter(None, shown):
                assert re.search(_pattern(line), output, re.M), f"{where}: not printed: {line}\n{output}"

    def _execute(self, words: list[str]) -> tuple[int, str]:
        assert words[0] == "iuscore", f"only iuscore is run, not {words[0]}"
        self.patch.setattr(sys, "argv", words)
        # In this process: starting one costs more than most commands.
        text = StringIO()
        with redirect_stdout(text), redirect_stderr(text), pytest.raises(SystemExit) as end:
            cli.main()
        assert isinstance(end.value.code, int)
        return end.value.code, text.getvalue()


def _pattern(line: str) -> str:
    pieces = re.split(rf"(\.\.\.|{_NUMBER})", line)
    wild = (".*" if p == "..." else _NUMBER if re.fullmatch(_NUMBER, p) else re.escape(p) for p in pieces)
    return "^" + "".join(wild) + "$"


def test_every_block_is_run_or_says_why_not() -> None:
    for page in sorted(DOCS.glob("*.md")):
        text = page.read_text(encoding="utf-8")
        marks = re.findall(r"<!-- not run.*", text)
        skipped = [block for block in blocks_of(page) if block.language in RUN and not block.run]
        assert len(marks) == len(skipped), f"{page.name}: a 'not run' without its block, or without a reason"
    assert QUICK_START in PAGES
    assert len(PAGES) >= 5


@pytest.mark.parametrize(
    ("shown", "printed", "same"),
    [
        ("IUS 0.74 [0.70, 0.78]", "IUS 0.9 [-0.1, 1]", True),
        ("about ... an epoch", "about under 1 s an epoch", True),
        ("a (b)", "a b", False),
        ("farthest: x", "farthest: y", False),
    ],
)
def test_shown_numbers_and_dots_match_any_output(shown: str, printed: str, same: bool) -> None:
    assert (re.search(_pattern(shown), f"before\n{printed}\nafter", re.M) is not None) == same


def test_numbers_page_is_what_the_results_say() -> None:
    made = runpy.run_path(str(DOCS / "generate_numbers.py"))["pages"]()
    assert {path.name for path in made} >= {"numbers.md", "README.md", "perceptual_maps.md"}
    for path, text in made.items():
        assert path.read_text(encoding="utf-8") == text, "run: python docs/generate_numbers.py"
    written = {path for path in made if path.parent.name == "ratios"}
    assert set((DOCS / "ratios").iterdir()) == written


def test_every_headline_has_a_result() -> None:
    program = runpy.run_path(str(DOCS / "generate_numbers.py"))
    page = program["PAGE"].read_text(encoding="utf-8")
    assert [what for what, _, _ in program["HEADLINES"] if f"| {what} |" not in page] == []
    table = program["README"].read_text(encoding="utf-8").partition(program["TABLE"][0])[2]
    assert table.partition(program["TABLE"][1])[0].count("\n") == 2 + program["IN_README"]


def test_features_page_is_what_the_registry_says() -> None:
    program = runpy.run_path(str(DOCS / "generate_features.py"))
    for page, render in (("features.md", "render"), ("glcm_features.md", "render_glcm")):
        made = program[render]()
        assert (DOCS / page).read_text(encoding="utf-8") == made, "run: python docs/generate_features.py"


def test_schemas_are_those_of_the_records() -> None:
    made = runpy.run_path(str(DOCS / "generate_schemas.py"))["pages"]()
    assert set((DOCS / "schemas").iterdir()) == set(made)
    for path, text in made.items():
        assert path.read_text(encoding="utf-8") == text, "run: python docs/generate_schemas.py"


@pytest.fixture
def harness(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module with which the benchmarks write their results."""
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    module = importlib.import_module("_harness")
    monkeypatch.setattr(module, "commit", lambda: "0123456789abcdef+changes")
    return module


def test_benchmarks_run_with_the_given_number_of_threads() -> None:
    """In a separate process, because numba's threads must not have been started yet."""
    pytest.importorskip("numba")
    program = """if True:
        import _harness, numba, numpy, threadpoolctl, torch
        torch.get_num_threads()  # initializes the number of threads before the check below
        for threads in (1, 2, 1):
            _harness.use_threads(threads)
            blas = {found["num_threads"] for found in threadpoolctl.threadpool_info() if found["user_api"] == "blas"}
            print(torch.get_num_threads(), numba.get_num_threads(), max(blas, default=1))
        """
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": str(ROOT / "benchmarks"), "NUMBA_NUM_THREADS": "2"},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.stdout.split("\n")[:3] == ["1 1 1", "2 2 1", "1 1 1"], done.stderr


def test_numbers_page_of_a_run_on_a_gpu(tmp_path: Path, harness: Any) -> None:
    render = runpy.run_path(str(DOCS / "generate_numbers.py"))["render"]
    program = runpy.run_path(str(ROOT / "benchmarks" / "gpu" / "run.py"))
    passed = {name: {"ok": True, "seconds": 1.0} for name in program["STEPS"]}
    runs = {
        "passed": passed,
        "failed: tests": {**passed, "tests": {"ok": False, "exit": 1}},
        "passed, but without memcheck": {**passed, "memcheck": {"ok": True, "skipped": "no compute-sanitizer"}},
        "passed, but without racecheck": {name: step for name, step in passed.items() if name != "racecheck"},
    }
    assert "| `perceptual_maps` | not yet run on a GPU |" in render(tmp_path)
    for verdict, steps in runs.items():
        program["save"](tmp_path / "gpu.json", {"gpu": "Card 1"}, steps)
        date = json.loads((tmp_path / "gpu.json").read_text(encoding="utf-8"))["date"]
        page = render(tmp_path)
        assert f"| `perceptual_maps` | Card 1, {date}, commit 0123456789ab with changes: {verdict} |" in page
        assert "## CUDA kernels on a GPU\n" in page


def test_numbers_page_of_a_benchmark(tmp_path: Path, harness: Any) -> None:
    render = runpy.run_path(str(DOCS / "generate_numbers.py"))["render"]
    rates = {
        "iuscore": harness.Rate(0.5, 0.25, 12345.6, 1.0, 1.0, 1.0, 3, 4),
        "another": harness.Rate(0.25, 0.2, 0.3, 1.0, 1.0, 1.0, 3, 4),
    }
    case = harness.as_case("small", "wall_median", rates)
    disturbed = {**case, "case": "large", "says_little": True, "cores_used_by_other_programs": 1.5}
    alone = harness.as_case("alone", "core_median", rates)
    less = {**alone, "case": "less disturbed", "says_little": False, "cores_used_by_other_programs": 0.6}
    two = harness.as_case("two", "core_median", {**rates, "pair": harness.Rate(3.8, 3.8, 3.8, 2.0, 2.0, 2.0, 3, 4)})
    little = {**two, "cores_used_by_other_programs": 0.1}
    cases = [case, disturbed, less, little]
    content = {"benchmark": "speed of X", "core_build": harness.core_build(), "cases": cases}
    harness.save("speed", content, ("numpy",), tmp_path)
    page = render(tmp_path)
    assert "## Speed of X\n" in page
    assert "commit 0123456789ab with changes." in page
    assert re.search(r"^CPU kernels: (baseline|avx2|avx512)\.$", page, re.M)
    assert re.search(r"^python 3\.[\d.]+, numpy \d[\w.]+\.$", page, re.M)
    assert "| small | 0.5 (0.25 to 12,350) | another | 0.25 (0.2 to 0.3) | 2 |  |" in page
    assert (
        "| large | 0.5 (0.25 to 12,350) | another | 0.25 (0.2 to 0.3) | 2 | other programs kept 1.5 cores busy: says"
        in page
    )
    assert "| other programs kept 0.6 cores busy |" in page
    assert "| two | 1 (1 to 1) | pair | 2 (2 to 2) | **0.5** | pair used 1.9 threads |" in page


def test_results_of_other_processors_stand_side_by_side(tmp_path: Path, harness: Any) -> None:
    case = harness.as_case("small, 1 thread", "core_median", {"iuscore": harness.Rate(*[2.0] * 6, 3, 4)})
    names = []
    for isa in ("avx2", "avx512", "baseline"):
        content = {"benchmark": "x", "core_build": {"cpu_isa": isa}, "cases": [case]}
        names.append(harness.save("speed", content, (), tmp_path).stem)
    assert names == ["speed_avx2", "speed", "speed_baseline"]
    found = {path.stem: json.loads(path.read_text()) for path in tmp_path.glob("*.json")}
    grouped = runpy.run_path(str(DOCS / "generate_numbers.py"))["_by_benchmark"](found)
    assert {name: [c["core_build"]["cpu_isa"] for c in contents] for name, contents in grouped.items()} == {
        "speed": ["avx512", "avx2", "baseline"]
    }


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    # Its own process: Sphinx and its extensions change global state, and have deprecations of their own.
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-n", "-q", "-b", "html"]
    done = subprocess.run(
        [*command, "-d", str(folder / "doctrees"), str(DOCS), str(folder / "html")],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "html"


def test_site_builds_without_warnings(site: Path) -> None:
    for page in DOCS.glob("*.md"):
        assert (site / f"{page.stem}.html").is_file()


def test_site_needs_no_network(site: Path) -> None:
    for page in site.glob("*.html"):
        text = page.read_text(encoding="utf-8")
        assert not re.search(r"<(script|link|img)[^>]+(src|href)=\"(https?:)?//", text), page.name
    assert "<math" in (site / "measure.html").read_text(encoding="utf-8")
