"""Renders what says how fast something is, from benchmarks/results/*.json, so that no figure is ever typed by hand.

    python docs/generate_numbers.py

writes docs/numbers.md (a row for every case), docs/ratios/<file>.md (for the page of an op) and the table of README.md.
What every peer reached in every setting stays in the results files.

What is read of a results file:

    date, commit, machine, versions      of every file: save() in benchmarks/_harness.py
    benchmark, core_build: {cpu_isa}    title and CPU kernels
    items    what rates count; images where it is not there
    cases: [{case, ranked_by, rates, iuscore_over}]    as_case() in benchmarks/_harness.py
    cases: [{says_little, cores_used_by_other_programs}]    how far other programs were in the way
    tables: [{title, columns, rows}]    figures that are no rates
    gpu: name, kernels: {op: verdict}    of a run on a GPU: save() in benchmarks/gpu/run.py
    steps: {measure: {measurements: {rows, left_out}}}    measure_all() in benchmarks/gpu/measure.py
    steps: {networks: {networks: {models, steps, left_out}}}    measure_all() in benchmarks/gpu/networks.py

A file without cases is listed with its head and nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
PAGE = ROOT / "docs" / "numbers.md"
RATIOS = ROOT / "docs" / "ratios"
README = ROOT / "README.md"
TABLE = ("<!-- table of docs/generate_numbers.py -->\n", "<!-- end of the table -->\n")  # around it, in the README

# Rows of the table that the page of numbers begins with: what is done, results file, case on one thread. The first
# three are the README's.
HEADLINES = (
    ("all texture features of a color image", "texture_stats", "128x128, color"),
    ("10 co-occurrence properties, 32 levels", "glcm", "ten properties, 32 levels, smooth"),
    ("EPU-CNN's forward pass, base 64", "epu_forward", "base 64, float32"),
    ("10 co-occurrence properties, 256 levels", "glcm", "ten properties, 256 levels, smooth"),
    ("13 Haralick features, 256 levels, with AVX2 only", "glcm_avx2", "thirteen features, 256 levels, smooth"),
    ("three 64-bin histograms of a color image", "color_histogram", "rgb, 3 x 64 bins, medical"),
    ("the same, of pure noise", "color_histogram", "rgb, 3 x 64 bins, noise"),
    ("four perceptual maps of a color image", "perceptual_maps", "128 -> 128, color"),
    ("64 networks of one input, a row", "additive_mlp", "forward, 64 groups of 1 input, hidden (64, 32)"),
    ("EPU-CNN's forward pass, base 32", "epu_forward", "base 32, float32"),
    ("EPU-CNN's forward pass, base 64, in 16-bit integers", "epu_forward", "base 64, reduced precision"),
)
IN_README = 3

_INTRODUCTION = """\
<!-- Made by docs/generate_numbers.py from benchmarks/results; do not edit. -->

# Measured numbers

Every figure here comes from a file in `benchmarks/results`, written by a program in `benchmarks/` that you can run
yourself; the file holds every peer in every setting. All peers ran in turns with iuscore, on the machine named: in one
process, but for whole jobs, where each is a process of its own. A rate is a median, followed by the lowest and the
highest. "Times" is the rate of iuscore over that of the fastest peer; where the peer was faster, it is bold. On another
machine the figures differ, and ratios below about 1.3 mean nothing.
"""

_ISAS = ("_avx2", "_baseline")  # at the end of a file's name: save() in benchmarks/_harness.py
_OURS = ("iuscore", "networks by iuscore")  # what names of no peers begin with
_USUAL_BATCH = 4096
_MUCH = 0.2  # of a core, used by others or by threads that should not be there
_UNITS = {
    "core_median": "per second of processor time on one core",
    "wall_median": "per second by the clock",
}


def render(results: Path = RESULTS, kernels: Path = ROOT / "csrc" / "cuda") -> str:
    """The page.

    Args:
        results: folder of results files; may be missing or empty.
        kernels: folder of the CUDA kernels; every .cu file is one.
    """
    found = list(_contents(results).items())
    names = sorted(path.stem for path in kernels.glob("*.cu"))
    sections = [_INTRODUCTION, "## At a glance\n", headlines(dict(found))]
    sections += ["## CUDA kernels\n", *_kernels(names, [content for _, content in found])]
    if not found:
        sections.append("## Benchmarks\n\nNo results file yet.\n")
    for name, content in found:
        sections += _benchmark(name, content)
    return "\n".join(sections)


def ratios(content: Mapping[str, Any]) -> str:
    """How many times a peer's rate iuscore reaches on one thread, case by case: for the page of an op."""
    cases = [case for case in content["cases"] if case["ranked_by"] == "core_median"]
    peers = list(dict.fromkeys(peer for case in cases for peer in _peers(case)))
    rows = [
        (_bare(case), _count(case["rates"]["iuscore"]["core_median"]), *(_times(case, peer) for peer in peers))
        for case in cases
    ]
    text = (
        f"Items per second on one core ({content['core_build']['cpu_isa']}, {content['date']}), and how many times "
        "the rate of each peer in the same run that is. Spread, versions and more threads: {doc}`/numbers`.\n"
    )
    return f"{text}\n{_table(('case', 'iuscore', *peers), rows)}"


def headlines(found: Mapping[str, Mapping[str, Any]], most: int | None = None) -> str:
    """The first ``most`` rows of HEADLINES, from results files by name; what has no file has no row."""
    rows = []
    for what, name, bare in HEADLINES[:most]:
        for case in found.get(name, {}).get("cases", ()):
            if _bare(case) == bare and case["ranked_by"] == "core_median":
                against = ", ".join(f"{_times(case, peer)} {peer}" for peer in list(_peers(case))[:3])
                rows.append((what, _count(case["rates"]["iuscore"]["core_median"]), against))
    return _table(("on one core", "per second", "times the rate of"), rows)


def _by_benchmark(found: Mapping[str, Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    """Results on one core, those of processors without AVX-512 behind those of the same benchmark with it."""
    grouped: dict[str, list[Mapping[str, Any]]] = {}
    for name, content in sorted(found.items(), key=lambda item: (item[0].endswith(_ISAS), item[0])):
        if _on_one_core(content):
            grouped.setdefault(name.removesuffix(_ISAS[0]).removesuffix(_ISAS[1]), []).append(content)
    return grouped


def _on_one_core(content: Mapping[str, Any]) -> bool:
    return any(case["ranked_by"] == "core_median" for case in content.get("cases", ()))


def reckoning(*pipelines: Mapping[str, Any]) -> str:
    """Core-hours of runs of three sizes, from the rates of whole jobs on two cores."""
    cases = [case for pipeline in pipelines for case in pipeline["cases"]]
    wanted = {
        "decode JPEG and do nothing else": ("jpg", "only decode, as iuscore does"),
        "`texture`, JPEG": ("jpg", "iuscore"),
        "`texture`, PNG": ("png", "iuscore"),
        "`epu`, base 32, exact": ("base 32", "iuscore"),
        "`epu`, base 32, fast": ("base 32", "iuscore --precision fast"),
        "`epu`, base 64, exact": ("base 64", "iuscore"),
        "`epu`, base 64, fast": ("base 64", "iuscore --precision fast"),
    }
    rows = []
    for what, (part, who) in wanted.items():
        case = next(case for case in cases if part in case["case"])
        rate = case["rates"][who]["wall_median"] / 2
        hours = [n / rate / 3600 for n in (1e6, 1e8, 1e10)]
        rows.append((what, _count(rate), *(f"{h:,.1f}" if h < 10 else f"{h:,.0f}" for h in hours)))
    head = ("images of 256 x 256", "images a second and core", "1 million", "100 million", "10 billion")
    dates = " and ".join(dict.fromkeys(pipeline["date"] for pipeline in pipelines))
    jpeg, png = (_share_of_decoding(cases, kind) for kind in ("jpg", "png"))
    return (
        f"Core-hours, from `benchmarks/results/pipeline_*.json` ({dates}).\n\n{_table(head, rows)}\n"
        f"Decoding alone takes {jpeg:.0%} of the time of `texture` with JPEG files, {png:.0%} with PNG files.\n"
    )


def _share_of_decoding(cases: Iterable[Mapping[str, Any]], kind: str) -> float:
    rates = next(case["rates"] for case in cases if f" {kind} " in case["case"])
    return float(rates["iuscore"]["wall_median"] / rates["only decode, as iuscore does"]["wall_median"])


def whole_jobs(pipeline: Mapping[str, Any]) -> str:
    """Images a second of `iuscore score` with EPU-CNN models, from files to a table, and the published steps'."""
    rows = []
    for case in pipeline["cases"]:
        (published,) = (rate["wall_median"] for who, rate in case["rates"].items() if who.startswith("published"))
        ours = [case["rates"][who]["wall_median"] for who in ("iuscore", "iuscore --precision fast")]
        times = (f"{_count(rate)} ({rate / published:.2g}x)" for rate in ours)
        rows.append((case["case"], _count(published), *times))
    head = ("images a second, start included", "published steps, one by one", "`exact`", "`fast`")
    text = f"Two cores, from `benchmarks/results/pipeline_epu.json` ({pipeline['date']}).\n\n{_table(head, rows)}"
    tables = [f"\n{table['title']}.\n\n{_table(table['columns'], table['rows'])}" for table in pipeline["tables"]]
    return text + "".join(tables)


# Files that come from results of their own: name, what writes it, from which.
_OF_JOBS = (
    ("reckoning", reckoning, ("pipeline_texture", "pipeline_epu")),
    ("whole_jobs", whole_jobs, ("pipeline_epu",)),
)


def _peers(case: Mapping[str, Any]) -> dict[str, float]:
    """Name -> how many times its rate iuscore reaches, best peer first; of a peer in several settings its best one."""
    found: dict[str, float] = {}
    for who, ratio in sorted(case["iuscore_over"].items(), key=lambda item: item[1]):
        if not who.startswith(_OURS):
            found.setdefault(who.split(", ")[0], ratio)
    return found


def _bare(case: Mapping[str, Any]) -> str:
    return str(case["case"]).removesuffix(", 1 thread")


def _times(case: Mapping[str, Any], peer: str) -> str:
    ratio = _peers(case).get(peer)
    return "" if ratio is None else f"{ratio:.3g}x"


def _contents(results: Path) -> dict[str, Any]:
    """Name -> content of the results files; those of benchmarks/validity have a page of their own."""
    paths = [path for path in sorted(results.glob("*.json")) if not path.stem.startswith("validity")]
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in paths}


def pages(results: Path = RESULTS) -> dict[Path, str]:
    """Every file this program writes, with its text."""
    found = _contents(results)
    before, _, rest = README.read_text(encoding="utf-8").partition(TABLE[0])
    after = rest.partition(TABLE[1])[2]
    return {
        PAGE: render(results),
        README: before + TABLE[0] + headlines(found, IN_README) + TABLE[1] + after,
        **{RATIOS / f"{name}.md": "\n".join(map(ratios, contents)) for name, contents in _by_benchmark(found).items()},
        **{
            RATIOS / f"{name}.md": text(*(found[each] for each in sources))
            for name, text, sources in _OF_JOBS
            if all(each in found for each in sources)
        },
    }


def _kernels(names: Iterable[str], contents: Iterable[Mapping[str, Any]]) -> list[str]:
    runs = sorted((c for c in contents if "gpu" in c), key=lambda c: c["date"])
    rows = []
    for name in names:
        of_kernel = [run for run in runs if name in run["kernels"]]
        if of_kernel:
            last = of_kernel[-1]
            what = f"{last['gpu']}, {last['date']}, commit {_commit(last)}: {last['kernels'][name]}"
        else:
            what = "not yet run on a GPU"
        rows.append((f"`{name}`", what))
    explanation = (
        "Without a GPU the tests run the source of every kernel on the host, unchanged, against the CPU kernel or "
        "plain loops.\n"
    )
    return [_table(("kernel", "last verified on"), rows), explanation]


def _benchmark(name: str, content: Mapping[str, Any]) -> list[str]:
    sections = [f"## {_title(content['benchmark'])}\n", _head(name, content)]
    items = content.get("items", "images").capitalize()
    for which, unit in _UNITS.items():
        cases = [case for case in content.get("cases", ()) if case["ranked_by"] == which]
        if cases:
            head = ("", "iuscore", "fastest peer", "its rate", "times", "remarks")
            sections += [f"{items} {unit}.\n", _table(head, [_case_row(case) for case in cases])]
    for table in content.get("tables", ()):
        sections += [f"{table['title']}.\n", _table(table["columns"], table["rows"])]
    return sections + _networks(content) + _on_gpu(content)


def _case_row(case: Mapping[str, Any]) -> tuple[str, ...]:
    which = case["ranked_by"]

    def rate(who: str) -> str:
        median, low, high = (
            _count(case["rates"][who][which.replace("median", end)]) for end in ("median", "min", "max")
        )
        return f"{median} ({low} to {high})"

    over = {who: ratio for who, ratio in case["iuscore_over"].items() if not who.startswith(_OURS)}
    if not over:
        return _bare(case), rate("iuscore"), "", "", "", _remarks(case, "iuscore")
    fastest = min(over, key=over.__getitem__)
    times = f"{over[fastest]:.3g}" if over[fastest] >= 1 else f"**{over[fastest]:.3g}**"
    return _bare(case), rate("iuscore"), fastest, rate(fastest), times, _remarks(case, "iuscore", fastest)


def _remarks(case: Mapping[str, Any], *shown: str) -> str:
    """What was not as it should be while a case was measured, of those ``shown`` in its row."""
    found = []
    others = case.get("cores_used_by_other_programs") or 0.0
    if others > _MUCH:
        weak = case.get("says_little") or case["ranked_by"] == "wall_median"
        found.append(f"other programs kept {others:g} cores busy" + (": says little" if weak else ""))
    if case["ranked_by"] == "core_median":
        used = {who: case["rates"][who]["wall_median"] / case["rates"][who]["core_median"] for who in shown}
        found += [f"{who} used {cores:.1f} threads" for who, cores in used.items() if cores > 1.0 + _MUCH]
    return "; ".join(found)


def _networks(content: Mapping[str, Any]) -> list[str]:
    """EPU-CNN on a GPU: benchmarks/gpu/networks.py."""
    found = content.get("steps", {}).get("networks", {}).get("networks")
    if found is None:
        return []
    sections = []
    for model in found["models"]:
        rows = [
            (who, row["error"], "", "")
            if "error" in row
            else (who, _count(row["images_per_s"]), f"{row['share_of_floor']:.0%}", f"{row['off']:.1g}")
            for who, row in model["rates"].items()
        ]
        head = ("", "images per second", "share of the floor", "largest difference of a contribution")
        title = f"### EPU-CNN on the GPU, base {model['base']}, {model['side']} x {model['side']}\n"
        sections += [title, _table(head, rows)]
        if model["times_compiled"]:
            sections.append(f"iuscore over torch.compile: {model['times_compiled']:.3g}.\n")
    rows = [(row["step"], row.get("error") or f"{row['share_of_floor']:.0%}") for row in found["steps"]]
    sections += ["Steps of the larger model, one network but for the first and the last:\n"]
    return [*sections, _table(("step", "share of its floor"), rows)]


def _on_gpu(content: Mapping[str, Any]) -> list[str]:
    """The measurements of benchmarks/gpu: batches of the usual size, and graphs of small ones."""
    measured = content.get("steps", {}).get("measure", {}).get("measurements")
    if measured is None:
        return []
    shown = [row for row in measured["rows"] if not row["threads"] and (row["batch"] == _USUAL_BATCH or row["graph"])]
    sections = []
    for op in dict.fromkeys(row["op"] for row in shown):
        rows = [_gpu_row(row) for row in shown if row["op"] == op]
        head = ("case", "items per second", "share of the floor", "what sets the floor", "times torch on this GPU")
        sections += [f"### {op} on the GPU\n", _table(head, rows)]
    text = "Floors: benchmarks/gpu/cases.py. Medians; their spread is in the file."
    if measured["left_out"]:
        text += f" For want of time {len(measured['left_out'])} cases, the largest, were left out."
    return [f"{text}\n", *sections]


def _gpu_row(row: Mapping[str, Any]) -> tuple[str, ...]:
    what = ", ".join(f"{name} {value}" for name, value in row["options"].items())
    side = f"{row['side']} x {row['side']}, {row['content']}, " if row["side"] else ""
    case = f"{what}, {side}batch {row['batch']}" + (", CUDA graph" if row["graph"] else "")
    if "items_per_s" not in row:
        return case, row.get("skipped") or row["error"], "", "", ""
    torch = f"{row['times_torch']:.3g}" if "times_torch" in row else ""
    different = "" if row["equals_cpu"] else " (differs from the CPU)"
    return case, _count(row["items_per_s"]) + different, f"{row['share_of_floor']:.0%}", row["limit"], torch


def _head(name: str, content: Mapping[str, Any]) -> str:
    machine = content["machine"]
    lines = [f"`benchmarks/results/{name}.json`, {content['date']}, commit {_commit(content)}."]
    if "gpu" in content:
        lines.append(f"GPU: {content['gpu']}.")
    lines.append(f"Machine: {machine['cpu']}, {machine['cores']} cores, {machine['platform']}.")
    if "core_build" in content:
        lines.append(f"CPU kernels: {content['core_build']['cpu_isa']}.")
    lines.append(", ".join(f"{package} {number}" for package, number in content["versions"].items()) + ".")
    return "\n".join(lines) + "\n"


def _title(text: str) -> str:
    return text[0].upper() + text[1:]


def _commit(content: Mapping[str, Any]) -> str:
    commit, _, changes = content["commit"].partition("+")
    return commit[:12] + (" with changes" if changes else "")


def _count(rate: float) -> str:
    return f"{rate:,.0f}" if rate >= 10 else f"{rate:.2g}"


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    numeric = ["---"] + ["--:"] * (len(head) - 1) if len(head) > 2 else ["---"] * len(head)
    lines = [head, tuple(numeric), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines) + "\n"


if __name__ == "__main__":
    RATIOS.mkdir(exist_ok=True)
    for path, text in pages().items():
        path.write_text(text, encoding="utf-8")
