"""FocalLoss against cross-entropy, against the formula in numpy, and by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from tomopick.models.losses import FocalLoss, TverskyOverlap

WEIGHTS = torch.tensor([0.2, 1.0, 3.0, 0.5])
CASES = {
    "plain": {},
    "class weights": {"class_weights": WEIGHTS},
    "smoothing": {"label_smoothing": 0.1},
    "ignored": {"ignore_index": 2},
    "all": {"class_weights": WEIGHTS, "label_smoothing": 0.2, "ignore_index": 255},
}


def problem(shape: tuple[int, ...], ignore: int | None = None) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    logits = 4 * torch.randn(shape[0], 4, *shape[1:], generator=generator)
    target = torch.randint(0, 4, shape, generator=generator)
    if ignore is not None:
        target.flatten()[::3] = ignore
    return logits, target


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("shape", [(16,), (2, 3, 4, 5)], ids=["windows", "voxels"])
@pytest.mark.parametrize("options", CASES.values(), ids=CASES.keys())
def test_at_gamma_0_it_is_cross_entropy(options, shape, reduction):
    logits, target = problem(shape, options.get("ignore_index"))
    loss = FocalLoss(gamma=0.0, reduction=reduction, **options)(logits, target)
    as_torch = {"weight" if name == "class_weights" else name: value for name, value in options.items()}
    torch.testing.assert_close(loss, functional.cross_entropy(logits, target, reduction=reduction, **as_torch))


def test_known_answer():
    """Odds 3 to 1 for the true class: (1 - 3/4)^2 x -ln(3/4); odds 1 to 3: (3/4)^2 x -ln(1/4)."""
    logits = torch.tensor([[math.log(3), 0.0], [math.log(3), 0.0]], dtype=torch.float64)
    easy, hard = FocalLoss(gamma=2.0, reduction="none")(logits, torch.tensor([0, 1])).tolist()
    assert easy == pytest.approx(math.log(4 / 3) / 16)
    assert hard == pytest.approx(math.log(4) * 9 / 16)
    weighted = FocalLoss(alpha=0.25, gamma=2.0, class_weights=torch.tensor([1.0, 3.0]))
    expected = 0.25 * (easy + 3 * hard) / (1 + 3)
    assert weighted(logits, torch.tensor([0, 1])).item() == pytest.approx(expected)


def by_formula(
    logits: np.ndarray,
    target: np.ndarray,
    alpha: float,
    gamma: float,
    weights: np.ndarray,
    smoothing: float,
    ignore: int,
    possible: np.ndarray | None = None,
) -> float:
    """The definition, sample by sample; of possible classes at background, each has the probability of all together."""
    total, share = 0.0, 0.0
    for i, (row, label) in enumerate(zip(logits, target, strict=True)):
        if label == ignore:
            continue
        p = np.exp(row - row.max())
        p /= p.sum()
        if possible is not None and label == len(row) - 1:
            p[possible[i]] = p[possible[i]].sum()
        wanted = np.full(len(row), smoothing / len(row))
        wanted[label] += 1 - smoothing
        total += alpha * max(0.0, 1 - p[label]) ** gamma * -(wanted * weights * np.log(p)).sum()
        share += weights[label]
    return total / share if share else 0.0


@settings(max_examples=60, deadline=None)
@given(data=st.data(), classes=st.integers(2, 7), count=st.integers(1, 12))
def test_it_is_the_formula(data, classes, count):
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    logits = rng.normal(0, 3, (count, classes))
    target = rng.integers(0, classes, count)
    target[rng.random(count) < 0.3] = -7
    alpha, gamma = data.draw(st.floats(0.1, 4)), data.draw(st.floats(0, 5))
    smoothing = data.draw(st.floats(0, 0.9))
    weights = rng.uniform(0.1, 5, classes)
    loss = FocalLoss(alpha, gamma, torch.from_numpy(weights), smoothing, ignore_index=-7)
    found = loss(torch.from_numpy(logits), torch.from_numpy(target)).item()
    assert found == pytest.approx(by_formula(logits, target, alpha, gamma, weights, smoothing, -7), rel=1e-9, abs=1e-12)


@settings(max_examples=60, deadline=None)
@given(data=st.data(), classes=st.integers(2, 7), count=st.integers(1, 12))
def test_where_objects_are_not_annotated_it_is_the_formula_of_them_and_background_together(data, classes, count):
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    logits = rng.normal(0, 3, (count, classes))
    target = rng.integers(0, classes, count)
    target[rng.random(count) < 0.3] = -7
    possible = rng.random((count, classes)) < 0.4
    possible[:, -1] = True
    gamma, smoothing = data.draw(st.floats(0, 5)), data.draw(st.sampled_from([0.0, 0.3]))
    weights = rng.uniform(0.1, 5, classes)
    loss = FocalLoss(0.7, gamma, torch.from_numpy(weights), smoothing, ignore_index=-7)
    found = loss(*map(torch.from_numpy, (logits, target, possible))).item()
    expected = by_formula(logits, target, 0.7, gamma, weights, smoothing, -7, possible)
    assert found == pytest.approx(expected, rel=1e-8, abs=1e-12)


@pytest.mark.parametrize("gamma", [0.0, 2.0])
def test_a_label_of_background_does_not_push_down_an_object_that_it_may_be(gamma):
    """Two positions in two crops: object 1 is not annotated in the second."""
    logits = torch.tensor([[1.0, 2.0, 0.5]] * 2).unsqueeze(-1).requires_grad_()
    possible = torch.tensor([[False, False, True], [False, True, True]])
    loss = FocalLoss(gamma=gamma, reduction="none")(logits, torch.tensor([[2], [2]]), possible)
    loss.sum().backward()
    annotated, missing = logits.grad.squeeze(-1)
    assert annotated[1] > 0
    assert missing[1] < 0
    assert annotated[0] > 0
    assert missing[0] > 0
    # a share of what is not object 0, as large as they have it, and so the two stay as they are to each other
    odds = torch.softmax(logits.detach()[1, :, 0], 0)
    assert (missing[1] / missing[2]).item() == pytest.approx((odds[1] / odds[2]).item(), rel=1e-5)


@pytest.mark.parametrize("options", CASES.values(), ids=CASES.keys())
def test_where_background_can_be_nothing_else_nothing_changes(options):
    logits, target = problem((2, 3, 4, 5), options.get("ignore_index"))
    possible = torch.tensor([[False, False, False, True]] * 2)
    loss = FocalLoss(**options)
    torch.testing.assert_close(loss(logits, target, possible), loss(logits, target))


def test_where_background_can_be_anything_it_says_nothing():
    logits = torch.tensor([[50.0, -80.0, 3.0]], requires_grad=True)
    loss = FocalLoss(gamma=0.5)(logits, torch.tensor([2]), torch.ones(1, 3, dtype=torch.bool))
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-6)
    assert logits.grad.abs().max() < 1e-6


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0, 3.5])
@pytest.mark.parametrize("options", CASES.values(), ids=CASES.keys())
def test_gradient_is_that_of_the_value(options, gamma):
    logits, target = problem((3, 2, 2), options.get("ignore_index"))
    loss = FocalLoss(alpha=0.7, gamma=gamma, **options)
    assert torch.autograd.gradcheck(lambda x: loss(x, target), logits.double().requires_grad_())


def test_double_precision_stays_and_half_is_raised():
    logits, target = problem((8,))
    loss = FocalLoss(class_weights=WEIGHTS)
    assert loss(logits.double(), target).dtype == torch.float64
    for half in (torch.float16, torch.bfloat16):
        rounded = logits.to(half)
        assert loss(rounded, target).dtype == torch.float32
        torch.testing.assert_close(loss(rounded, target), loss(rounded.float(), target))


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("size", [1e4, 88.0, 17.0, 0.0])
def test_extreme_logits_give_finite_values_and_gradients(size, smoothing, gamma):
    logits = torch.tensor([[size, -size, 0.0], [-size, size, 0.0], [0.0, 0.0, 0.0]], requires_grad=True)
    for target in ([0, 1, 2], [1, 0, 0]):
        loss = FocalLoss(gamma=gamma, label_smoothing=smoothing)(logits, torch.tensor(target))
        (gradient,) = torch.autograd.grad(loss, logits)
        assert loss.isfinite()
        assert gradient.isfinite().all()
    if size > 100:
        assert loss.item() > size / 2  # surely wrong is still punished in proportion


def test_easy_examples_count_less_and_hard_ones_hardly_less():
    logits = torch.tensor([[6.0, 0.0], [-6.0, 0.0]])
    target = torch.tensor([0, 0])
    focal = FocalLoss(gamma=2.0, reduction="none")(logits, target)
    plain = functional.cross_entropy(logits, target, reduction="none")
    assert focal[0] < 1e-4 * plain[0]
    assert focal[1] > 0.99 * plain[1]


@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_with_everything_ignored_loss_and_gradient_are_0(weights):
    logits = torch.randn(5, 4, 2, requires_grad=True)
    loss = FocalLoss(class_weights=weights, ignore_index=255)(logits, torch.full((5, 2), 255))
    loss.backward()
    assert loss.item() == 0
    assert logits.grad.abs().max() == 0


def test_ignored_places_get_no_gradient():
    logits, target = problem((4, 6))
    target[:, 3] = -100
    logits.requires_grad_()
    FocalLoss(class_weights=WEIGHTS, label_smoothing=0.1)(logits, target).backward()
    still = logits.grad.abs().amax(dim=(0, 1)) == 0
    assert still.tolist() == [False, False, False, True, False, False]


@pytest.mark.parametrize(
    ("options", "named"),
    [({"gamma": -1.0}, "gamma"), ({"label_smoothing": 1.0}, "label_smoothing"), ({"reduction": "avg"}, "reduction")],
)
def test_options_out_of_range_are_refused(options, named):
    with pytest.raises(ValueError, match=named):
        FocalLoss(**options)


def test_class_weights_move_with_the_loss_but_are_not_saved():
    loss = FocalLoss(class_weights=WEIGHTS)
    assert loss.state_dict() == {}
    assert loss.to("meta").class_weights.is_meta


def tversky_by_hand(probability: np.ndarray, target: np.ndarray, objects: int, alpha: float, beta: float) -> float:
    """Mean over objects of 1 - TP / (TP + alpha FP + beta FN), soft counts over all positions that are not -1."""
    losses = []
    for name in range(objects):
        tp = fp = fn = 0.0
        for p, truth in zip(probability[:, name], target, strict=True):
            if truth == -1:
                continue
            tp += p * (truth == name)
            fp += p * (truth != name)
            fn += (1 - p) * (truth == name)
        losses.append(1 - tp / (tp + alpha * fp + beta * fn))
    return float(np.mean(losses))


def test_the_overlap_is_that_of_the_objects_where_something_is_known():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 4, 3, 3, 3, generator=generator)
    target = torch.randint(-1, 4, (2, 3, 3, 3), generator=generator)
    probability = logits.softmax(1).movedim(1, -1).reshape(-1, 4).numpy()
    expected = tversky_by_hand(probability, target.flatten().numpy(), 3, 0.3, 0.7)
    assert float(TverskyOverlap(0.3, 0.7, ignore_index=-1)(logits, target)) == pytest.approx(expected, abs=1e-4)


def test_the_overlap_leaves_out_objects_in_crops_that_are_not_annotated_for_them():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 4, 3, 3, 3, generator=generator)
    target = torch.randint(-1, 4, (2, 3, 3, 3), generator=generator)
    possible = torch.tensor([[False, False, False, True], [False, True, False, True]])
    probability = logits.softmax(1).movedim(1, -1).reshape(2, -1, 4).numpy()
    truth = target.reshape(2, -1).numpy()

    def alone(name: int, crops: list[int]) -> float:
        right = np.where(truth == -1, -1, np.where(truth == name, 0, 1))[crops]
        return tversky_by_hand(probability[crops][..., [name]].reshape(-1, 1), right.ravel(), 1, 0.3, 0.7)

    expected = np.mean([alone(0, [0, 1]), alone(1, [0]), alone(2, [0, 1])])
    loss = TverskyOverlap(0.3, 0.7, ignore_index=-1)(logits, target, possible)
    assert float(loss) == pytest.approx(expected, abs=1e-4)


def test_the_overlap_of_the_truth_itself_is_perfect():
    target = torch.tensor([[0, 1, 2, 2, 0]])
    logits = 50 * torch.nn.functional.one_hot(target, 3).movedim(-1, 1).float()
    assert float(TverskyOverlap()(logits, target)) == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize("gamma", [0.0, 2.0])
def test_a_share_of_a_target_is_that_share_of_its_loss_and_the_rest_of_that_of_background(gamma):
    logits, target = problem((2, 3, 4, 5), ignore=-100)
    share = torch.rand(target.shape, generator=torch.Generator().manual_seed(5))
    kept, background = target != -100, torch.full_like(target, 3)
    each = FocalLoss(gamma=gamma, class_weights=WEIGHTS, reduction="none")
    expected = share * each(logits, target) + (1 - share) * each(logits, background)
    weights = share * WEIGHTS[target.clamp_min(0)] + (1 - share) * WEIGHTS[3]
    mean = FocalLoss(gamma=gamma, class_weights=WEIGHTS)(logits, target, None, share)
    torch.testing.assert_close(mean, (expected * kept).sum() / (weights * kept).sum())
    all_of_it = FocalLoss(gamma=gamma, class_weights=WEIGHTS)
    torch.testing.assert_close(all_of_it(logits, target, None, torch.ones(target.shape)), all_of_it(logits, target))


def test_with_shares_of_a_gaussian_the_loss_is_lowest_where_probabilities_are_those_shares():
    share = torch.tensor([[0.9, 0.5, 0.2]])
    target = torch.zeros((1, 3), dtype=torch.int64)
    exact = torch.stack([share.log(), (1 - share).log()], dim=1).requires_grad_()
    FocalLoss(gamma=0.0)(exact, target, None, share).backward()
    torch.testing.assert_close(exact.grad, torch.zeros_like(exact), atol=1e-6, rtol=0)


def test_the_overlap_counts_a_share_of_a_target_by_so_much():
    target = torch.zeros((1, 4, 4, 4), dtype=torch.int64)
    logits = torch.stack([torch.full((1, 4, 4, 4), 20.0), torch.zeros((1, 4, 4, 4))], dim=1)
    half = TverskyOverlap()(logits, target, None, torch.full((1, 4, 4, 4), 0.5))
    # TP 1/2, FP 1/2 of all: 1 - 0.5 / (0.5 + 0.3 x 0.5)
    assert half.item() == pytest.approx(1 - 0.5 / 0.65, abs=1e-3)
