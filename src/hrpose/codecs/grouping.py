"""Heatmaps and tags of a whole image to instances: peaks, grouping by near tags, quarter offset, filling of missing keypoints.

Only candidates and filled keypoints are copied from the device to the host. Steps and constants follow the official code of
Cheng et al., "HigherHRNet: Scale-Aware Representation Learning for Bottom-Up Human Pose Estimation", CVPR 2020; tags are those of
Newell et al., "Associative Embedding", NeurIPS 2017.

Legend: K keypoints, T tags per cell (1, or 2 with a flip test), H W cells of the heatmaps, h w cells of the tags, C candidates,
N instances, Q searches.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import interpolate, pad

Floats: TypeAlias = NDArray[np.float32]
Indices: TypeAlias = NDArray[np.int64]

_ORDER = (*range(7), 11, 12, *range(7, 11), *range(13, 17))  # head, shoulders and hips first: the official order
_NEIGHBOURS = sorted(((x, y) for x in range(-2, 3) for y in range(-2, 3) if x or y), key=lambda step: step[0] ** 2 + step[1] ** 2)
_LEAST_VALUE = 0.1  # of a candidate
_MAX_CANDIDATES = 30  # of a keypoint, and instances that accept candidates
_MAX_TAG_DISTANCE = 1.0  # between a candidate and the instance that it joins
_QUANTUM = 2.0**-20  # of the values that are compared
_BLOCK = 8  # cells along the side of a block in a search
_BLOCKS_AT_ONCE = 4  # that a search reads before it compares bounds again
_SLACK = 1e-4  # added to bounds for the rounding error of interpolation


def enlarge(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize maps (B, C, h, w) to a size (H, W): bilinear, corner to corner (align_corners=False)."""
    return maps if maps.shape[2:] == size else interpolate(maps, size=size, mode="bilinear", align_corners=False)


def aggregate(outputs: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Average the heatmaps of one pass of the network at the size of the finest.

    From (B, 2K, h', w') heatmaps, then tags, optionally followed by finer heatmaps (B, K, h, w), compute heatmaps (B, K, h, w)
    and tags (B, K, 1, h, w) in float32.
    """
    size = (outputs[-1].shape[2], outputs[-1].shape[3])
    num_keypoints = outputs[0].shape[1] // 2
    heatmaps = enlarge(outputs[0][:, :num_keypoints].float(), size)
    for finer in outputs[1:]:
        heatmaps = torch.add(heatmaps, finer)
    return heatmaps.div_(len(outputs)), enlarge(outputs[0][:, num_keypoints:].float(), size)[:, :, None]


def find_instances(heatmaps: Tensor, tags: Tensor, *, refine: bool = True) -> tuple[Floats, Floats, Floats]:
    """Find the instances in the heatmaps (K, H, W) and tags (K, T, h, w) of one image; see `AssociativeEmbedding.decode`.

    Convention:
        Targets truncate coordinates to cells, so the position of a keypoint is its cell plus 0.5, and a quarter towards the
        higher neighbour. Tags are interpolated bilinearly, corner to corner.

    Raises:
        ValueError: if H or W is not a multiple of 8.
    """
    if heatmaps.shape[1] % _BLOCK or heatmaps.shape[2] % _BLOCK:
        raise ValueError(f"Expected heatmaps of a size in multiples of {_BLOCK}, but got {tuple(heatmaps.shape[1:])}.")
    keypoint, place, value, tag = _candidates(heatmaps, tags)
    members = group(keypoint, value, tag, heatmaps.shape[0])
    present = members >= 0
    keypoints = np.where(present[..., None], place[members], np.float32(0))
    values = np.where(present, value[members], np.float32(0))
    scores = values.mean(axis=1)
    if refine and not present.all():
        row, missing = np.nonzero(~present)
        centers = np.stack([tag[found[found >= 0]].mean(axis=0) for found in members])
        keypoints[row, missing], values[row, missing] = _search(heatmaps, tags, missing, centers[row])
    return keypoints, values, scores


def group(keypoint: Indices, value: Floats, tag: Floats, num_keypoints: int) -> Indices:
    """Group candidates of different keypoints to instances, keypoint by keypoint, each with the least cost.

    The cost of a candidate and an instance is 100 round(D) - value; D is the distance of its tag to the instance's mean tag. A
    candidate without instance at a distance below 1 creates an instance. If an instance with the same first tag exists, the
    candidate replaces its keypoint and its tags.

    Candidates have the index of their keypoint (C,), a value (C,), the height of the heatmap, in descending order for each
    keypoint, and a tag (C, T). Return their rows (N, K), -1 for missing keypoints; instances are in the order of their creation.
    """
    # Imported here: it is slow to load.
    from scipy.optimize import linear_sum_assignment

    # Sums of multiples of a power of 2 are exact: assignments of equal cost are frequent and must not depend on rounding.
    values = np.round(value.astype(np.float64) / _QUANTUM) * _QUANTUM
    instances: dict[float, Indices] = {}
    tags: dict[float, list[Floats]] = {}
    for index in (*(index for index in _ORDER if index < num_keypoints), *range(len(_ORDER), num_keypoints)):
        rows = np.flatnonzero(keypoint == index)
        joined: dict[int, float] = {}
        if instances and len(rows):
            keys = list(instances)[:_MAX_CANDIDATES]
            means = np.stack([np.mean(tags[key], axis=0) for key in keys])
            distance = np.linalg.norm(tag[rows, None] - means, axis=-1)
            cost = np.round(distance).astype(np.float64) * 100 - values[rows, None]
            pairs = zip(*linear_sum_assignment(cost), strict=True)
            joined = {row: keys[column] for row, column in pairs if distance[row, column] < _MAX_TAG_DISTANCE}
        for place, row in enumerate(rows):
            key = joined.get(place)
            if key is None:
                key = float(tag[row, 0])
                instances.setdefault(key, np.full(num_keypoints, -1))
                tags[key] = []
            instances[key][index] = row
            tags[key].append(tag[row])
    return np.stack(list(instances.values())) if instances else np.zeros((0, num_keypoints), np.int64)


def _candidates(heatmaps: Tensor, tags: Tensor) -> tuple[Indices, Floats, Floats, Floats]:
    """Return the highest peaks of each keypoint: keypoint (C,), position (C, 2) with quarter offset, value (C,), tag (C, T).

    A peak is at least as high as the 24 cells around it; all cells of a plateau are peaks.
    """
    height, width = heatmaps.shape[1:]
    flat = heatmaps.flatten()
    block = (_blocks(heatmaps, _BLOCK, _BLOCK, torch.amax).flatten() > _LEAST_VALUE).nonzero()[:, 0]
    cell = _cells_of(block, width).flatten()
    cell = cell[flat[cell] > _LEAST_VALUE]
    for step in _NEIGHBOURS:
        cell = cell[flat[cell] >= flat[_beside(cell, step, (height, width))]]
    value = flat[cell]
    order = value.argsort(descending=True, stable=True)
    order = order[(cell[order] // (height * width)).argsort(stable=True)]
    cell, value = cell[order], value[order]
    keypoint = cell // (height * width)
    first = torch.searchsorted(keypoint, keypoint)
    best = torch.arange(len(cell), device=cell.device) - first < _MAX_CANDIDATES
    cell, value, keypoint = cell[best], value[best], keypoint[best]
    tag = _tags_at(tags, keypoint, cell % width, cell // width % height, (height, width))
    place = _quarter_offset(flat, cell, (height, width))
    return keypoint.cpu().numpy(), place.cpu().numpy(), value.cpu().numpy(), tag.cpu().numpy()


def _search(heatmaps: Tensor, tags: Tensor, keypoints: Indices, centers: Floats) -> tuple[Floats, Floats]:
    """Find the cell with the highest heatmap - round(|tag - center|) for each keypoint (Q,) and mean tag (Q, T), exactly.

    A block of cells is read only if its bound, from its highest heatmap and nearest possible tag, exceeds the best value so far.
    Return positions (Q, 2) with quarter offset and values (Q,); 0 where the heatmap is not positive.
    """
    size = height, width = heatmaps.shape[1], heatmaps.shape[2]
    flat, num_blocks = heatmaps.flatten(), height * width // _BLOCK**2
    keypoint, center = (torch.from_numpy(array).to(heatmaps.device) for array in (keypoints, centers))
    bounds = _bounds(heatmaps, tags, keypoint, center)
    best = torch.full_like(center[:, 0], -torch.inf)
    cell = torch.zeros_like(keypoint)
    live = torch.arange(len(keypoint), device=heatmaps.device)
    while len(live):
        block = bounds[live].topk(min(_BLOCKS_AT_ONCE, num_blocks)).indices
        bounds[live[:, None], block] = -torch.inf
        places = _cells_of(keypoint[live, None] * num_blocks + block, width)
        x, y = places % width, places // width % height
        which = keypoint[live, None, None]
        distance = _length(_tags_at(tags, which, x, y, size) - center[live, None, None])
        value, index = (flat[places] - distance.round()).flatten(1).max(1)
        better = value > best[live]
        best[live] = torch.where(better, value, best[live])
        cell[live] = torch.where(better, places.flatten(1).gather(1, index[:, None])[:, 0], cell[live])
        live = live[bounds[live].amax(1) > best[live]]
    value = flat[cell]
    found = (value > 0)[:, None]
    filled = torch.cat([_quarter_offset(flat, cell, size), value[:, None]], dim=1)
    result = torch.where(found, filled, 0.0).cpu().numpy()
    return result[:, :2], result[:, 2]


def _bounds(heatmaps: Tensor, tags: Tensor, keypoint: Tensor, center: Tensor) -> Tensor:
    """Return an upper bound of each search in each block of the map: (Q, blocks)."""
    step = _BLOCK * tags.shape[2] // heatmaps.shape[1]
    around = pad(tags, (1, 1, 1, 1), mode="replicate")  # interpolation reads one cell outside a block
    low, high = (_blocks(around, step + 2, step, reduce).flatten(2) for reduce in (torch.amin, torch.amax))
    gap = center[..., None] - center[..., None].clamp(low[keypoint], high[keypoint])
    return (
        _blocks(heatmaps, _BLOCK, _BLOCK, torch.amax).flatten(1)[keypoint]
        - (_length(gap.movedim(1, -1)) - _SLACK).clamp(min=0).round()
    )


def _blocks(maps: Tensor, side: int, step: int, reduce: Callable[..., Tensor]) -> Tensor:
    """Reduce each block (side, side) of maps (..., h, w), a step apart, to a number."""
    return reduce(reduce(maps.unfold(-2, side, step), dim=-1).unfold(-1, side, step), dim=-1)


def _cells_of(block: Tensor, width: int) -> Tensor:
    """Return the flat indices (..., 64) of the cells of blocks, which are numbered through all maps."""
    inside = torch.arange(_BLOCK, device=block.device)
    columns = width // _BLOCK
    first = block // columns * (_BLOCK * width) + block % columns * _BLOCK
    return first[..., None] + (inside[:, None] * width + inside).flatten()


def _tags_at(tags: Tensor, keypoint: Tensor, x: Tensor, y: Tensor, size: tuple[int, int]) -> Tensor:
    """Interpolate the tags (K, T, h, w) at cells of a map of size (H, W): (..., T)."""
    num_tags, height, width = tags.shape[1:]
    flat = tags.flatten()
    base = (keypoint[..., None] * num_tags + torch.arange(num_tags, device=tags.device)) * height
    (left, right, across), (above, below, down) = (_between(x, width / size[1], width), _between(y, height / size[0], height))
    upper, lower = ((base + row) * width for row in (above, below))
    top = flat[upper + left] * (1 - across) + flat[upper + right] * across
    bottom = flat[lower + left] * (1 - across) + flat[lower + right] * across
    return top * (1 - down) + bottom * down


def _length(vectors: Tensor) -> Tensor:
    """Return the length of short vectors (..., T), four times faster than torch's norm."""
    return torch.stack([part.square() for part in vectors.unbind(-1)]).sum(0).sqrt()


def _between(position: Tensor, zoom: float, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return the two neighbouring cells (..., 1) of a position in a smaller map, and the weight of the second."""
    exact = ((position[..., None] + 0.5) * zoom - 0.5).clamp(min=0)
    first = exact.long()
    return first, (first + 1).clamp(max=count - 1), exact - first


def _quarter_offset(flat: Tensor, cell: Tensor, size: tuple[int, int]) -> Tensor:
    """Move the centers of cells (...,) a quarter towards the higher neighbour, left or up if both are equal: (..., 2)."""
    height, width = size
    x, y = cell % width, cell // width % height
    higher = [flat[_beside(cell, (dx, dy), size)] > flat[_beside(cell, (-dx, -dy), size)] for dx, dy in ((1, 0), (0, 1))]
    return torch.stack([x, y], dim=-1) + 0.25 + 0.5 * torch.stack(higher, dim=-1)


def _beside(cell: Tensor, step: tuple[int, int], size: tuple[int, int]) -> Tensor:
    """Return the flat index of the cell a step (x, y) away, clamped to the map."""
    height, width = size
    x, y = cell % width, cell // width % height
    return cell + ((x + step[0]).clamp(0, width - 1) - x) + ((y + step[1]).clamp(0, height - 1) - y) * width
