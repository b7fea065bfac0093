"""Numbers that the pages tell in prose are the constants of the code."""

from __future__ import annotations

import pytest

from iuscore.engine import batches, notes, run, texts
from iuscore.engine.verify import MAX_PROBLEMS
from iuscore.features import change, masks, out_of_distribution
from iuscore.fit import findings, kinds, timing
from iuscore.images import decoded, marks
from iuscore.images.batches import BATCH_BYTES
from iuscore.images.formats import gdcm_process, jpeg
from iuscore.scoring import explanation, intervals, words
from tests.conftest import ROOT

THRESHOLDS = {
    "score": (
        f"Above {words.MAX_DISTANCE} the set is `out_of_distribution`",
        f"`distance_from_real` above {words.MAX_DISTANCE} finds",
        f"(all groups together, above {words.MAX_JOINT_DISTANCE})",
        f"`joint_distance_from_real` above {words.MAX_JOINT_DISTANCE}.",
        f"with a weight of {1 - change.RIDGE:g}, plus {change.RIDGE} times the unit matrix",
        f"by more than {out_of_distribution.MIN_INVERSION} spreads",
        f"by less than {out_of_distribution.MAX_DISTANCE_INVERTED} times that distance",
        f"that distance. At least {out_of_distribution.MIN_IMAGES_INVERTED} images are needed",
        f"below {notes.COPIES} a note says so. At least {change.MIN_NEIGHBORS} images are needed",
        f"made from more than {marks.KEPT:,} images",
        f"at least {explanation.MIN_SD} (a saturated tanh",
        f"(contribution - baseline) / max(sd, {explanation.MIN_SD})",
        f"at most {texts.MAX_TEXTS} are listed",
        f"null for fewer than {intervals.MIN_IMAGES} images or groups",
        f"Fewer than {intervals.MIN_IMAGES} images, or an effective number of patients below {intervals.MIN_IMAGES},",
        f"more than {decoded.MAX_PIXELS:,} pixels",
    ),
    "fit": (
        f"a correlation above {findings.ALIKE}",
        f"Above {findings.MAX_COMPARED:,} images only every second one is compared, "
        f"above {2 * findings.MAX_COMPARED:,} every third",
        f"no channel is above {masks.DARK} of 255",
        f"shorter than 1/{masks.THINNEST} of the height",
        f"shorter than 1/{masks.NARROWEST} that cut",
        f"less than 1/{masks.MIN_SIDE} of an image would be left",
        f"at least { {3.0: 'three'}[timing.FASTER] } times faster",
        f"its maps are at least {kinds.MIN_SIDE}x{kinds.MIN_SIDE}",
        f"a decrease by less than {kinds.KINDS['texture'].training.least_gain} does not count",
    ),
    "engine": (
        f"({run.SHARD_SIZES['epu']} with an `epu` model, {run.SHARD_SIZES['texture']} with a `texture` model)",
        f"at most {MAX_PROBLEMS} problems",
        f"or at {BATCH_BYTES >> 20} MiB, whichever comes first",
        f"an image of up to {batches.AHEAD_PIXELS:,} pixels per thread",
        f"for all classes together; {texts.MAX_TEXTS} texts",
        f"has {decoded.MAX_PIXELS:,} pixels",
    ),
    "errors": (
        f"a JPEG of more than {jpeg.MAX_SCANS} scans",
        f"| {jpeg.MAX_SCANS} scans, counted before decoding |",
        f"decoding took more than {gdcm_process.MAX_SECONDS:g} s",
        f"| {decoded.MAX_PIXELS:,}, known from the header",
    ),
}
"""Page -> what stands in it, line ends aside."""


@pytest.mark.parametrize("page", THRESHOLDS)
def test_numbers_in_prose_are_the_constants(page: str) -> None:
    text = " ".join((ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8").split())
    assert [said for said in THRESHOLDS[page] if said not in text] == []
