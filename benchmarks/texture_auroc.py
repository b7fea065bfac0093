"""AUROC of a texture model on real classes, compared with gradient boosting on the same features and splits.

    python benchmarks/texture_auroc.py [SHARED_DATA]

SHARED_DATA contains mammography/, pneumoniamnist/ and blood_cells/; without it only phantoms are used. The seconds
depend on the load of the machine and only show the order of magnitude; the AUROC does not.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _harness import save

from iuscore import load, phantoms
from iuscore.fit import Splits, fit, open_splits
from iuscore.fit.training import auroc
from iuscore.scoring.contributions import prepare_source

PHANTOMS_PER_CLASS = 500
SEEDS = (0, 1, 2)
TIE = 0.99


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", nargs="?", type=Path)
    data = parser.parse_args().data
    rows = []
    for name, splits, classes in _data_sets(data):
        rows.append(_row(name, splits, classes))
        print(rows[-1], flush=True)
    columns = [
        "data",
        "images to train, validate, test",
        "AUROC, validation: texture",
        "boosting",
        "AUROC, test: texture",
        "boosting",
        f"real test images with IUS above {TIE}",
        "seconds to fit",
    ]
    title = "Ensembles of three; boosting is HistGradientBoostingClassifier as it comes"
    content = {
        "benchmark": "texture model and gradient boosting on the same features",
        "threads": torch.get_num_threads(),
        "tables": [{"title": title, "columns": columns, "rows": rows}],
    }
    print(save("texture_auroc", content, ("torch", "numpy", "scikit-learn")))


def _data_sets(data: Path | None) -> Iterator[tuple[str, Splits, list[str] | None]]:
    if data is not None:
        root = data / "mammography"
        yield "mammography", open_splits(root / "real_train", val=root / "real_val", test=root / "real_test"), None
        yield "PneumoniaMNIST", open_splits(data / "pneumoniamnist" / "pneumoniamnist_rebuilt.npz"), None
        yield "blood cells, 3 classes", open_splits(data / "blood_cells", group_by=r"BloodImage_\d+"), None
    for kind in phantoms.DEFECT_TARGETS:
        for seed in SEEDS:
            with tempfile.TemporaryDirectory() as folder:
                phantoms.write(folder + "/real", kind, n_per_class=PHANTOMS_PER_CLASS, seed=seed)
                yield f"{kind} phantoms, seed {seed}", open_splits(folder + "/real"), ["normal", "abnormal"]


def _row(name: str, splits: Splits, classes: list[str] | None) -> list[str]:
    from sklearn.ensemble import HistGradientBoostingClassifier

    with tempfile.TemporaryDirectory() as folder:
        begin = time.perf_counter()
        fitted = fit(splits, folder + "/model", model="texture", classes=classes)
        seconds = time.perf_counter() - begin
        scorer = load(fitted.folder)
        features: dict[str, Any] = {}
        for part, source in splits.parts().items():
            inputs, kept, _ = prepare_source(scorer.model, source, Path(folder) / part)
            features[part] = inputs, np.array([scorer.classes.index(source.items[i].label or "") for i in kept])
    boosting = HistGradientBoostingClassifier(random_state=0).fit(*features["train"])
    peers = {
        part: auroc(boosting.decision_function(x).reshape(len(x), -1), y)
        for part, (x, y) in features.items()
        if part != "train"
    }
    inputs, labels = features["test"]
    target = [scorer.classes[k] for k in labels]
    ius = scorer.score_inputs(torch.from_numpy(inputs), [()] * len(labels), target).ius.numpy()
    record = fitted.record
    assert record.validation is not None
    assert record.test is not None
    counts = ", ".join(str(len(features[part][1])) for part in ("train", "val", "test"))
    return [
        name,
        counts,
        f"{record.validation.auroc:.3f}",
        f"{peers['val']:.3f}",
        f"{record.test.auroc:.3f}",
        f"{peers['test']:.3f}",
        f"{(ius > TIE).mean():.1%}",
        f"{seconds:.0f}",
    ]


if __name__ == "__main__":
    main()
