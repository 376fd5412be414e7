"""Metrics as slow loops over plain numbers, written from their definitions: the other opinion in the tests.

The alignment goes by Horn's quaternion, not by a singular value decomposition.
"""

import math

import numpy as np


def align(source, target):
    """Source points after the similarity that suits the target best; lists of 3-vectors."""
    source, target = np.asarray(source, float), np.asarray(target, float)
    source_mean, target_mean = source.mean(0), target.mean(0)
    a, b = source - source_mean, target - target_mean
    s = sum(np.outer(p, q) for p, q in zip(a, b, strict=True))
    matrix = np.zeros((4, 4))
    matrix[0, 0] = s.trace()
    matrix[0, 1:] = matrix[1:, 0] = [s[1, 2] - s[2, 1], s[2, 0] - s[0, 2], s[0, 1] - s[1, 0]]
    matrix[1:, 1:] = s + s.T - s.trace() * np.eye(3)
    w, x, y, z = np.linalg.eigh(matrix)[1][:, -1]
    rotation = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )
    scale = sum(float(q @ rotation @ p) for p, q in zip(a, b, strict=True)) / sum(float(p @ p) for p in a)
    return rotation, scale, np.array([scale * rotation @ p + target_mean for p in a])


def mpjpe(predicted, truth, root, points, is_valid):
    errors = []
    for p, t, v in zip(predicted, truth, is_valid, strict=True):
        chosen = [k for k in points if v[k]]
        if not chosen or not all(v[k] for k in root):
            errors.append(math.nan)
            continue
        p_root, t_root = (sum(q[k] for k in root) / len(root) for q in (p, t))
        errors.append(sum(math.dist(p[k] - p_root, t[k] - t_root) for k in chosen) / len(chosen))
    return np.array(errors)


def pa_mpjpe(predicted, truth, points, is_valid):
    errors = []
    for p, t, v in zip(predicted, truth, is_valid, strict=True):
        chosen = [k for k in points if v[k]]
        if len(chosen) < 3:
            errors.append(math.nan)
            continue
        moved = align(p[chosen], t[chosen])[2]
        errors.append(sum(math.dist(moved[i], t[k]) for i, k in enumerate(chosen)) / len(chosen))
    return np.array(errors)


def relative_error(predicted, truth, part, base, body, is_valid):
    errors = []
    for p, t, v in zip(predicted, truth, is_valid, strict=True):
        chosen, aligned = [k for k in part if v[k]], [k for k in body if v[k]]
        if not chosen or len(aligned) < 3 or not v[base]:
            errors.append(math.nan)
            continue
        rotation, scale, _ = align(p[aligned], t[aligned])
        error = [math.dist(scale * rotation @ (p[k] - p[base]), t[k] - t[base]) for k in chosen]
        errors.append(sum(error) / len(error))
    return np.array(errors)


def acceleration_error(predicted, truth, is_valid, frames_per_second):
    errors = []
    for middle in range(1, len(truth) - 1):
        frames = (middle - 1, middle, middle + 1)
        if not all(is_valid[frame].all() for frame in frames):
            errors.append(math.nan)
            continue
        total = 0.0
        for k in range(truth.shape[1]):
            p, t = ((x[middle + 1][k] - 2 * x[middle][k] + x[middle - 1][k]) for x in (predicted, truth))
            total += math.dist(p, t)
        errors.append(total / truth.shape[1] * frames_per_second**2)
    return np.array(errors)


def angle_degrees(predicted, truth):
    """Angle by the length of the difference of the matrices: |A - B| = 2 sqrt(2) sin(angle / 2)."""
    return math.degrees(2 * math.asin(min(1.0, np.linalg.norm(predicted - truth) / math.sqrt(8))))


def pck(predicted, truth, confidence, sides, threshold, min_confidence):
    """Share by keypoint, None without truth, and the mean of the others."""
    shares = []
    for k in range(truth.shape[1]):
        images = [n for n in range(len(truth)) if confidence[n, k] > min_confidence]
        hits = [n for n in images if math.dist(predicted[n, k], truth[n, k]) / sides[n] < threshold]
        shares.append(len(hits) / len(images) if images else None)
    there = [share for share in shares if share is not None]
    return shares, sum(there) / len(there)
