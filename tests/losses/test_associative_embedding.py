import math

import pytest
import torch

from hrpose.codecs import AssociativeEmbedding
from hrpose.losses import AssociativeEmbeddingLoss
from hrpose.losses.associative_embedding import masked_error, tag_errors


def padded(instances, num_instances=None):
    """Return tags and a mask of existing ones, (1, N, K), of lists of tags."""
    shape = (1, num_instances or len(instances), max([len(tags) for tags in instances], default=1))
    tags, listed = torch.full(shape, 99.0), torch.zeros(shape, dtype=torch.bool)
    for row, values in enumerate(instances):
        tags[0, row, : len(values)], listed[0, row, : len(values)] = torch.tensor(values), True
    return tags, listed


def errors_by_loop(instances, push_type):
    """Compute push and pull in the loop of the official code."""
    instances = [tags for tags in instances if tags]
    means = [sum(tags) / len(tags) for tags in instances]
    pull = sum(sum((tag - mean) ** 2 for tag in tags) / len(tags) for tags, mean in zip(instances, means, strict=True)) / max(
        len(instances), 1
    )
    if len(instances) < 2:
        return 0.0, pull
    close = {"exp": lambda d: math.exp(-d * d), "max": lambda d: max(1 - abs(d), 0)}[push_type]
    total = sum(close(one - other) for one in means for other in means) - len(means)
    return 0.5 * total / (len(means) * (len(means) - 1)), pull


# values of the official loss
@pytest.mark.parametrize(
    ("instances", "push", "pull"),
    [
        ([[0.0, 0.2], [1.0, 1.4], [3.0]], 0.05626397, 0.01666667),
        ([[0.3, 2.2], [1.0, 3.0]], 0.28489141, 0.95125),
        ([[0.0, 1.0]], 0.0, 0.25),
        ([], 0.0, 0.0),
    ],
)
def test_tags_give_the_numbers_of_the_official_loss(instances, push, pull):
    found = tag_errors(*padded(instances, 4))
    assert [float(error) for error in found] == pytest.approx([push, pull], abs=1e-7)


@pytest.mark.parametrize("push_type", ["exp", "max"])
def test_closed_form_equals_the_loop(push_type):
    generator = torch.Generator().manual_seed(1)
    for count in (0, 1, 2, 5, 9):
        sizes = torch.randint(0, 6, (count,), generator=generator).tolist()
        instances = [torch.randn(size, generator=generator).tolist() for size in sizes]
        found = tag_errors(*padded(instances, 12), push_type)
        assert [float(error) for error in found] == pytest.approx(errors_by_loop(instances, push_type), rel=1e-5)


def test_the_maximum_push_ends_at_a_distance_of_one():
    assert float(tag_errors(*padded([[0.0], [0.25]]), "max")[0]) == pytest.approx(0.375 * 2 / 2)
    assert float(tag_errors(*padded([[0.0], [1.5]]), "max")[0]) == 0


def test_masked_cells_count_in_the_divisor_only():
    """Compare with the official loss of ones and zeros, 3x3 with the first row masked."""
    mask = torch.tensor([[[False] * 3, [True] * 3, [True] * 3]])
    assert float(masked_error(torch.ones(1, 1, 3, 3), torch.zeros(1, 1, 3, 3), mask)) == pytest.approx(2 / 3)


@pytest.fixture
def case():
    """Return outputs, target and masks of two images, the second without instances."""
    codec = AssociativeEmbedding((64, 64))
    visibility = torch.ones(2, 3, 4)
    visibility[1] = 0
    target, masks = codec.encode(torch.rand(2, 3, 4, 2, generator=torch.Generator().manual_seed(0)) * 60, visibility)
    outputs = [torch.randn(2, 8, 16, 16, requires_grad=True), torch.randn(2, 4, 32, 32, requires_grad=True)]
    return outputs, target, masks


def test_the_loss_is_the_sum_over_the_resolutions_and_the_mean_over_the_images(case):
    outputs, target, masks = case
    outputs = [output.detach() for output in outputs]
    expected = torch.zeros(2)
    for output, truth in zip((outputs[0][:, :4], outputs[1]), target.heatmaps, strict=True):
        expected += (output - truth).square().mean(dim=(1, 2, 3))
    tags = [[float(outputs[0][0, 4:].flatten()[place]) for place in row] for row in target.tags[0, :3].tolist()]
    push, pull = errors_by_loop(tags, "exp")
    expected[0] += 0.001 * push + 0.001 * pull
    assert float(AssociativeEmbeddingLoss()(outputs, target, masks)) == pytest.approx(float(expected.mean()), rel=1e-5)


def test_an_image_without_instances_gives_no_push_no_pull_and_a_finite_gradient(case):
    outputs, target, masks = case
    AssociativeEmbeddingLoss(push_factor=1, pull_factor=1)(outputs, target, masks).backward()
    assert all(output.grad.isfinite().all() for output in outputs)
    assert outputs[0].grad[0, 4:].any()
    assert not outputs[0].grad[1, 4:].any()


def test_masked_cells_have_no_gradient(case):
    outputs, target, masks = case
    for mask in masks:
        mask[:, : len(mask[0]) // 2] = False
    AssociativeEmbeddingLoss()(outputs, target, masks).backward()
    assert not outputs[0].grad[:, :4, :8].any()
    assert not outputs[1].grad[:, :, :16].any()
    assert outputs[1].grad[:, :, 16:].all()


def test_gradients_are_those_of_the_numbers():
    tags, listed = padded([[0.1, 0.4], [0.9, 1.3], [-0.2]], 4)
    tags = tags.double().requires_grad_()
    for push_type in ("exp", "max"):
        assert torch.autograd.gradcheck(lambda values, kind=push_type: tag_errors(values, listed, kind), tags)


def test_tags_of_half_precision_are_compared_in_float32(case):
    outputs, target, masks = case
    halves = [output.detach().half() for output in outputs]
    found = AssociativeEmbeddingLoss()(halves, target, masks)
    assert found.dtype == torch.float32
    assert torch.equal(found, AssociativeEmbeddingLoss()([half.float() for half in halves], target, masks))


def test_outputs_of_another_network_are_refused(case):
    outputs, target, masks = case
    for wrong in (outputs[:1], outputs[::-1], outputs[0]):
        with pytest.raises(ValueError, match="outputs"):
            AssociativeEmbeddingLoss()(wrong, target, masks)
    with pytest.raises(ValueError, match="push_type"):
        AssociativeEmbeddingLoss(push_type="min")
