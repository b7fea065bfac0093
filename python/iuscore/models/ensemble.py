"""Several models of one kind, trained from different seeds, as one additive model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

from iuscore.errors import UserError
from iuscore.features import Feature
from iuscore.models.base import KINDS, AdditiveModel, Layout, MaskRule, Space
from iuscore.ops import Precision

if TYPE_CHECKING:
    from typing_extensions import Self


class Ensemble(AdditiveModel):
    """An additive model whose contributions and bias are the means over its members.

    Saved and loaded models are always ensembles, if need be of one member: code that computes spreads over members
    then needs no special case. The mean over one member equals that member bit for bit.

    The mean is taken in the space asked for: "paper" is the mean of the members' tanh, which is not
    the tanh of the mean "evidence" when there are two members or more.

    Args:
        members: M >= 1 models of one class and one configuration; kept as ``members``.

    Raises:
        ValueError: no member, a member that is an ensemble itself, or members that differ.

    Example:
        >>> from iuscore.models import EPUCNN
        >>> parts = [EPUCNN(["a", "b"], size=(8, 8), base_channels=2, hidden_units=2) for _ in range(3)]
        >>> model = Ensemble(parts).eval()
        >>> maps = torch.rand(5, 4, 8, 8)
        >>> model.member_contributions(maps).shape, model.contributions_of(maps).shape
        (torch.Size([3, 5, 4, 1]), torch.Size([5, 4, 1]))
    """

    kind: ClassVar[str] = "ensemble"

    def __init__(self, members: Sequence[AdditiveModel]) -> None:
        if not members or any(isinstance(member, Ensemble) for member in members):
            raise ValueError("members: expected at least one model, none of them an ensemble")
        first = members[0]
        for i, member in enumerate(members):
            if type(member) is not type(first) or member.config() != first.config():
                raise ValueError(
                    f"members: expected one kind and configuration, but member {i} is "
                    f"{member.kind} {member.config()} and member 0 is {first.kind} {first.config()}"
                )
        super().__init__(first.classes, first.components)
        self.members = nn.ModuleList(members)

    def _parts(self) -> list[AdditiveModel]:
        return [part for part in self.members if isinstance(part, AdditiveModel)]

    @property
    def bias(self) -> Tensor:  # type: ignore[override]  # computed, so that it follows the members
        """Mean of the members' biases, float [K]."""
        return torch.stack([part.bias for part in self._parts()]).mean(dim=0)

    @property
    def member_kind(self) -> str:
        """The members' ``kind``."""
        return self._parts()[0].kind

    @property
    def features(self) -> tuple[Feature, ...]:
        """The features of the members."""
        return self._parts()[0].features

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The input shape of the members."""
        return self._parts()[0].input_shape

    @property
    def mask(self) -> MaskRule | None:  # type: ignore[override]  # computed, so that it follows the members
        """The mask rule of the members."""
        return self._parts()[0].mask

    @property
    def mask_size(self) -> tuple[int, int] | None:
        """The mask size of the members."""
        return self._parts()[0].mask_size

    def checked_mask(self, mask: Any) -> Any:
        """Check a mask against the rule of the members; see :meth:`AdditiveModel.checked_mask`."""
        return self._parts()[0].checked_mask(mask)

    def prepare(self, images: Any, layout: Layout | None = None, mask: Any = None) -> Tensor:
        """Turn images into inputs, once for all members; see :meth:`AdditiveModel.prepare`."""
        return self._parts()[0].prepare(images, layout, mask)

    def prepare_with_warnings(
        self, images: Any, layout: Layout | None = None, mask: Any = None
    ) -> tuple[Tensor, list[tuple[str, ...]]]:
        """Prepare images once for all members; see :meth:`AdditiveModel.prepare_with_warnings`."""
        return self._parts()[0].prepare_with_warnings(images, layout, mask)

    def member_contributions(self, inputs: Tensor, space: Space = "paper", *, precision: Precision = "exact") -> Tensor:
        """Compute every member's contributions from prepared inputs.

        Args:
            inputs: result of :meth:`prepare`; first axis B.
            space: "paper" or "evidence".
            precision: "exact", "fast" or "auto"; see :meth:`AdditiveModel.contributions_of`.

        Returns:
            float [M, B, G, K].
        """
        return torch.stack([part.contributions_of(inputs, space, precision=precision) for part in self._parts()])

    def contributions_of(self, inputs: Tensor, space: Space = "paper", *, precision: Precision = "exact") -> Tensor:
        """Mean over members of :meth:`member_contributions`, float [B, G, K]."""
        return self.member_contributions(inputs, space, precision=precision).mean(dim=0)

    def to_paper(self, evidence: Tensor) -> Tensor:
        """The members' map to the space "paper"; apply it to each member's evidence, never to their mean."""
        return self._parts()[0].to_paper(evidence)

    def chosen_precision(self, precision: Precision, device: torch.device | str = "cpu") -> Precision:
        """The precision that the members use; see :meth:`AdditiveModel.chosen_precision`."""
        return self._parts()[0].chosen_precision(precision, device)

    def config(self) -> dict[str, Any]:
        """Return the members' kind, their common configuration and their number."""
        return {
            "kind": self.member_kind,
            "model": self._parts()[0].config(),
            "members": len(self.members),
        }

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """Build an ensemble with fresh weights from what :meth:`config` returns.

        Raises:
            UserError: unknown kind, or a configuration that does not fit it.
        """
        kind = config["kind"]
        if kind not in KINDS:
            raise UserError(f"unknown kind {kind!r}: this version knows {', '.join(sorted(KINDS))}")
        return cls([KINDS[kind].from_config(config["model"]) for _ in range(config["members"])])
