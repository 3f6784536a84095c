"""The post-processing of HigherHRNet, step by step and slow; `hrpose.codecs.grouping` is compared with it."""

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch.nn.functional import interpolate, max_pool2d

ORDER = (0, 1, 2, 3, 4, 5, 6, 11, 12, 7, 8, 9, 10, 13, 14, 15, 16)


def resized(maps, size):
    return interpolate(maps, size=size, mode="bilinear", align_corners=False)


def full_maps(passes, size):
    """Heatmaps (K, H, W) and tags (K, H, W, T) at the size of the input.

    Passes are outputs of the network for one image, plain and, already flipped back, mirrored.
    """
    num_keypoints = passes[0][0].shape[1] // 2
    heats, tags = [], []
    for first, second in passes:
        coarse = resized(first, second.shape[2:])
        heats.append(resized((coarse[:, :num_keypoints] + second) / 2, size))
        tags.append(resized(coarse[:, num_keypoints:], size))
    return (sum(heats) / len(heats))[0].numpy(), torch.stack(tags, dim=-1)[0].numpy()


def literal_poses(heat, tag, *, refine=True):
    """Return (P, K, 3) keypoints x, y, value and (P,) scores."""
    found = group(candidates(heat, tag), heat.shape[0], tag.shape[-1])
    persons = [adjusted(person, heat) for person in found]
    scores = [person[:, 2].mean() for person in persons]
    if refine:
        persons = [refined(person, heat, tag) for person in persons]
    return np.array([person[:, :3] for person in persons]).reshape(-1, heat.shape[0], 3), np.array(scores)


def candidates(heat, tag):
    """Return for each keypoint a list of rows x, y, value, tags."""
    highest = max_pool2d(torch.from_numpy(heat)[None], 5, stride=1, padding=2)[0]
    peaks = np.where(highest.numpy() == heat, heat, 0)
    rows = []
    for k in range(len(heat)):
        value, place = torch.from_numpy(peaks[k].ravel()).topk(30)
        y, x = np.unravel_index(place.numpy(), heat.shape[1:])
        rows.append([np.array([x[i], y[i], value[i], *tag[k, y[i], x[i]]], np.float32) for i in range(30) if value[i] > 0.1])
    return rows


def group(rows, num_keypoints, num_tags):
    persons, tags = {}, {}

    def found(k, row):
        persons.setdefault(row[3], np.zeros((num_keypoints, 3 + num_tags), np.float32))[k] = row
        tags[row[3]] = [row[3:]]

    for k in [k for k in ORDER if k < num_keypoints]:
        if not rows[k]:
            continue
        if not persons:
            for row in rows[k]:
                found(k, row)
            continue
        keys = list(persons)[:30]
        means = [np.mean(tags[key], axis=0) for key in keys]
        distance = np.array([[np.linalg.norm(row[3:] - mean) for mean in means] for row in rows[k]])
        cost = np.round(distance) * 100 - np.round(np.array([[float(row[2])] for row in rows[k]]) * 2**20) / 2**20
        # The official code rounds no values and appends columns of equal cost; both only choose among equal costs.
        chosen = dict(zip(*linear_sum_assignment(cost), strict=True))
        for i, row in enumerate(rows[k]):
            column = chosen.get(i)
            if column is not None and distance[i, column] < 1.0:
                persons[keys[column]][k] = row
                tags[keys[column]].append(row[3:])
            else:
                found(k, row)
    return list(persons.values())


def adjusted(person, heat):
    person = person.copy()
    for k, row in enumerate(person):
        if row[2] > 0:
            row[:2] = moved(heat[k], int(row[0]), int(row[1]))
    return person


def moved(heat, x, y):
    height, width = heat.shape
    dx = 0.25 if heat[y, min(x + 1, width - 1)] > heat[y, max(x - 1, 0)] else -0.25
    dy = 0.25 if heat[min(y + 1, height - 1), x] > heat[max(y - 1, 0), x] else -0.25
    return x + dx + 0.5, y + dy + 0.5


def refined(person, heat, tag):
    person = person.copy()
    mean = np.mean([tag[k, int(row[1]), int(row[0])] for k, row in enumerate(person) if row[2] > 0], axis=0)
    for k, row in enumerate(person):
        if row[2] == 0:
            worth = heat[k] - np.round(np.linalg.norm(tag[k] - mean, axis=-1))
            y, x = np.unravel_index(worth.argmax(), worth.shape)
            if heat[k, y, x] > 0:
                row[:2], row[2] = moved(heat[k], x, y), heat[k, y, x]
    return person
