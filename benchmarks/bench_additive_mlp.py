"""The additive model's networks and tables: rows per second of iuscore, and of several implementations in PyTorch.

Each peer is written as a competent user would write it, with its best number of rows at a time. Its results are
compared with ours before anything is timed.

    python benchmarks/bench_additive_mlp.py           # minutes; writes benchmarks/results/additive_mlp.json
    python benchmarks/bench_additive_mlp.py --quick   # seconds; writes nothing, leaves torch.compile out
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import _harness as harness
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from iuscore import ops

Run = Callable[[], Any]
CHUNKS = (256, 512, 1024, 2048, 4096, 8192)
NAMES = ("w1", "b1", "w2", "b2", "w3", "b3")
LOW, HIGH = -4.0, 4.0


@dataclass(frozen=True)
class Model:
    """Groups of inputs, their weights, and rows of inputs in the range of the tables."""

    groups: tuple[int, ...]
    weights: ops.AdditiveWeights
    x: Tensor

    @property
    def plain(self) -> bool:
        return set(self.groups) == {1}


def make_model(groups: tuple[int, ...], hidden: tuple[int, int], rows: int) -> Model:
    generator = torch.Generator().manual_seed(0)
    weights = ops.AdditiveWeights.random(groups, hidden=hidden, generator=generator)
    for name in ("b1", "b2", "b3"):
        getattr(weights, name).normal_(generator=generator)
    return Model(groups, weights, torch.rand(rows, sum(groups), generator=generator) * (HIGH - LOW) + LOW)


# ---- Peers: contributions [rows, G] of some rows ---------------------------------------------------------------------


def padded(model: Model) -> tuple[Tensor, Tensor]:
    """Columns [G, d] and w1 [G, d, H1], padded to d inputs in every group; padding selects a column of zeros."""
    largest, inputs = max(model.groups), sum(model.groups)
    columns = torch.full((len(model.groups), largest), inputs)
    start = 0
    for g, size in enumerate(model.groups):
        columns[g, :size] = torch.arange(start, start + size)
        start += size
    return columns, torch.cat([model.weights.w1, torch.zeros(1, model.weights.w1.shape[1])])[columns]


class Bmm:
    """One batched matrix product per layer; smaller groups are padded."""

    def __init__(self, model: Model) -> None:
        w = model.weights
        self.columns, self.w1 = padded(model)
        self.plain = model.plain
        self.rest = (w.b1[:, None], w.w2, w.b2[:, None], w.w3, w.b3[:, None])

    def __call__(self, x: Tensor) -> Tensor:
        b1, w2, b2, w3, b3 = self.rest
        if self.plain:
            h = x.T.unsqueeze(2) * self.w1
        else:
            inputs = F.pad(x, (0, 1))[:, self.columns.flatten()].view(len(x), *self.columns.shape)
            h = torch.bmm(inputs.transpose(0, 1), self.w1)
        h = h.add_(b1).relu_()
        h = torch.bmm(h, w2).add_(b2).relu_()
        return torch.bmm(h, w3).add_(b3).squeeze(2).T


class Baddbmm(Bmm):
    """As `Bmm`, with the biases added inside the matrix products."""

    def __call__(self, x: Tensor) -> Tensor:
        b1, w2, b2, w3, b3 = self.rest
        inputs = F.pad(x, (0, 1))[:, self.columns.flatten()].view(len(x), *self.columns.shape).transpose(0, 1)
        h = torch.baddbmm(b1, inputs, self.w1).relu_()
        h = torch.baddbmm(b2, h, w2).relu_()
        return torch.baddbmm(b3, h, w3).squeeze(2).T


class Modules(nn.Module):
    """One network per group, called one after another."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        (_, h1, h2), w = model.weights.w2.shape, model.weights
        self.groups = model.groups
        self.networks = nn.ModuleList(
            nn.Sequential(nn.Linear(d, h1), nn.ReLU(inplace=True), nn.Linear(h1, h2), nn.ReLU(inplace=True),
                          nn.Linear(h2, 1))
            for d in model.groups
        )  # fmt: skip
        with torch.no_grad():
            for g, (network, w1) in enumerate(zip(self.networks, w.w1.split(model.groups), strict=True)):
                values = (w1.T, w.b1[g], w.w2[g].T, w.b2[g], w.w3[g].T, w.b3[g])
                for parameter, value in zip(network.parameters(), values, strict=True):
                    parameter.copy_(value)

    def forward(self, x: Tensor) -> Tensor:
        parts = x.split(self.groups, dim=1)
        return torch.cat([network(part) for network, part in zip(self.networks, parts, strict=True)], dim=1)


class GroupedConvolution:
    """Groups as channels of a convolution of width 1, rows as its positions."""

    def __init__(self, model: Model) -> None:
        (g, h1, h2), w = model.weights.w2.shape, model.weights
        self.columns, w1 = padded(model)
        self.groups, self.plain = g, model.plain
        self.layers = [
            (w1.transpose(1, 2).reshape(g * h1, -1, 1).contiguous(), w.b1.flatten()),
            (w.w2.transpose(1, 2).reshape(g * h2, h1, 1).contiguous(), w.b2.flatten()),
            (w.w3.transpose(1, 2).reshape(g, h2, 1).contiguous(), w.b3.flatten()),
        ]

    def __call__(self, x: Tensor) -> Tensor:
        h = (x if self.plain else F.pad(x, (0, 1))[:, self.columns.flatten()]).T.contiguous()[None]
        for weight, bias in self.layers[:-1]:
            h = F.conv1d(h, weight, bias, groups=self.groups).relu_()
        return F.conv1d(h, *self.layers[-1], groups=self.groups)[0].T


class Vmap:
    """One network's function, mapped over the groups by torch.func."""

    def __init__(self, model: Model) -> None:
        w = model.weights
        self.columns, self.w1 = padded(model)
        self.rest = (w.b1, w.w2, w.b2, w.w3, w.b3)

        def network(x: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor, w3: Tensor, b3: Tensor) -> Tensor:
            h = F.relu(torch.addmm(b1, x, w1))
            return torch.addmm(b3, F.relu(torch.addmm(b2, h, w2)), w3)[:, 0]

        self.mapped = torch.func.vmap(network, in_dims=(1, *[0] * 6), out_dims=1)

    def __call__(self, x: Tensor) -> Tensor:
        inputs = F.pad(x, (0, 1))[:, self.columns.flatten()].view(len(x), *self.columns.shape)
        result: Tensor = self.mapped(inputs, self.w1, *self.rest)
        return result


def in_chunks(peer: Callable[[Tensor], Tensor], x: Tensor, rows: int) -> tuple[Tensor, Tensor]:
    contributions = torch.cat([peer(part) for part in x.split(rows)])
    return contributions, contributions.sum(1)


def with_best_chunk(name: str, run: Callable[[int], object], rows: int) -> tuple[str, Run]:
    """The peer with its fastest number of rows at a time: its name with this number, and a call."""
    times = {}
    for chunk in [chunk for chunk in CHUNKS if chunk <= rows]:
        run(chunk)
        begin = time.perf_counter()
        run(chunk)
        times[chunk] = time.perf_counter() - begin
    best = min(times, key=lambda chunk: times[chunk])
    return f"{name}, {best} rows at a time", partial(run, best)


def compiled(model: Model) -> tuple[str, Run] | None:
    """torch.compile of the batched products; None where it does not work here."""
    rows = min(512, len(model.x))  # each number of rows is compiled separately
    try:
        peer = torch.compile(Bmm(model), dynamic=False)
        in_chunks(peer, model.x[:rows], rows)
        return f"torch.compile of bmm, {rows} rows at a time", partial(in_chunks, peer, model.x, rows)
    except Exception as error:  # compilers raise errors of many types
        print(f"torch.compile does not work here: {type(error).__name__}: {str(error)[:200]}")
        return None


def forward_runs(model: Model, quick: bool) -> dict[str, Run]:
    runs: dict[str, Run] = {"iuscore": lambda: ops.additive_mlp(model.x, model.groups, model.weights, backend="native")}
    runs["iuscore torch"] = lambda: ops.additive_mlp(model.x, model.groups, model.weights, backend="torch")
    peers = {
        "bmm": Bmm(model), "baddbmm": Baddbmm(model), "ModuleList": Modules(model),
        "grouped conv1d": GroupedConvolution(model), "vmap": Vmap(model),
    }  # fmt: skip
    for name, peer in peers.items():
        called, run = with_best_chunk(name, partial(in_chunks, peer, model.x), len(model.x))
        runs[called] = run
    runs["ModuleList, all rows"] = partial(in_chunks, peers["ModuleList"], model.x, len(model.x))
    if not quick and (found := compiled(model)):
        runs[found[0]] = found[1]
    return runs


def training_runs(model: Model) -> dict[str, Run]:
    """Forward and backward, gradients of all weights."""

    def step(contributions: Tensor, total: Tensor, parameters: list[Tensor]) -> tuple[Tensor, ...]:
        return torch.autograd.grad(total.square().sum() + contributions.square().sum(), parameters)

    leaves = [getattr(model.weights, name).clone().requires_grad_() for name in NAMES]
    weights = ops.AdditiveWeights(*leaves)
    learning = Model(model.groups, weights, model.x)

    def ours(backend: Any) -> tuple[Tensor, ...]:
        out = ops.additive_mlp(model.x, model.groups, weights, backend=backend)
        return step(out.contributions.squeeze(2), out.total.squeeze(1), leaves)

    def batched(rows: int) -> tuple[Tensor, ...]:
        return step(*in_chunks(Bmm(learning), model.x, rows), leaves)

    modules = Modules(model)

    def listed(rows: int) -> tuple[Tensor, ...]:
        return step(*in_chunks(modules, model.x, rows), list(modules.parameters()))

    runs: dict[str, Run] = {"iuscore": partial(ours, "native"), "iuscore torch": partial(ours, "torch")}
    for name, run in (("bmm", batched), ("ModuleList", listed)):
        called, best = with_best_chunk(name, run, len(model.x))
        runs[called] = best
    return runs


# ---- Tables ----------------------------------------------------------------------------------------------------------


def table_runs(model: Model, points: int) -> dict[str, Run]:
    tables = ops.additive_tables(model.weights, low=LOW, high=HIGH, points=points)
    values = tables.values[:, :, 0].contiguous()
    flat, start = values.flatten(), torch.arange(len(values)) * points

    def gather() -> tuple[Tensor, Tensor]:
        at = ((model.x - LOW) * ((points - 1) / (HIGH - LOW))).clamp_(0.0, points - 1.0)
        cell = at.to(torch.int64).clamp_(max=points - 2)
        left = cell + start
        contributions = torch.lerp(flat[left], flat[left + 1], at - cell)
        return contributions, contributions.sum(1)

    knots, rows, of_group = np.linspace(LOW, HIGH, points), model.x.numpy(), values.numpy()

    def interp() -> tuple[Tensor, Tensor]:
        parts = [np.interp(rows[:, g], knots, of_group[g]) for g in range(len(of_group))]
        contributions = torch.from_numpy(np.stack(parts, axis=1))
        return contributions, contributions.sum(1)

    bmm, run = with_best_chunk("networks by bmm", partial(in_chunks, Bmm(model), model.x), len(model.x))
    return {
        "iuscore": lambda: ops.additive_lookup(model.x, tables, backend="native"),
        "iuscore torch": lambda: ops.additive_lookup(model.x, tables, backend="torch"),
        "torch gather and lerp": gather,
        "numpy.interp": interp,
        "networks by iuscore": lambda: ops.additive_mlp(model.x, model.groups, model.weights, backend="native"),
        bmm: run,
    }


# ---- Measuring -------------------------------------------------------------------------------------------------------


def numbers(result: Any) -> list[Tensor]:
    return [torch.as_tensor(part).detach().flatten().double() for part in result]


def check(runs: Mapping[str, Run], relative: float) -> dict[str, float]:
    """Largest difference of each result from ours, relative to the largest value.

    Gradients of a list of modules come in another order, so the sorted values are compared.
    """
    expected = numbers(runs["iuscore"]())
    differences = {}
    for name, run in runs.items():
        got = numbers(run())
        if len(got) != len(expected):  # one tensor per module and layer, instead of one per layer
            one, two = (torch.cat(parts).sort().values for parts in (got, expected))
        else:
            one, two = torch.cat(got), torch.cat(expected)
        difference = float((one - two).abs().max() / two.abs().max())
        if not difference <= relative:
            raise SystemExit(f"{name}: differs from ours by {difference:.2g} of the largest value, allowed {relative}")
        differences[name] = float(f"{difference:.2g}")
    return differences


def with_isa(isa: str, run: Run) -> Any:
    with harness.cpu_isa(isa):
        return run()


def run_case(
    name: str, runs: dict[str, Run], threads: int, items: int, relative: float, **options: Any
) -> dict[str, Any]:
    torch.set_num_threads(threads)
    for isa in harness.available_isas()[:-1]:
        if isa != "baseline":  # software fma: correct and slow, see docs/additive_mlp.md
            runs[f"iuscore {isa}"] = partial(with_isa, isa, runs["iuscore"])
    differences = check(runs, relative)
    return harness.run_case(name, threads, runs, items=items, differences=differences, of="rows", **options)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few rows and repetitions, nothing saved")
    quick = parser.parse_args().quick
    rows = 1024 if quick else 65536
    options: dict[str, Any] = {"repetitions": 2, "seconds": 0.01} if quick else {"repetitions": 7, "seconds": 0.3}
    texture = (8, 32, 32, 32, 32, 32, 8, 8, 8, 48, 16, 8, 16, 32)
    cases = []
    for threads in (1,) if quick else (1, 2):
        torch.set_num_threads(threads)  # the best number of rows at a time depends on it
        alone = make_model((1,) * 64, (64, 32), rows)
        grouped = make_model(texture, (32, 16), rows)
        alone_name, grouped_name = (
            "64 groups of 1 input, hidden (64, 32)",
            "14 groups of 8 to 48 inputs, hidden (32, 16)",
        )
        for name, model in ((alone_name, alone), (grouped_name, grouped)):
            with torch.inference_mode():
                runs = forward_runs(model, quick)
                cases.append(run_case(f"forward, {name}", runs, threads, rows, 1e-5, **options))
            runs = training_runs(model)
            cases.append(run_case(f"forward and backward, {name}", runs, threads, rows, 1e-4, **options))
        for points in (257, 4097):
            with torch.inference_mode():
                # The tables approximate the networks, so a difference up to the tables' error bound is allowed.
                runs = table_runs(alone, points)
                cases.append(run_case(f"tables of {points} knots, {alone_name}", runs, threads, rows, 0.05, **options))
    if quick:
        return
    content = {
        "benchmark": f"additive model, float32, {rows:,} rows a call",
        "core_build": harness.core_build(),
        "items": "rows",
        "cases": cases,
    }
    print(f"\nwritten: {harness.save('additive_mlp', content, ('torch', 'numpy')).relative_to(harness.ROOT)}")


if __name__ == "__main__":
    main()
