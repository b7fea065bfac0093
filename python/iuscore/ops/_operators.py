"""Whole ops as single operators of PyTorch, with their shapes, gradients and batching rules.

Imported when a compiler or ``vmap`` first meets an op: `torch.library.custom_op` imports PyTorch's compiler, which must
not cost every start.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Call:
    """The arguments of an operator, in lists; each op defines what its lists hold."""

    tensors: list[Tensor]
    whole: Sequence[int]
    real: Sequence[float]
    words: Sequence[str]

    def on(self, tensors: list[Tensor]) -> Call:
        """The same call with other tensors."""
        return Call(tensors, self.whole, self.real, self.words)


Function = Callable[[Call], Sequence[Tensor]]
_ARGUMENTS = "Tensor[] tensors, SymInt[] whole, float[] real, str[] words"


def once_more(run: Function, call: Call, gradients: list[Tensor], wanted: Sequence[bool]) -> Sequence[Tensor]:
    """Gradients by a second run, in PyTorch. Inside an operator autograd records nothing, but `torch.func` works."""
    places = [i for i, one in enumerate(wanted) if one]

    def of_wanted(*parts: Tensor) -> tuple[Tensor, ...]:
        tensors = list(call.tensors)
        for i, part in zip(places, parts, strict=True):
            tensors[i] = part
        return tuple(run(call.on(tensors)))

    pull: Any = torch.func.vjp(of_wanted, *(call.tensors[i].detach() for i in places))[1]
    found: Sequence[Tensor] = pull(tuple(gradients))
    return found


@dataclass(frozen=True)
class Operator:
    """An op that a compiler does not trace into.

    Attributes:
        run: the op itself, as it runs without a compiler.
        shapes: tensors as the op's results, whose values mean nothing; sees tensors without values.
        fold: makes of a call whose tensors [V, ...] stand for V calls one call with V times as many images or rows;
            None where that is not one, such as of weights that differ.
        gradient: of ``run`` for the wanted tensors, from the gradients of all results.
    """

    name: str
    run: Function
    shapes: Function
    fold: Callable[[Call, list[bool], int], Call | None]
    gradient: Callable[[Function, Call, list[Tensor], Sequence[bool]], Sequence[Tensor]] = once_more

    def __post_init__(self) -> None:
        operator = torch.library.custom_op(
            f"iuscore::whole_{self.name}", self._run, mutates_args=(), schema=f"({_ARGUMENTS}) -> Tensor[]"
        )
        operator.register_fake(lambda *arguments: list(self.shapes(_call(*arguments))))
        operator.register_vmap(self._batched)
        gradient = torch.library.custom_op(
            f"iuscore::whole_{self.name}_gradient",
            self._differentiate,
            mutates_args=(),
            schema=f"(Tensor[] gradients, bool[] wanted, {_ARGUMENTS}) -> Tensor[]",
        )
        gradient.register_fake(self._gradient_shapes)
        operator.register_autograd(self._backward(gradient), setup_context=_keep)

    def __call__(self, call: Call) -> list[Tensor]:
        operator = getattr(torch.ops.iuscore, f"whole_{self.name}").default
        # PyTorch would take an empty list for a list of tensors with gradients, so no list is empty.
        found: list[Tensor] = operator(call.tensors, [*call.whole, 0], [*call.real, 0.0], [*call.words, ""])
        return found

    def _run(self, *arguments: Any) -> list[Tensor]:
        return [_own(part) for part in self.run(_call(*arguments))]

    def _batched(self, info: Any, places: Any, *arguments: Any) -> tuple[list[Tensor], list[int]]:
        call, many = _call(*arguments), info.batch_size
        batched = [place is not None for place in places[0]]
        tensors = [
            tensor if place is None else tensor.movedim(place, 0)
            for tensor, place in zip(call.tensors, places[0], strict=True)
        ]
        folded = self.fold(call.on(tensors), batched, many)
        if folded is not None:
            parts = [part.view(many, part.shape[0] // many, *part.shape[1:]) for part in self(folded)]
        else:
            each = [
                self(call.on([tensor[v] if one else tensor for tensor, one in zip(tensors, batched, strict=True)]))
                for v in range(many)
            ]
            parts = [torch.stack(same) for same in zip(*each, strict=True)]
        return parts, [0] * len(parts)

    @staticmethod
    def _backward(gradient: Any) -> Callable[..., Any]:
        def backward(ctx: Any, gradients: list[Tensor]) -> tuple[Any, ...]:
            wanted = list(ctx.needs_input_grad[0])
            found = iter(gradient(gradients, wanted, list(ctx.saved_tensors), *ctx.options))
            return [next(found) if one else None for one in wanted], None, None, None

        return backward

    def _differentiate(self, gradients: list[Tensor], wanted: Sequence[bool], *arguments: Any) -> list[Tensor]:
        return [_own(part) for part in self.gradient(self.run, _call(*arguments), gradients, wanted)]

    def _gradient_shapes(self, gradients: list[Tensor], wanted: Sequence[bool], *arguments: Any) -> list[Tensor]:
        call = _call(*arguments)
        return [t.new_empty(t.shape) for t, one in zip(call.tensors, wanted, strict=True) if one]


def fold_rows(call: Call, batched: list[bool], many: int) -> Call | None:
    """[V, B, ...] of the first tensor as V B rows, where all others are the same for all."""
    first, *others = call.tensors
    return call.on([first.flatten(0, 1), *others]) if batched[0] and not any(batched[1:]) else None


def refuse_native(op: str, backend: str, tensors: Sequence[Tensor]) -> None:
    """RuntimeError if backend="native" is asked for together with a gradient."""
    if backend == "native" and torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors):
        raise RuntimeError(f"{op}: backend='native' cannot run: the kernels have no gradient; use 'auto' or 'torch'")


def _call(tensors: list[Tensor], whole: Sequence[int], real: Sequence[float], words: Sequence[str]) -> Call:
    return Call(tensors, whole[:-1], real[:-1], words[:-1])


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    tensors, *ctx.options = inputs
    ctx.save_for_backward(*tensors)


def _own(part: Tensor) -> Tensor:
    """A contiguous tensor with memory of its own, as a compiler expects of results."""
    whole = part.is_contiguous() and not part._is_view()
    return part.detach() if whole else part.detach().clone(memory_format=torch.contiguous_format)
