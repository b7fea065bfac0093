"""How `additive_cnn` takes its arguments, when it packs weights again, and what it says when it cannot."""

from __future__ import annotations

import copy
import gc
import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from iuscore import UserError, ops
from iuscore.models import EPUCNN
from iuscore.ops import _backend
from iuscore.ops._native import additive_cnn as _native
from tests.equivalence.cnn_cases import Case, make

pytestmark = pytest.mark.usefixtures("one_thread")

MAPS, NETWORKS = make(Case(2, 2, (9, 8), ((3, 2), (4,)), (5, 2), "contiguous", 1))
ONE = NETWORKS[0]
WIDE_MAPS, WIDE = make(Case(2, 2, (9, 8), ((32, 33), (4,)), (5, 2), "contiguous", 1))


def with_block(**changes: Any) -> list[ops.CnnNetwork]:
    """The networks with something else in the first one's second block."""
    return [ONE._replace(blocks=(ONE.blocks[0], ONE.blocks[1]._replace(**changes))), NETWORKS[1]]


BAD: list[tuple[Any, Any, type[Exception], str]] = [
    (MAPS.numpy(), NETWORKS, TypeError, "maps: expected a torch.Tensor, got ndarray"),
    (MAPS.double(), NETWORKS, TypeError, "maps: expected dtype float32, got float64; convert it with .float()"),
    (MAPS[0], NETWORKS, ValueError, "maps: expected [B, 2, h, w], one map a network, got [2, 9, 8]"),
    (MAPS, NETWORKS[:1], ValueError, "maps: expected [B, 1, h, w], one map a network, got [2, 2, 9, 8]"),
    (MAPS[..., :3], NETWORKS, ValueError, "maps: 9x3 is too small for 2 poolings"),
    (MAPS[..., :4], NETWORKS, ValueError, "linears[0]: expected [out, 8] and [out], got [5, 16] and [5]"),
    (
        MAPS, [NETWORKS[0], ONE._replace(linears=ONE.linears[:1])], ValueError,
        "networks: expected one shape, but they differ in channels or units",
    ),
    (MAPS, [ONE._replace(linears=())] * 2, ValueError, "networks: expected at least one linear layer"),
    (
        MAPS, [ONE._replace(blocks=ONE.blocks[1:])] * 2, ValueError,
        "blocks[0].kernels[0]: expected [out, 1, 3, 3] and bias [out], got [4, 2, 3, 3] and [4]",
    ),
    (
        MAPS, [ONE._replace(blocks=())] * 2, ValueError,
        "networks: expected blocks of convolutions, at least two in the first one",
    ),
    (MAPS, with_block(biases=()), ValueError, "blocks[1]: expected as many kernels as biases, at least one"),
    (MAPS, with_block(mean=torch.zeros(3)), ValueError, "blocks[1].mean: expected [4], got [3]"),
    (
        MAPS, with_block(mean=torch.zeros(4).half()), TypeError,
        "networks[0].blocks[1].mean: expected dtype float32, got float16; convert it with .float()",
    ),
    (
        MAPS, with_block(mean=torch.zeros(4, device="meta")), ValueError,
        "networks[0].blocks[1].mean: expected on the device of maps, cpu, got meta",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("maps", "networks", "error", "text"), BAD, ids=[case[-1][:60] for case in BAD])
def test_bad_arguments(maps: Any, networks: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=f"^{re.escape(text)}$"):
        ops.additive_cnn(maps, networks)


def test_bad_choices() -> None:
    with pytest.raises(ValueError, match=r"^backend: expected 'auto', 'native' or 'torch', got 'cuda'$"):
        ops.additive_cnn(MAPS, NETWORKS, backend="cuda")  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"^precision: expected one of exact, fast, auto, got 'half'$"):
        ops.additive_cnn(MAPS, NETWORKS, precision="half")  # type: ignore[arg-type]


def test_choose_explains(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu = torch.device("cpu")
    assert _backend.choose("additive_cnn", cpu, needs_grad=True).reason == "the kernels have no gradient"
    if _backend.choose("additive_cnn", cpu).implementation != "cpu":
        pytest.skip("this CPU has no fused multiplication and addition")
    core, _ = _backend.extension("_core")
    assert core
    monkeypatch.setattr(core, "build_info", lambda: {"cpu_fma": False, "cpu_vnni": False})
    slow = _backend.Choice("torch", "this CPU has no fused multiplication and addition")
    assert _backend.choose("additive_cnn", cpu) == slow
    assert _backend.choose("additive_cnn", cpu, backend="native").implementation == "cpu"


def test_precisions_come_to_something_else_only_where_the_cpu_has_vnni(monkeypatch: pytest.MonkeyPatch) -> None:
    core, _ = _backend.extension("_core")
    assert core
    able = core.build_info()["cpu_vnni"]
    assert [ops.chosen_precision(p) == "fast" for p in ("exact", "fast", "auto")] == [False, able, able]
    exact, fast, auto = (ops.additive_cnn(WIDE_MAPS, WIDE, precision=p) for p in ("exact", "fast", "auto"))
    assert torch.equal(fast, auto)
    assert torch.equal(fast, exact) != able
    monkeypatch.setenv("IUSCORE_CPU_ISA", "avx2")
    assert ops.chosen_precision("auto") == "exact"
    assert torch.equal(ops.additive_cnn(WIDE_MAPS, WIDE, precision="fast", backend="native"), exact)


def test_integers_that_the_cpu_does_not_have_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    packed = _native.packed_of(WIDE, (9, 8), True)
    monkeypatch.setenv("IUSCORE_CPU_ISA", "baseline")
    with pytest.raises(
        RuntimeError, match=r"^additive_cnn: packed in 16-bit integers, whose products this CPU does not add up$"
    ):
        _native.additive_cnn_packed(WIDE_MAPS, packed.parts, *packed.shape)


def small() -> EPUCNN:
    torch.manual_seed(3)
    model = EPUCNN(["a", "b"], size=(9, 8), base_channels=3, hidden_units=4).eval().requires_grad_(False)
    for weight in (weight for weight in model.parameters() if weight.ndim > 1):
        weight *= 2.6  # torch's own scale lets the signal fade
    return model


INPUTS = torch.rand(2, 4, 9, 8, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def packings(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by one with every packing."""
    seen: list[int] = []
    pack = _native.pack

    def counted(*arguments: Any) -> list[Tensor]:
        seen.append(1)
        return pack(*arguments)

    monkeypatch.setattr(_native, "pack", counted)
    return seen


def replace_data(model: EPUCNN) -> None:
    for parameter in model.parameters():
        parameter.data = parameter.data * 2


def assign(model: EPUCNN) -> None:
    model.load_state_dict({name: value * 2 for name, value in model.state_dict().items()}, assign=True)
    model.requires_grad_(False)


def step(model: EPUCNN) -> None:
    model.requires_grad_(True)
    model(INPUTS).sum().backward()
    torch.optim.SGD(model.parameters(), lr=0.1).step()
    model.requires_grad_(False)


CHANGES: dict[str, Callable[[EPUCNN], object]] = {
    "in place": lambda model: model.get_parameter("subnets.2.blocks.1.convs.0.weight").mul_(2),
    "statistics": lambda model: model.get_buffer("subnets.3.blocks.2.norm.running_var").mul_(2),
    "last bias": lambda model: model.get_parameter("subnets.3.out.bias").add_(1),
    "other memory": replace_data,
    "loaded": lambda model: model.load_state_dict({k: v * 2 for k, v in model.state_dict().items()}),
    "loaded by assignment": assign,
    "an optimizer's step": step,
    "batches in training": lambda model: model.train()(INPUTS * 9).sum() + model.eval()(INPUTS).sum(),
}


@pytest.mark.parametrize("change", CHANGES)
def test_changed_weights_are_packed_again(change: str, packings: list[int]) -> None:
    model = small()
    before = model.contributions_of(INPUTS, "evidence")
    assert torch.equal(model.contributions_of(INPUTS, "evidence"), before)
    assert len(packings) == 1
    CHANGES[change](model)
    after = model.contributions_of(INPUTS, "evidence")
    assert not torch.equal(after, before)
    expected = ops.additive_cnn(INPUTS, model.networks(), backend="torch")
    torch.testing.assert_close(after, expected, rtol=1e-5, atol=1e-5)


def other_networks(network: ops.CnnNetwork) -> dict[str, ops.CnnNetwork]:
    """Of the same tensors."""
    first, *others = network.blocks
    (weight, bias), *linears = network.linears
    return {
        "eps": network._replace(blocks=(first._replace(eps=1.0), *others)),
        "weight as bias": network._replace(blocks=(first._replace(weight=None, bias=first.weight), *others)),
        "transposed": network._replace(linears=((weight.T, bias), *linears)),
    }


@pytest.mark.parametrize("change", ["eps", "weight as bias", "transposed"])
def test_other_networks_of_the_same_tensors_are_others(change: str) -> None:
    torch.manual_seed(0)
    kernels = torch.randn(4, 1, 3, 3), torch.randn(4, 4, 3, 3)
    block = ops.CnnBlock(kernels, (torch.zeros(4),) * 2, torch.zeros(4), torch.ones(4), torch.rand(4), None)
    network = ops.CnnNetwork((block,), ((torch.randn(16, 16), torch.zeros(16)), (torch.randn(1, 16), torch.zeros(1))))
    maps = torch.rand(2, 1, 4, 4)
    before = ops.additive_cnn(maps, [network])
    other = other_networks(network)[change]
    after, expected = (ops.additive_cnn(maps, [other], backend=backend) for backend in ("native", "torch"))
    torch.testing.assert_close(after, expected, rtol=1e-5, atol=1e-5)
    assert not torch.equal(after, before)


def test_weights_are_packed_once_for_each_precision_and_size(packings: list[int]) -> None:
    model = small()
    for _ in range(3):
        for precision in ("exact", "fast", "auto"):
            model.contributions_of(INPUTS, precision=precision)
    assert len(packings) == len({ops.chosen_precision(p) for p in ("exact", "fast")})
    copy.deepcopy(model).contributions_of(INPUTS)
    assert len(packings) == 1 + len({ops.chosen_precision(p) for p in ("exact", "fast")})


def test_packed_weights_go_with_the_model() -> None:
    gc.collect()
    before = len(_native._kept)
    model = small()
    model.contributions_of(INPUTS)
    assert len(_native._kept) == before + 1
    del model
    gc.collect()
    assert len(_native._kept) == before


def test_training_and_gradients_take_the_modules(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> Tensor:
        raise AssertionError("the compiled kernels were called")

    monkeypatch.setattr(_native, "additive_cnn", refuse)
    model = small()
    with pytest.raises(AssertionError, match="were called"):
        model.contributions_of(INPUTS)
    inputs = INPUTS.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(model.contributions_of(inputs, "evidence").sum(), inputs)
    assert gradient.any()
    model.train().contributions_of(INPUTS)
    model.eval().requires_grad_(True)
    assert model.contributions_of(INPUTS).requires_grad
    with torch.no_grad(), pytest.raises(AssertionError, match="were called"):
        model.contributions_of(INPUTS)
    model.requires_grad_(False).double().contributions_of(INPUTS.double())
    with torch.inference_mode():
        made = small()
    made.contributions_of(INPUTS)


def test_inputs_and_weights_are_not_modified() -> None:
    model = small()
    state = copy.deepcopy(model.state_dict())
    inputs = INPUTS.clone()
    model.contributions_of(inputs, precision="fast")
    assert torch.equal(inputs, INPUTS)
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())


def test_weights_made_in_inference_mode_are_packed_anew() -> None:
    """They do not tell when they change."""
    with torch.inference_mode():
        model = small()
        before = ops.additive_cnn(INPUTS, model.networks(), backend="native")
        model.get_parameter("subnets.3.out.bias").add_(1)
        after = ops.additive_cnn(INPUTS, model.networks(), backend="native")
    torch.testing.assert_close(after[:, 3], before[:, 3] + 1)


def test_nothing_in_nothing_out() -> None:
    for backend in ("native", "torch"):
        assert ops.additive_cnn(MAPS[:0], NETWORKS, backend=backend).shape == (0, 2, 2)  # type: ignore[arg-type]


def test_custom_op_passes_opcheck() -> None:
    for quantized in {ops.chosen_precision(p) == "fast" for p in ("exact", "fast")}:
        packed = _native.packed_of(WIDE, (9, 8), quantized)
        torch.library.opcheck(_native.additive_cnn_packed, (WIDE_MAPS, packed.parts, *packed.shape))


GOOD: dict[str, Any] = {
    "maps": (64, 1, 1, 4, 4), "channels": [2, 3], "pooled": [False, True], "quantized": [False] * 2, "units": [1],
    "evidence": 64,
    "buffers": [(64, 9 * 16), (64, 16), (64, 36 * 2 * 16), (0, 0), *[(64, 16)] * 3, (64, 4 * 16 * 16), (64, 16)],
    "threads": 1,
}  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"maps": (64, 1, 0, 4, 4)}, "maps: expected [B, G, height, width] of at least 0, 1, 1, 1"),
        ({"maps": (64, 1, 1, 1, 4)}, "maps: too small for so many poolings"),
        ({"maps": (0, 1, 1, 4, 4)}, "maps or evidence: null address"),
        ({"channels": [2]}, "channels: expected at least 2 numbers of 1..2^20"),
        ({"units": [0]}, "units: expected at least 1 numbers of 1..2^20"),
        ({"quantized": [False]}, "pooled, quantized: expected one a convolution, false for the first"),
        ({"pooled": [True, True]}, "pooled, quantized: expected one a convolution, false for the first"),
        ({"buffers": GOOD["buffers"][:-1]}, "buffers: too few"),
        ({"buffers": [*GOOD["buffers"], (64, 1)]}, "buffers: too many"),
        ({"buffers": [(66, 9 * 16), *GOOD["buffers"][1:]]}, "buffers: null or misaligned address of the first kernels"),
        ({"buffers": [(64, 8), *GOOD["buffers"][1:]]}, "buffers: expected 144 values of the first kernels, got 8"),
    ],
)
def test_bindings_refuse_what_they_could_not_survive(arguments: dict[str, Any], text: str) -> None:
    core, why = _backend.extension("_core")
    assert core, why
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        core.additive_cnn(**{**GOOD, **arguments})
