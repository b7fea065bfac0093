"""What a reader of one class's numbers has to know, from its ceiling and floor."""

from __future__ import annotations

from iuscore.images.listing import counted
from iuscore.score.records import Reference


def separation_note(name: str, ceiling: Reference | None, floor: Reference | None) -> str | None:
    """Real images of the class and of the others must reach different scores, or a score says nothing.

    Example:
        >>> ceiling = Reference(9, 0.7, {"0.25": 0.6})
        >>> floor = Reference(9, 0.1, {"0.5": 0.1})
        >>> separation_note("benign", ceiling, floor) is None
        True
    """
    if ceiling is None or floor is None:
        return None
    overlap = floor.quantiles["0.5"] >= ceiling.quantiles["0.25"]
    if not overlap and ceiling.mean - floor.mean >= 0.01:
        return None
    return (
        f"with this model an IUS against {name} does not tell the class: real images of {name} score "
        f"{ceiling.mean:.2f} on average, real images of other classes {floor.mean:.2f}, and the two overlap"
    )


def above_note(name: str, mean: float, ceiling: Reference | None, low: float | None = None) -> str | None:
    """A set whose mean is above that of real images is no better for it; ``low`` is the lower end of its interval.

    Example:
        >>> above_note("benign", 0.8, Reference(9, 0.4, {"0.95": 0.7})).split(":")[0]
        'the images against benign score 0.80 on average, above 95 % of real ones'
        >>> above_note("benign", 0.6, Reference(9, 0.4, {"0.95": 0.7}), 0.5).split(":")[0]
        'the images against benign score 0.60 on average, held-out real ones 0.40'
    """
    if ceiling is None:
        return None
    if mean <= ceiling.quantiles["0.95"]:
        if low is None or low <= ceiling.mean:
            return None
        return (
            f"the images against {name} score {mean:.2f} on average, held-out real ones {ceiling.mean:.2f}: to this "
            "model they are more typical of the class, which is no sign of a better set"
        )
    return (
        f"the images against {name} score {mean:.2f} on average, above 95 % of real ones: they have more of what tells "
        "the class from others than real images have, which is a difference too"
    )


def known_note(hits: int, looked_at: int, total: int) -> list[str]:
    """Images that the model was made from, found among those of which this can be said, of all.

    Example:
        >>> known_note(3, 9, 9)[0].split(":")[0]
        '3 of 9 images are training or validation images of this model'
        >>> known_note(1, 40, 900)[0].split(":")[0]
        'in a sample of 40 of the 900 images, 1 is a training or validation image of this model'
    """
    if not hits:
        return []
    # Of a model made from many images only a sample of their marks is kept, and so of the images only a sample is told.
    of = f"{hits} of" if looked_at >= total else f"in a sample of {looked_at} of the {total} images, {hits}"
    who = f"{of} {counted(looked_at, 'image')}" if looked_at >= total else of
    return [
        f"{who} {'is a' if hits == 1 else 'are'} training or validation {'image' if hits == 1 else 'images'} of this "
        "model: their scores say what it has learned by heart, not what new images are worth"
    ]
