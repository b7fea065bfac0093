"""Which of two generators of chest radiographs makes the more useful images?

Fits a texture model to real images, scores one set of each generator against the real class, and prints both means
with the mean of held-out real images, and the notes, which say how far the means can be trusted. Without folders it
draws phantoms, so that it runs anywhere:

    python examples/radiology.py
    python examples/radiology.py --real real/ --first generator_a/ --second generator_b/ --target pneumonia

The real folder holds train/, val/ and test/, each with one folder per class; the other two hold images.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import iuscore
from iuscore import phantoms
from iuscore.engine import score_source
from iuscore.fit import TextureOptions, fit, open_splits


def draw(folder: Path) -> tuple[Path, Path, Path]:
    """Phantoms in place of real images, of images of a faithful generator, and of a generator that blurs."""
    phantoms.write(folder / "real", "radiograph", n_per_class=60, size=64, seed=1)
    for name, defects in (("faithful", phantoms.Defects()), ("blurred", phantoms.Defects(blur=0.6))):
        phantoms.write(
            folder / name, "radiograph", n_per_class=20, size=64, seed=2, splits={"images": 1.0}, defects=defects
        )
    return folder / "real", folder / "faithful/images/abnormal", folder / "blurred/images/abnormal"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--real", type=Path, help="real images: <split>/<class>/<file>")
    parser.add_argument("--first", type=Path, help="images of the first generator")
    parser.add_argument("--second", type=Path, help="images of the second generator")
    parser.add_argument("--target", default="abnormal", help="the real class to compare with (default: abnormal)")
    arguments = parser.parse_args()
    given = [arguments.real, arguments.first, arguments.second]
    if any(given) and not all(given):
        parser.error("expected --real, --first and --second together, or none of them")

    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        real, first, second = given if all(given) else draw(work)
        size = (64, 64) if not all(given) else (128, 128)
        fitted = fit(open_splits(real), work / "model", model_options=TextureOptions(size=size))
        print(f"validation AUROC {fitted.record.validation.auroc:.2f}")

        scorer = iuscore.load(work / "model")
        for name, folder in (("first", first), ("second", second)):
            run = score_source(scorer, folder, work / name, target=arguments.target)
            found = run.summary.targets[arguments.target]
            reached = found.ceiling.mean if found.ceiling else float("nan")
            print(f"{name}: IUS {found.ius.mean:+.2f}; held-out real images of the class reach {reached:+.2f}")
            print(f"  what changed most: {found.most_changed}; what matters most: {found.matters_most}")
            for note in run.summary.notes:
                print(f"  note: {note}")


if __name__ == "__main__":
    main()
