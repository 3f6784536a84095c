"""Outputs of a HigherHRNet for random instances, original and mirrored, with noise: no two cells are equal."""

import torch
from torch.nn.functional import interpolate


def random_passes(seed, *, size=(384, 256), num_keypoints=17, num_instances=10, num_passes=2, noise=0.02):
    """Return [outputs, outputs of the mirrored image flipped back], each [(1, 2K, h/4, w/4), (1, K, h/2, w/2)].

    Size is the input's (width, height). A person has a tag for each pass; its keypoints lie within a square, some are weak or
    missing.
    """
    generator = torch.Generator().manual_seed(seed)

    def uniform(low, high, *shape):
        return low + (high - low) * torch.rand(*shape, generator=generator)

    (width, height), people = size, num_instances
    extent = uniform(0.15, 0.6, people, 1, 1) * height
    points = uniform(0, 1, people, 1, 2) * torch.tensor([width, height]) + uniform(-0.5, 0.5, people, num_keypoints, 2) * extent
    heights = uniform(0.05, 1, people, num_keypoints) * (uniform(0, 1, people, num_keypoints) > 0.3)
    results = []
    for _ in range(num_passes):
        tags = uniform(-3, 12, people)
        outputs = [
            torch.zeros(1, 2 * num_keypoints, height // 4, width // 4),
            torch.zeros(1, num_keypoints, height // 2, width // 2),
        ]
        for stride, output in zip((4, 2), outputs, strict=True):
            rows, columns = torch.arange(output.shape[2]), torch.arange(output.shape[3])
            for k in range(num_keypoints):
                x, y = (points[:, k] / stride).unbind(-1)
                across = torch.exp(-((columns + 0.5 - x[:, None]) ** 2) / 8) * heights[:, k, None]
                down = torch.exp(-((rows + 0.5 - y[:, None]) ** 2) / 8)
                output[0, k] = (down[:, :, None] * across[:, None]).amax(0)
        field = interpolate(torch.randn(1, 1, 8, 12, generator=generator) * 4, size=outputs[0].shape[2:], mode="bicubic")[0, 0]
        rows, columns = torch.arange(outputs[0].shape[2]), torch.arange(outputs[0].shape[3])
        for k in range(num_keypoints):
            x, y = (points[:, k] / 4).unbind(-1)
            distance = (columns + 0.5 - x[:, None, None]) ** 2 + (rows[:, None] + 0.5 - y[:, None, None]) ** 2
            nearest, person = distance.min(0)
            outputs[0][0, num_keypoints + k] = torch.where(nearest < 100, tags[person], field)
        for output in outputs:
            output += noise * torch.randn(output.shape, generator=generator)
        results.append(outputs)
    return results
