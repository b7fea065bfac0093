"""Train a toy generator with the score as one term of its loss.

Fits a small EPU-CNN (the kind of model whose score has a gradient) to phantoms. Then trains a tiny generator with two
loss terms, the distance from the mean real image and the score, and prints the score during training:

    python examples/training_loop.py

A generator that is trained on a score may overfit to it: judge the result with a model of another seed.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch

import iuscore
from iuscore import phantoms
from iuscore.fit import EPUOptions, TrainingOptions, fit, open_splits
from iuscore.metrics import UtilitySimilarity

SIZE = 32


def main() -> None:
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        phantoms.write(work / "real", "endoscopy", n_per_class=60, size=SIZE, seed=1)
        options = EPUOptions(size=(SIZE, SIZE), base_channels=4, hidden_units=8)
        fit(
            open_splits(work / "real"),
            work / "model",
            model_options=options,
            training=TrainingOptions(epochs=8, learning_rate=0.01),
            seed=3,
        )
        scorer = iuscore.load(work / "model")

        real = torch.from_numpy(phantoms.draw("endoscopy", "normal", 16, size=SIZE))
        mean = real.permute(0, 3, 1, 2).float().mean(0) / 255
        generator = torch.nn.Sequential(
            torch.nn.Linear(8, 3 * SIZE * SIZE), torch.nn.Unflatten(1, (3, SIZE, SIZE)), torch.nn.Sigmoid()
        )
        optimizer = torch.optim.Adam(generator.parameters(), lr=0.02)
        metric = UtilitySimilarity(scorer, target="normal")

        for step in range(31):
            images = generator(torch.randn(16, 8))
            score = scorer(images, target="normal").ius
            if step % 10 == 0:
                values = metric(images.detach())
                print(f"step {step:2d}: IUS {values['ius']:+.2f} +- {values['ius_se']:.2f}")
                metric.reset()
            loss = (images - mean).square().mean() + 0.1 * (1 - score).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()


if __name__ == "__main__":
    main()
