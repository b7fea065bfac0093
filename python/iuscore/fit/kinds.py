"""The steps of fitting that depend on the kind of model: options, standardization, and feature profiles."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Generic, Literal, TypeVar

import numpy as np
import torch

from iuscore.errors import UserError
from iuscore.features import FEATURES, FeatureProfile, feature_profile
from iuscore.fit.training import LabeledInputs, TrainingOptions
from iuscore.images import Source
from iuscore.models import EPUCNN, AdditiveModel, TextureModel, flops

Color = Literal["auto", "color", "gray"]
Config = dict[str, Any]
OptionsT = TypeVar("OptionsT")


class ModelKind(ABC, Generic[OptionsT]):
    """The interface between fitting and one kind of additive model.

    Attributes:
        model: class of the model.
        options: dataclass of its options.
        training: default training options.
        members: default number of members of the ensemble.
        one_thread: whether members are trained on one CPU thread: the steps of a small model are so short that a
            second thread does not help, and on a busy machine it delays them.
    """

    model: ClassVar[type[AdditiveModel]]
    options: type[OptionsT]
    training: ClassVar[TrainingOptions]
    members: ClassVar[int]
    one_thread: ClassVar[bool] = False

    @abstractmethod
    def configure(self, options: OptionsT, classes: Sequence[str], images: Source) -> Config:
        """The model's ``config()``, from the options and a sample of the training images."""

    def standardized(self, config: Config, data: LabeledInputs) -> Config:
        """``config`` with the standardization that the prepared training images give; unchanged by default."""
        return config

    def finish(self, member: AdditiveModel, data: LabeledInputs) -> None:
        """Adjust a trained member in place to the training images; does nothing by default."""

    def smaller(self, config: Config) -> list[tuple[str, Config]]:
        """(options, configuration) of smaller models, the smallest first; empty for kinds that train fast."""
        return []

    def work(self, config: Config) -> float:
        """Floating point operations of one forward pass over one image; only needed for kinds with `smaller` models."""
        return 0.0

    def feature_profiles(self, prepared: Mapping[str, LabeledInputs], config: Config) -> dict[str, FeatureProfile]:
        """class -> profile of its named features; empty for a model without named features."""
        return {}


@dataclass(frozen=True)
class EPUOptions:
    """Options of the model "epu"; published sizes are base_channels 64 with hidden_units 32, and 32 with 64."""

    color: Color = "auto"
    mode: Literal["clean", "published"] = "clean"
    size: tuple[int, int] = (128, 128)
    base_channels: int = 64
    hidden_units: int = 32


MIN_SIDE = 32
"""Smallest height and width of maps that are suggested: smaller maps lose most of the image."""

_SMALLER = ((4, 4), (4, 8), (2, 8), (2, 16), (1, 16), (1, 32))
"""(divisor of height and width of the maps, most channels) of the smaller models to suggest."""


class EPUKind(ModelKind[EPUOptions]):
    """The published model."""

    model = EPUCNN
    options = EPUOptions
    training = TrainingOptions()
    members = 1

    def configure(self, options: EPUOptions, classes: Sequence[str], images: Source) -> Config:
        return {
            "classes": list(classes),
            "color": color_of(images, options.color),
            "mode": options.mode,
            "size": list(options.size),
            "base_channels": options.base_channels,
            "hidden_units": options.hidden_units,
        }

    def standardized(self, config: Config, data: LabeledInputs) -> Config:
        """Mean and standard deviation of each clean map over the training images; float64 sums, image by image."""
        if config["mode"] != "clean":
            return config
        means = data.inputs.mean(axis=(2, 3), dtype=np.float64)
        squares = np.stack([np.square(image, dtype=np.float64).mean(axis=(1, 2)) for image in data.inputs])
        mean = means.mean(axis=0)
        sd = np.sqrt(np.maximum(squares.mean(axis=0) - mean**2, 0.0))
        # A map that is flat in every image has no information; dividing by its tiny deviation would amplify rounding.
        return config | {"map_mean": mean.tolist(), "map_sd": np.where(sd > 1e-3, sd, 1.0).tolist()}

    def smaller(self, config: Config) -> list[tuple[str, Config]]:
        channels, (height, width) = config["base_channels"], config["size"]
        found: list[tuple[str, Config]] = []
        for share, most in _SMALLER:
            size = [min(side, max(MIN_SIDE, side // share)) for side in (height, width)]
            fewer = min(channels, most)
            smaller = config | {"size": size, "base_channels": fewer}
            if self.work(smaller) < self.work(config) / 2 and smaller not in [other for _, other in found]:
                sides = str(size[0]) if size[0] == size[1] else f"{size[0]}x{size[1]}"
                found.append((f"--size {sides} --base-channels {fewer}", smaller))
        return sorted(found, key=lambda each: self.work(each[1]))

    def work(self, config: Config) -> float:
        with torch.device("meta"):
            return flops(EPUCNN(**config))


@dataclass(frozen=True)
class TextureOptions:
    """Options of the model "texture"; see `iuscore.models.TextureModel`."""

    color: Color = "auto"
    size: tuple[int, int] = (128, 128)
    heads: Literal["linear", "tanh"] = "linear"
    hidden_units: int = 16
    dropout: float = 0.2
    mask: Literal["border", "given"] | None = None


class TextureKind(ModelKind[TextureOptions]):
    """Named statistics of color and texture."""

    model = TextureModel
    options = TextureOptions
    training = TrainingOptions(
        optimizer="adamw", learning_rate=3e-3, weight_decay=0.1, batch_size=32, epochs=200, patience=20, least_gain=2e-3
    )
    members = 3
    one_thread = True

    def configure(self, options: TextureOptions, classes: Sequence[str], images: Source) -> Config:
        return {
            "classes": list(classes),
            **asdict(options),
            "color": color_of(images, options.color),
            "size": list(options.size),
        }

    def standardized(self, config: Config, data: LabeledInputs) -> Config:
        """Mean and standard deviation of each feature over the training images."""
        values = data.inputs.astype(np.float64)
        mean, sd = values.mean(axis=0), values.std(axis=0)
        return config | {"feature_mean": mean.tolist(), "feature_sd": np.where(sd > 1e-6, sd, 1.0).tolist()}

    def finish(self, member: AdditiveModel, data: LabeledInputs) -> None:
        """Center the contributions on the training images."""
        assert isinstance(member, TextureModel)
        device = member.bias.device
        member.center(torch.from_numpy(data.inputs).to(device), torch.from_numpy(data.labels).to(device))

    def feature_profiles(self, prepared: Mapping[str, LabeledInputs], config: Config) -> dict[str, FeatureProfile]:
        """Profiles over training and validation images: training does not change features, so both can be used."""
        parts = [prepared["train"], prepared["val"]]
        values = np.concatenate([part.inputs for part in parts])
        labels = np.concatenate([part.labels for part in parts])
        features = FEATURES[config["color"]]
        found = {name: feature_profile(values[labels == k], features) for k, name in enumerate(config["classes"])}
        return {name: profile for name, profile in found.items() if profile is not None}


KINDS: Mapping[str, ModelKind[Any]] = {"epu": EPUKind(), "texture": TextureKind()}
"""Value of ``--model`` -> kind."""


def kind_of(model: str) -> ModelKind[Any]:
    """The kind of that name.

    Raises:
        UserError: there is none.

    Example:
        >>> kind_of("epu").members
        1
    """
    if model not in KINDS:
        raise UserError(f"model: expected {' or '.join(map(repr, KINDS))}, got {model!r}")
    return KINDS[model]


def color_of(source: Source, color: Color, looked_at: int = 64) -> Literal["color", "gray"]:
    """``color``; "auto" becomes "color" if one of up to 64 images, evenly spaced over the source, has a color."""
    if color != "auto":
        return color
    for i in np.linspace(0, len(source) - 1, min(looked_at, len(source))).astype(int):
        pixels = source.read(int(i)).pixels
        if pixels is not None and pixels.shape[2] == 3 and (pixels != pixels[..., :1]).any():
            return "color"
    return "gray"
