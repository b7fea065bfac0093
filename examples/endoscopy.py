"""Keep the half of a generator's endoscopic images that scores best, and see what is wrong with the rest.

Fits a texture model to real images and leaves the black border of the endoscope out of every measurement
(``mask="border"``). Then it scores the generated images, copies the better half to a folder, and prints
what changed in the worst one. Without folders it draws phantoms, so that it runs anywhere:

    python examples/endoscopy.py
    python examples/endoscopy.py --real real/ --generated generated/ --target abnormal --keep kept/

The real folder holds train/, val/ and test/, each with one folder per class; the generated folder holds images.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path

import iuscore
from iuscore import phantoms
from iuscore.fit import TextureOptions, fit, open_splits


def draw(folder: Path) -> tuple[Path, Path]:
    """Phantoms in place of real images, and phantoms in place of generated images, half of them blurred."""
    phantoms.write(folder / "real", "endoscopy", n_per_class=40, size=64, seed=1)
    generated = folder / "generated"
    for name, defects in (("sharp", phantoms.Defects()), ("blurred", phantoms.Defects(blur=0.6))):
        phantoms.write(
            folder / name, "endoscopy", n_per_class=10, size=64, seed=2, splits={"images": 1.0}, defects=defects
        )
        generated.mkdir(exist_ok=True)
        for path in (folder / name / "images/abnormal").iterdir():
            path.rename(generated / f"{name}_{path.name}")
    return folder / "real", generated


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--real", type=Path, help="real images: <split>/<class>/<file>")
    parser.add_argument("--generated", type=Path, help="generated images of one class")
    parser.add_argument("--target", default="abnormal", help="the real class to compare with (default: abnormal)")
    parser.add_argument("--keep", type=Path, help="folder for copies of the better half (default: none are copied)")
    arguments = parser.parse_args()
    if (arguments.real is None) != (arguments.generated is None):
        parser.error("expected --real and --generated together, or neither")

    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        real, generated = (arguments.real, arguments.generated) if arguments.real else draw(work)
        fit(open_splits(real), work / "model", model_options=TextureOptions(size=(64, 64), mask="border"))
        scorer = iuscore.load(work / "model")

        paths = sorted(path for path in generated.iterdir() if path.suffix.lower() in (".png", ".jpg", ".jpeg"))
        scores = scorer(paths, target=arguments.target)
        order = scores.ius.argsort(descending=True).tolist()
        kept = order[: (len(order) + 1) // 2]
        print(f"kept {len(kept)} of {len(paths)} images")
        print(f"IUS of the kept: {scores.ius[kept].mean():+.2f}; of all: {scores.ius.mean():+.2f}")
        if arguments.keep:
            arguments.keep.mkdir(parents=True, exist_ok=True)
            for index in kept:
                shutil.copy2(paths[index], arguments.keep)

        worst = paths[order[-1]]
        print(f"\nthe worst, {worst.name}:")
        print(scorer.explain(worst, target=arguments.target)[0])


if __name__ == "__main__":
    main()
