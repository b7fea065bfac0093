"""Shapes, kinds and masks of images, for all ops alike: taken where there is one meaning, else refused in words."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import iuscore
from iuscore import ops
from iuscore.features import texture_features

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings("ignore:The PyTorch API of .* is in prototype stage:UserWarning"),
]

RGB = torch.randint(0, 256, (2, 12, 11, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
GRAY = RGB[..., 0].contiguous()
MANY = torch.randint(0, 256, (5, 12, 11), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))

MASKED: dict[str, Callable[..., Any]] = {
    "color_histogram": ops.color_histogram,
    "glcm": lambda x, **more: ops.glcm(x, levels=16, **more),
    "glcm_features": lambda x, **more: ops.glcm_features(x, levels=16, **more),
    "texture_stats": ops.texture_stats,
}
FILTERS: dict[str, Tensor] = {
    "weights": torch.randn(108, 64, generator=torch.Generator().manual_seed(3)),
    "bias": torch.zeros(64),
}
ALL: dict[str, Callable[..., Any]] = {
    **MASKED,
    "image_views": lambda x, **more: ops.image_views(x, **FILTERS, **more),
    "perceptual_maps": lambda x, **more: ops.perceptual_maps(x, size=(8, 8), **more),
    "resize": lambda x, **more: ops.resize(x, (7, 6), **more),
    "texture_features": lambda x, **more: texture_features(x, size=(16, 16), **more),
}


def tensors(result: Any) -> list[Tensor]:
    if isinstance(result, Tensor):
        return [result]
    return [part for item in result for part in tensors(item)] if isinstance(result, tuple) else []


def assert_same(left: Any, right: Any) -> None:
    for a, b in zip(tensors(left), tensors(right), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("name", sorted(set(ALL) - {"resize"}))
def test_gray_images_need_no_channel_axis(name: str) -> None:
    op = ALL[name]
    expected = op(MANY[..., None])
    for images in (MANY, MANY.numpy(), MANY.numpy().astype(">u1"), list(MANY)):
        assert_same(op(images), expected)
    one = op(MANY[:1, ..., None], layout="NHWC")
    for images in (MANY[0], MANY[:1], MANY[0].numpy(), [MANY[0]]):
        assert_same(op(images), one)
    for layout in ("NHWC", "NCHW"):
        assert_same(op(MANY, layout=layout), expected)


def test_resize_keeps_the_layout() -> None:
    channels_last = ops.resize(RGB, (7, 6))
    assert channels_last.shape == (2, 7, 6, 3)
    first = RGB.permute(0, 3, 1, 2)
    for given in (first, first.contiguous(), first.numpy()):
        assert torch.equal(ops.resize(given, (7, 6)), channels_last.permute(0, 3, 1, 2))
    assert torch.equal(ops.resize(list(first), (7, 6)), channels_last.permute(0, 3, 1, 2))
    assert torch.equal(ops.resize(list(RGB), (7, 6)), channels_last)
    assert torch.equal(ops.resize([RGB[0], first[1]], (7, 6)), channels_last)  # no layout in common
    gray = ops.resize(MANY[..., None], (7, 6))[..., 0]
    assert torch.equal(ops.resize(MANY, (7, 6)), gray)
    assert torch.equal(ops.resize(list(MANY), (7, 6)), gray)
    assert torch.equal(ops.resize([MANY[0], MANY[1, 2:]], (7, 6))[0], gray[0])
    assert torch.equal(ops.resize(MANY[0], (7, 6)), gray[0])
    assert torch.equal(ops.resize(MANY[0].numpy(), (7, 6)), gray[0])
    assert ops.resize(MANY[:0], (7, 6)).shape == (0, 7, 6)
    assert ops.resize(first[:0], (7, 6)).shape == (0, 3, 7, 6)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("shape", [(3, 12, 11), (12, 11, 3), (3, 12, 3), (12, 11, 1)])
def test_advice_for_a_shape_with_two_meanings_is_right(name: str, shape: tuple[int, ...]) -> None:
    """Each way that the message names is tried: it gives the gray images, or the image of three channels."""
    images = torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(2))
    with pytest.raises(ValueError, match=re.escape(f"images: {list(shape)} may be {shape[0]} gray images")) as raised:
        ALL[name](images)
    advice = r"for gray images pass (.*) with layout='(\w+)', for one image (.*) with layout='(\w+)'"
    found = re.search(advice, str(raised.value))
    assert found is not None
    many = eval(found[1], {"images": images})
    assert_same(ALL[name](many, layout=found[2]), ALL[name](images[..., None].contiguous(), layout="NHWC"))
    assert len(many) == shape[0]
    one = eval(found[3], {"images": images})
    view = images.permute(1, 2, 0) if found[4] == "NCHW" else images
    expected = ALL[name](view[None].contiguous(), layout="NHWC")
    got = ALL[name](one, layout=found[4])
    assert_same(got.permute(0, 2, 3, 1) if name == "resize" and found[4] == "NCHW" else got, expected)


@pytest.mark.parametrize("model", ["fitted", "texture"])
def test_a_scorer_takes_gray_images_without_a_channel_axis(model: str, request: pytest.FixtureRequest) -> None:
    scorer = iuscore.load(request.getfixturevalue(model))
    expected = scorer(MANY[..., None], target="a", batch_size=2).ius
    assert torch.equal(scorer(MANY, target="a", batch_size=2).ius, expected)
    assert torch.equal(scorer(MANY.numpy(), target="a").ius, expected)
    assert torch.equal(scorer(MANY[0], target="a").ius, expected[:1])
    with pytest.raises(ValueError, match=r"may be 3 gray images or one image"):
        scorer(MANY[:3], target="a")


CASTS = {
    "float64": (GRAY.numpy() / 255.0, lambda x: x.astype("float32")),
    "bool": (GRAY.numpy() > 90, lambda x: np.where(x, 255, 0).astype("uint8")),
    "int64": (GRAY.numpy().astype("int64"), lambda x: x.astype("uint8")),
    "int32": (GRAY.numpy().astype("int32"), lambda x: x.astype("uint8")),
    "uint32": (GRAY.numpy().astype("uint32"), lambda x: x.astype("uint8")),
    "int16": (GRAY.numpy().astype("int16"), lambda x: x.astype("uint8")),
    "int8": (np.minimum(GRAY.numpy(), 127).astype("int8"), lambda x: x.astype("uint8")),
    "longdouble": (GRAY.numpy() / np.longdouble(255), lambda x: x.astype("float32")),
}


@pytest.mark.parametrize("name", sorted(set(ALL) - {"image_views", "resize"}))  # of bytes alone
@pytest.mark.parametrize("kind", CASTS)
@pytest.mark.parametrize("tensor", [False, True])
def test_the_cast_that_is_told_is_the_one_that_works(name: str, kind: str, tensor: bool) -> None:
    array, cast = CASTS[kind]
    if tensor and kind == "longdouble":
        pytest.skip("PyTorch has no such type")
    images: Any = torch.from_numpy(array) if tensor else array
    got = "float128" if kind == "longdouble" else kind
    with pytest.raises(TypeError, match=f"^images: expected dtype .*, got {got}; write ") as raised:
        ALL[name](images)
    written = re.search(r"; write (.*?)(?: for values .*)?$", str(raised.value))
    assert written is not None
    assert_same(ALL[name](eval(written[1], {"images": images, "torch": torch})), ALL[name](cast(array)))
    with pytest.raises(TypeError, match=rf"^images\[1\]: expected dtype .*, got {got}; write images\[1\]\."):
        ALL[name]([GRAY[0], images[1]])


@pytest.mark.parametrize("name", MASKED)
def test_masked_values_of_an_array_are_not_counted(name: str) -> None:
    op, hidden = MASKED[name], RGB.numpy() > 200
    array = np.ma.masked_array(RGB.numpy(), hidden)
    counted = torch.from_numpy(~hidden.any(3))
    expected = op(RGB, mask=counted)
    assert not torch.equal(tensors(expected)[0], tensors(op(RGB))[0])
    assert_same(op(array), expected)
    assert_same(op(np.ma.masked_array(RGB.numpy().transpose(0, 3, 1, 2), hidden.transpose(0, 3, 1, 2))), expected)
    assert_same(op([array[0], array[1]]), expected)
    assert_same(op([array[0], RGB.numpy()[1]]), op(list(RGB), mask=[counted[0], torch.ones(12, 11, dtype=torch.bool)]))
    other = RGB[..., 1] > 30
    assert_same(op(array, mask=other), op(RGB, mask=counted & other))
    assert_same(op(list(array), mask=list(other)), op(RGB, mask=counted & other))
    assert_same(op(np.ma.masked_array(GRAY.numpy(), hidden[..., 0])), op(GRAY, mask=torch.from_numpy(~hidden[..., 0])))
    assert_same(op(np.ma.masked_array(RGB.numpy(), False)), op(RGB))  # nothing is masked
    of_mask = np.ma.masked_array(other.numpy(), ~counted.numpy())  # what a mask masks is not known to be counted
    assert_same(op(RGB, mask=of_mask), op(RGB, mask=counted & other))


@pytest.mark.parametrize("name", sorted(set(ALL) - set(MASKED)))
def test_masked_arrays_are_refused_where_all_is_used(name: str) -> None:
    array = np.ma.masked_array(RGB.numpy(), RGB.numpy() > 200)
    text = "expected an array without masked values, as none can be left out here; pass images"
    with pytest.raises(TypeError, match=f"^images: {text}.data to use them all, or images.filled"):
        ALL[name](array)
    with pytest.raises(TypeError, match=rf"^images\[1\]: {text}\[1\]\.data"):
        ALL[name]([RGB[0], array[1]])
    assert_same(ALL[name](np.ma.masked_array(RGB.numpy(), False)), ALL[name](RGB))


def test_masked_matrices_are_refused() -> None:
    counts = ops.glcm(GRAY, levels=4).numpy()
    with pytest.raises(TypeError, match=r"^images: expected an array without masked values"):
        ops.glcm_features(np.ma.masked_array(counts, counts > 3), levels=None)


def strange() -> dict[str, tuple[Any, str]]:
    floats = RGB.float() / 255
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of types that PyTorch is about to change
        return {
            "sparse": (floats.to_sparse(), "expected a dense tensor, got layout sparse_coo; convert it with .to_dense"),
            "csr": (GRAY[0].float().to_sparse_csr(), "expected a dense tensor, got layout sparse_csr; convert it"),
            "nested": (torch.nested.nested_tensor(list(floats)), "expected a dense tensor, got a nested one; pass a l"),
            "jagged": (
                torch.nested.nested_tensor([floats[0], floats[1, 2:]], layout=torch.jagged),
                "expected a dense tensor, got a nested one; pass a list",
            ),
            "masked": (
                torch.masked.masked_tensor(floats, floats > 0.5),
                "expected a dense tensor, got MaskedTensor; pass ",
            ),
            "quantized": (torch.quantize_per_tensor(floats, 1.0, 0, torch.quint8), "got quint8; write "),
            "meta": (RGB.to("meta"), "expected pixels, got a meta tensor, which has a shape alone"),
            "complex": (floats.to(torch.complex64), "got complex64; "),
        }


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("kind", strange())
def test_tensors_without_plain_pixels_are_refused(name: str, kind: str) -> None:
    images, text = strange()[kind]
    with pytest.raises((TypeError, ValueError), match=f"^images: .*{re.escape(text)}"):
        ALL[name](images)
    if kind != "csr":
        one = torch.nested.nested_tensor([RGB[0].float()]) if kind == "nested" else images[0]
        if kind not in ("nested", "jagged"):  # whose parts are plain
            with pytest.raises((TypeError, ValueError), match=rf"^images\[0\]: .*{re.escape(text)}"):
                ALL[name]([one])


@pytest.mark.parametrize("name", MASKED)
def test_masks_without_plain_values_are_refused(name: str) -> None:
    mask = RGB[..., 0] > 90
    with pytest.raises(TypeError, match=r"^mask: expected a dense tensor, got layout sparse_coo"):
        MASKED[name](RGB, mask=mask.to_sparse())
    with pytest.raises(TypeError, match=r"^mask: expected dtype bool or uint8 .*, got float32; write mask != 0$"):
        MASKED[name](RGB, mask=mask.float())


NOT_FLAGS = (1, 0, "yes", None, [True], torch.tensor(True), torch.zeros(2, 3), np.ones(3, bool), {}, 1.0)
FLAGS: dict[str, Callable[[Any], Any]] = {
    "return_ranges": lambda x: ops.perceptual_maps(RGB, size=(8, 8), return_ranges=x),
    "joint": lambda x: ops.color_histogram(RGB, bins=4, joint=x),
    "normalize": lambda x: ops.color_histogram(RGB, bins=4, normalize=x),
    "symmetric": lambda x: ops.glcm(RGB, levels=4, symmetric=x),
    "normalize of glcm": lambda x: ops.glcm(RGB, levels=4, normalize=x),
    "symmetric of features": lambda x: ops.glcm_features(RGB, levels=4, symmetric=x),
    "symmetric of matrices": lambda x: ops.glcm_features(np.ones((1, 4, 4), np.int32), levels=None, symmetric=x),
}


@pytest.mark.parametrize("name", FLAGS)
def test_flags_are_true_or_false(name: str) -> None:
    argument = name.partition(" ")[0]
    assert_same(FLAGS[name](np.bool_(True)), FLAGS[name](True))
    for value in NOT_FLAGS:
        if value is None and "of " in name and argument == "symmetric":
            continue  # stands for what the preset has
        with pytest.raises(TypeError, match=f"^{argument}: expected True or False, got "):
            FLAGS[name](value)


@pytest.mark.parametrize(
    "kind", ["grey", "", None, 0, True, 2**63, [], ["color"], {}, 1j, object(), torch.zeros(2), b"color"]
)
def test_kinds(kind: Any) -> None:
    ranges = torch.zeros(2, 4)
    for call in (
        lambda: ops.degenerate_maps(ranges, kind=kind),
        lambda: ops.perceptual_maps(RGB, kind=kind),
        lambda: ops.texture_stats(RGB, kind=kind),
        lambda: ops.image_views(RGB, **FILTERS, kind=kind),
    ):
        with pytest.raises(ValueError, match=r"^kind: expected 'color' or 'gray', got "):
            call()


def test_ranges_of_degenerate_maps() -> None:
    for ranges, error, text in (
        ([[0.0] * 4], TypeError, "ranges: expected a torch.Tensor, got list"),
        (torch.zeros(2, 4, dtype=torch.int64), TypeError, "ranges: expected dtype float32, got int64"),
        (torch.zeros(2, 3), ValueError, "ranges: expected [B, 4], got [2, 3]"),
        (torch.zeros(()), ValueError, "ranges: expected [B, 4], got []"),
        (torch.zeros(2, 4).to_sparse(), TypeError, "ranges: expected a dense tensor, got layout sparse_coo"),
    ):
        with pytest.raises(error, match=f"^{re.escape(text)}"):
            ops.degenerate_maps(ranges, kind="color")  # type: ignore[arg-type]


def test_sizes_that_no_memory_holds() -> None:
    for side in (2**24 + 1, 2**31, 2**63, 2**70):
        for op in (lambda size: ops.resize(RGB, size), lambda size: ops.perceptual_maps(RGB, size=size)):
            for size in ((side, 8), (8, side)):
                with pytest.raises(ValueError, match=r"^size: expected \(height, width\) of at most 2\^24 each, got "):
                    op(size)
    with pytest.raises(ValueError, match=r"^bins: expected an integer from 1 to 1024 or 3 of them, got"):
        ops.color_histogram(RGB, bins=2**63)
    with pytest.raises(ValueError, match=r"^range: expected finite numbers"):
        ops.color_histogram(RGB, range=(0, 2**2000))
    for distance in (2**63, 2**2000, float("nan")):
        with pytest.raises(ValueError, match=r"^distances: expected "):
            ops.glcm(RGB, levels=4, distances=distance)
    with pytest.raises(ValueError, match=r"^offsets: expected magnitudes below 2\^31, got"):
        ops.glcm(RGB, levels=4, offsets=[(2**63, 1)])


class TestNamesOfScikitImage:
    graycoprops = (
        "contrast", "dissimilarity", "homogeneity", "ASM", "energy", "correlation", "mean", "variance", "std",
        "entropy",
    )  # fmt: skip

    def test_one_distance_and_one_angle(self) -> None:
        expected = ops.glcm(GRAY, levels=8, distances=[2], angles=[0.5])
        for distance, angle in (
            (2, 0.5),
            (2.0, np.float32(0.5)),
            (np.int64(2), torch.tensor([0.5])),
            (np.array([2]), [0.5]),
        ):
            assert torch.equal(ops.glcm(GRAY, levels=8, distances=distance, angles=angle), expected)
            values = ops.glcm_features(GRAY, levels=8, distances=distance, angles=angle).values
            assert values.shape == (2, 1, 1, 10)
        assert_same(ops.texture_stats(RGB, distances=2), ops.texture_stats(RGB, distances=(2,)))
        assert_same(ops.texture_stats(RGB, distances=np.int64(2)), ops.texture_stats(RGB, distances=(2,)))

    @pytest.mark.parametrize("name", graycoprops)
    def test_each_property_has_the_value_of_graycoprops(self, name: str) -> None:
        skimage = pytest.importorskip("skimage.feature")
        counts = ops.glcm(GRAY, levels=8, distances=1)
        for options in ({"features": name}, {"features": [name]}, {"props": name}, {"props": (name,)}):
            values, names = ops.glcm_features(GRAY, levels=8, distances=1, dtype=torch.float64, **options)
            assert names == (name,)
            for i in range(len(GRAY)):
                matrix = counts[i].permute(2, 3, 0, 1).numpy()
                total = matrix.sum((0, 1))
                expected = skimage.graycoprops(matrix / total, name)
                np.testing.assert_allclose(values[i, ..., 0].numpy(), expected, rtol=1e-9, atol=1e-12)

    def test_names_that_are_nearly_right(self) -> None:
        nearly = {"asm": "ASM", "Homogeneity": "homogeneity", "inverse difference": "inverse_difference"}
        for given, meant in {**nearly, "dissimilarty": "dissimilarity"}.items():
            with pytest.raises(ValueError, match=f"^props: unknown name '{given}'; '{meant}' is the nearest"):
                ops.glcm_features(GRAY, levels=8, props=[given])
        with pytest.raises(ValueError, match=r"^features: unknown name 'xyz'; the names are contrast, "):
            ops.glcm_features(GRAY, levels=8, features="xyz")
        with pytest.raises(ValueError, match=r"^props: another name of features; expected one of the two"):
            ops.glcm_features(GRAY, levels=8, features="ASM", props="ASM")


OPTIONS = [None, 0, -1, 1, 2, 300, 2**63, 2**70, -(2**63), 0.5, float("nan"), float("inf"), -1e308, "", "x", "clean",
           "published", True, [], [1], [[1, 0]], (3, 3), (0, 0), (300, 300), (2**63, 1), [300] * 3, b"a", {}, object(),
           torch.tensor(3), np.float32(2), np.int64(7), torch.zeros(2, 12, 11, dtype=torch.bool), [0, 45], 1j,
           torch.device("meta"), "cpu", "torch", np.zeros(3), np.array([1, 2]), [None], [["a"]], lambda: 0]  # fmt: skip
ARGUMENTS: dict[Any, tuple[tuple[Any, ...], tuple[str, ...]]] = {
    ops.perceptual_maps: ((RGB,), ("kind", "mode", "size", "dtype", "layout", "backend", "return_ranges")),
    ops.color_histogram: (
        (RGB,), ("bins", "space", "range", "mask", "joint", "normalize", "layout", "backend"),
    ),
    ops.glcm: (
        (RGB,),
        ("levels", "distances", "angles", "offsets", "symmetric", "normalize", "mask", "quantize", "range", "width",
         "layout", "backend"),
    ),
    ops.glcm_features: (
        (RGB,),
        ("levels", "features", "preset", "props", "distances", "angles", "offsets", "symmetric", "mask", "quantize",
         "range", "width", "dtype", "layout", "backend"),
    ),
    ops.image_views: ((RGB,), ("weights", "bias", "kind", "layout", "backend")),
    ops.texture_stats: ((RGB,), ("kind", "bins", "levels", "distances", "mask", "layout", "backend")),
    ops.resize: ((RGB,), ("size", "layout", "backend")),
    texture_features: ((RGB,), ("kind", "size", "layout", "backend")),
}  # fmt: skip
NEEDED = {
    ops.glcm: {"levels": 4},
    ops.glcm_features: {"levels": 4},
    ops.resize: {"size": (4, 4)},
    ops.image_views: FILTERS,
}


@pytest.mark.parametrize("op", ARGUMENTS, ids=lambda op: op.__name__)
def test_any_value_of_any_argument_works_or_is_named(op: Any) -> None:
    """One argument at a time, and each of the images: nothing but TypeError and ValueError that begin with its name."""
    given, names = ARGUMENTS[op]
    needed = NEEDED.get(op, {})
    for name in names:
        for value in OPTIONS:
            said = refusal(lambda n=name, v=value: op(*given, **{**needed, n: v}))
            assert re.match(r"\w+(\[\d+\])?: ", said), (name, value, said)
    for value in OPTIONS:
        for images in (value, [value], [RGB[0], value]):
            assert refusal(lambda x=images: op(x, **needed)).startswith("images"), value


def refusal(call: Callable[[], Any]) -> str:
    """What an op says to an argument that it does not take; "images: taken" where it does."""
    try:
        call()
    except (TypeError, ValueError) as error:
        return str(error) if type(error) in (TypeError, ValueError, iuscore.UserError) else repr(error)
    return "images: taken"
