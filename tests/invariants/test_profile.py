"""What holds for the measure and the profiles, against slow loops in double precision."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from iuscore._run import records
from iuscore.errors import UserError
from iuscore.models import EPUCNN, Ensemble, ModelRecord
from iuscore.models.record import Profile
from iuscore.scoring.baseline import baseline_profiles, ceiling_and_floor, profiles_of
from iuscore.scoring.similarity import ius, leave_one_out_ius, shares

TWO = ("benign", "malignant")
SMALL = Profile((1.0, 2.0), None, None, None, 3, ((1.0, 2.0),))
THREE = ("a", "b", "c")


def loop_ius(baseline: np.ndarray, row: np.ndarray, eps: float = 1e-8) -> float:
    dot = sum(float(b) * float(c) for b, c in zip(baseline, row, strict=True))
    norms = [max(math.sqrt(sum(float(v) ** 2 for v in vector)), eps) for vector in (baseline, row)]
    return dot / (norms[0] * norms[1])


def cloud(count: int, components: int = 4, *, seed: int = 3, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(count, components, generator=torch.Generator().manual_seed(seed), dtype=dtype)


class TestMeasure:
    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    def test_ius_is_the_cosine(self, dtype: torch.dtype) -> None:
        rows, base = cloud(50, dtype=dtype), cloud(1, seed=9, dtype=dtype)[0]
        # 4 products of relative error ~3 ulp each, sum bounded by 1
        atol = 16 * torch.finfo(dtype).eps
        found = ius(base, rows)
        torch.testing.assert_close(found, nn.functional.cosine_similarity(base, rows, dim=-1), rtol=0, atol=atol)
        slow = [loop_ius(base.numpy(), row) for row in rows.numpy()]
        np.testing.assert_allclose(found.numpy(), slow, rtol=0, atol=atol)
        assert found.abs().max() <= 1 + atol

    def test_shares_sum_to_it_and_split_the_product(self) -> None:
        rows, base = cloud(50), cloud(1, seed=9)[0]
        parts = shares(base, rows)
        assert torch.equal(parts.sum(dim=-1), ius(base, rows))
        norms = base.norm() * rows.norm(dim=1, keepdim=True)
        torch.testing.assert_close(parts, base * rows / norms)

    def test_zero_vectors_are_zero(self) -> None:
        rows = torch.stack([torch.zeros(4), torch.ones(4)])
        assert ius(torch.ones(4), rows).tolist() == [0.0, 1.0]
        assert shares(torch.zeros(4), rows).abs().sum() == 0
        for dtype in (torch.float16, torch.bfloat16):
            assert ius(torch.ones(4), rows.to(dtype)).tolist() == [0.0, 1.0]

    def test_not_finite_is_never_a_number(self) -> None:
        rows = torch.ones(4, 4)
        rows[1, 2], rows[2, 0], rows[3, 3] = math.nan, math.inf, -math.inf
        found = ius(torch.ones(4), rows)
        assert found.isnan().tolist() == [False, True, True, True]
        assert shares(torch.ones(4), rows)[1].isnan().all()

    def test_gradients_are_right_and_finite_at_zero(self) -> None:
        base, rows = cloud(1, seed=9, dtype=torch.float64)[0], cloud(3, dtype=torch.float64)
        assert torch.autograd.gradcheck(ius, (base.requires_grad_(), rows.requires_grad_()))
        zero = torch.zeros(1, 4, requires_grad=True)
        ius(torch.ones(4), zero).sum().backward()
        assert zero.grad is not None
        assert zero.grad.isfinite().all()

    @pytest.mark.parametrize(("base", "rows"), [((3,), (2, 4)), ((4,), (4,)), ((3, 4), (2, 4)), ((), (2, 4))])
    def test_shapes_that_do_not_fit_are_refused(self, base: tuple[int, ...], rows: tuple[int, ...]) -> None:
        with pytest.raises(ValueError, match=r"expected a baseline \[G\] or \[B, G\] and contributions"):
            ius(torch.ones(base), torch.ones(rows))

    def test_leave_one_out_compares_with_the_mean_of_the_others(self) -> None:
        rows = cloud(9)
        slow = []
        for i in range(9):
            others = [rows[j].double().numpy() for j in range(9) if j != i]
            slow.append(loop_ius(sum(others) / 8, rows[i].numpy()))
        np.testing.assert_allclose(leave_one_out_ius(rows).numpy(), slow, rtol=0, atol=1e-6)
        assert leave_one_out_ius(rows[:1]).isnan().tolist() == [True]
        assert leave_one_out_ius(rows[:0]).shape == (0,)


LABELS = [0, 1, 0, 2, 1, 0, 1, 1, 2, 0, 1, 0]


class TestProfiles:
    def test_profiles_equal_those_by_loops(self) -> None:
        values = torch.randn(2, 12, 4, 3, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
        found = baseline_profiles(values, LABELS, classes=THREE)
        for k, name in enumerate(THREE):
            profile, rows = found[name], [i for i in range(12) if LABELS[i] == k]
            assert profile.n == len(rows)
            for g in range(4):
                each = [[float(values[m, i, g, k]) for i in rows] for m in range(2)]
                both = [(a + b) / 2 for a, b in zip(*each, strict=True)]
                mean = sum(both) / len(both)
                spread = math.sqrt(sum((v - mean) ** 2 for v in both) / (len(both) - 1))
                assert profile.mean[g] == pytest.approx(mean, abs=1e-12)
                assert profile.sd is not None
                assert profile.sd[g] == pytest.approx(spread, abs=1e-12)
                for m in range(2):
                    assert profile.member_means[m][g] == pytest.approx(sum(each[m]) / len(rows), abs=1e-12)

    def test_two_classes_share_the_column(self) -> None:
        values = cloud(6)[..., None]
        found = baseline_profiles(values, [0, 0, 0, 1, 1, 1], classes=TWO)
        assert found["benign"].mean == pytest.approx(values[:3, :, 0].double().mean(0).tolist())
        assert found["malignant"].mean == pytest.approx(values[3:, :, 0].double().mean(0).tolist())
        assert len(found["benign"].member_means) == 1

    def test_interval_is_that_of_the_normal_theory(self) -> None:
        values = torch.randn(400, 2, 1, generator=torch.Generator().manual_seed(5)).repeat(2, 1, 1)
        found = baseline_profiles(values, [0] * 400 + [1] * 400, classes=TWO)["benign"]
        assert found.sd is not None
        assert found.low is not None
        assert found.high is not None
        for mean, sd, low, high in zip(found.mean, found.sd, found.low, found.high, strict=True):
            half = 1.96 * sd / math.sqrt(400)
            # Student's quantile is 0.3 % larger; the skewness of 400 numbers is within 0.37, which moves an end by 3 %
            assert (low, high) == pytest.approx((mean - half, mean + half), abs=0.04 * half)

    def test_groups_widen_the_interval_and_nothing_else(self) -> None:
        values = cloud(20).repeat_interleave(4, dim=0)[..., None]  # four copies a patient
        marks = [0] * 40 + [1] * 40
        patients = [f"{i // 4}" for i in range(80)]
        alone, grouped = (baseline_profiles(values, marks, classes=TWO, groups=g)["benign"] for g in (None, patients))
        once = baseline_profiles(cloud(20)[..., None], [0] * 10 + [1] * 10, classes=TWO)["benign"]
        assert (grouped.mean, grouped.sd, grouped.n) == (alone.mean, alone.sd, 40)
        assert grouped.low == pytest.approx(once.low, rel=1e-9)  # four copies count as one image
        assert grouped.high == pytest.approx(once.high, rel=1e-9)
        for wide, narrow in zip(grouped.low or (), alone.low or (), strict=True):
            assert wide < narrow
        assert baseline_profiles(values, marks, classes=TWO, groups=[None] * 80)["benign"] == alone

    def test_no_interval_of_fewer_than_five(self) -> None:
        values = cloud(9)[..., None]
        found = baseline_profiles(values, [0] * 4 + [1] * 5, classes=TWO)
        assert (found["benign"].low, found["benign"].high) == (None, None)
        assert found["malignant"].low is not None
        assert records.from_json(Profile, records.to_json(found["benign"])) == found["benign"]

    def test_constant_component_and_single_image(self) -> None:
        values = cloud(6)[..., None]
        values[:5, 1] = 0.1
        found = baseline_profiles(values, [0] * 5 + [1], classes=TWO)
        many, one = found["benign"], found["malignant"]
        tenth = float(np.float32(0.1))
        assert many.sd is not None
        assert many.low is not None
        assert many.high is not None
        assert (many.mean[1], many.low[1], many.high[1], many.sd[1]) == (tenth, tenth, tenth, 0.0)
        assert many.low[0] < many.mean[0] < many.high[0]
        assert one.sd is None
        assert one.n == 1
        assert one.mean == tuple(values[5, :, 0].tolist())
        assert (one.low, one.high) == (None, None)

    def test_profiles_come_back_from_json(self) -> None:
        found: Any = {"paper": baseline_profiles(cloud(6)[..., None], [0, 1, 1, 1, 1, 1], classes=TWO)}
        stored = json.loads(json.dumps(ModelRecord(profiles=found).to_json()))
        assert ModelRecord.from_json(stored).profiles == found

    def test_profiles_of_another_model_are_refused(self) -> None:
        found: Any = {"paper": baseline_profiles(cloud(6)[..., None], [0, 1, 1, 1, 1, 1], classes=TWO)}
        model = Ensemble([EPUCNN(TWO, size=(8, 8), base_channels=1)])
        assert profiles_of(ModelRecord(profiles=found), model, "paper") == found["paper"]
        with pytest.raises(UserError, match=r"profiles.paper.benign.mean: expected 4 components \(.*\), got 2; fit"):
            profiles_of(ModelRecord(profiles={"paper": {"benign": SMALL}}), model, "paper")
        with pytest.raises(UserError, match=r"profiles\.paper\.x: expected one of the classes benign, malignant"):
            profiles_of(ModelRecord(profiles={"paper": {"x": SMALL}}), model, "paper")
        with pytest.raises(UserError, match="space: the model has no 'evidence' profiles"):
            profiles_of(ModelRecord(profiles=found), model, "evidence")

    @pytest.mark.parametrize(
        ("key", "value", "message"),
        [
            ("mean", [], r"p\.mean: expected numbers, one per component, got \(\)"),
            ("mean", [1.0, None], r"p\.mean\[1\]: expected a finite number, got null"),
            ("sd", [1.0], r"p\.sd: expected 2 numbers, one per component, got \(1\.0,\)"),
            ("n", 0, r"p\.n: expected a whole number of at least 1 or null, got 0"),
            ("member_means", [], r"p\.member_means: expected one list of numbers per member"),
            ("member_means", [[1.0]], r"p\.member_means\[0\]: expected 2 numbers"),
        ],
    )
    def test_a_damaged_profile_is_named(self, key: str, value: Any, message: str) -> None:
        stored = records.to_json(SMALL)
        with pytest.raises(UserError, match=message):
            records.from_json(Profile, {**stored, key: value}, "p")
        del stored[key]
        if key in ("mean", "member_means"):
            with pytest.raises(UserError, match=rf"^p\.{key}: is missing$"):
                records.from_json(Profile, stored, "p")

    def test_values_that_do_not_fit_are_refused(self) -> None:
        values = cloud(4)[..., None]
        with pytest.raises(UserError, match="no validation image of class 'malignant'"):
            baseline_profiles(values, [0, 0, 0, 0], classes=TWO)
        with pytest.raises(ValueError, match=r"contributions: expected \[N, G, 3\] or \[M, N, G, 3\]"):
            baseline_profiles(values, [0, 1, 2, 0], classes=THREE)
        with pytest.raises(ValueError, match=r"labels: expected \[4\], got \[3\]"):
            baseline_profiles(values, [0, 1, 0], classes=TWO)
        with pytest.raises(ValueError, match="labels: expected integers from 0 to 1"):
            baseline_profiles(values, [0, 1, 2, 0], classes=TWO)
        values[1, 2] = math.nan
        with pytest.raises(UserError, match="contributions of 1 of 4 images are not finite"):
            baseline_profiles(values, [0, 1, 1, 0], classes=TWO)


class TestCeilingAndFloor:
    @pytest.mark.parametrize("source", ["test", "leave-one-out"])
    def test_ceiling_and_floor_equal_those_by_loops(self, source: Any) -> None:
        values = torch.randn(12, 4, 3, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
        found = baseline_profiles(values, LABELS, classes=THREE)
        ceiling, floor = ceiling_and_floor(values, LABELS, found, classes=THREE, source=source)
        for k, name in enumerate(THREE):
            column = values[:, :, k].numpy()
            own = [i for i in range(12) if LABELS[i] == k]
            rest = [i for i in range(12) if LABELS[i] != k]
            high = []
            for i in own:
                base = np.array(found[name].mean)
                if source == "leave-one-out":
                    base = sum(column[j] for j in own if j != i) / (len(own) - 1)
                high.append(loop_ius(base, column[i]))
            low = [loop_ius(np.array(found[name].mean), column[i]) for i in rest]
            for part, numbers in ((ceiling[name], high), (floor[name], low)):
                assert (part.n, part.source) == (len(numbers), source)
                assert part.mean == pytest.approx(sum(numbers) / len(numbers), abs=1e-12)
                wanted = {str(q): float(np.quantile(numbers, q)) for q in (0.05, 0.25, 0.5, 0.75, 0.95)}
                assert part.quantiles == pytest.approx(wanted, abs=1e-12)

    def test_classes_with_nothing_to_compare_have_no_ceiling(self) -> None:
        values = cloud(3)[..., None]
        found = baseline_profiles(values, [0, 0, 1], classes=TWO)
        ceiling, floor = ceiling_and_floor(values, [0, 0, 1], found, classes=TWO, source="leave-one-out")
        assert (ceiling["malignant"].n, ceiling["malignant"].quantiles) == (0, {})
        assert ModelRecord(ceiling={"paper": ceiling}).to_json()["ceiling"]["paper"]["malignant"]["mean"] is None
        assert ModelRecord(ceiling={"paper": ceiling}).ceiling_of("paper", "malignant") is None
        assert floor["malignant"].n == 2
        ceiling, _ = ceiling_and_floor(values[:2], [0, 0], found, classes=TWO, source="test")
        assert (ceiling["benign"].n, ceiling["malignant"].n) == (2, 0)
        with pytest.raises(ValueError, match="source: expected 'test' or 'leave-one-out', got 'train'"):
            ceiling_and_floor(values, [0, 0, 1], found, classes=TWO, source="train")  # type: ignore[arg-type]
