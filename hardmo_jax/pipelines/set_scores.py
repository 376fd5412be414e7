"""The scores of a method on a set of people, whatever they were scored on, and two of them side by side."""

import dataclasses

import numpy as np

from hardmo_jax.array_types import Bool, Float
from hardmo_jax.body.families import BODY_PARENTS
from hardmo_jax.metrics import bootstrap, keypoints
from hardmo_jax.metrics.protocols import Protocol
from hardmo_jax.skeleton import layouts

#: Thresholds of PCK curves and of the area under them, shares of the box side.
CURVE = tuple(np.linspace(0.0, 0.1, 41).tolist())
#: Joints whose rotations are compared: those that SMPL and SMPL-H share.
JOINTS = layouts.SMPL_JOINTS[:22]
#: Sets of HardMo's protocol whose errors are told by themselves.
_PARTS = ("body", "hand", "foot")


class ScoreError(ValueError):
    """Scores that cannot be made or compared; the message says what to do."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class SetScore:
    """One method on one set."""

    method: str
    set_name: str
    protocol: Protocol
    """What the numbers mean; without the point sets that the predictions do not cover."""
    num_samples: int
    num_missing: int
    """Samples without a prediction."""
    num_nonfinite: int
    """Predicted samples that are not a number somewhere. Like the missing, they are in no mean, and miss in PCK."""
    status_counts: dict[str, int]
    """How fits ended; empty for predictions from elsewhere."""
    means: dict[str, float]
    """Mean errors by name of the metric; metres and degrees."""
    pck: dict[str, tuple[float, ...]]
    """PCK at the thresholds of the protocol, by point set."""
    curves: dict[str, tuple[float, ...]]
    """PCK at the thresholds of `CURVE`, by point set."""
    auc: dict[str, float]
    """Area under these curves, 1 if everything is hit at once, by point set."""
    joint_errors: dict[str, float]
    """Mean root-aligned error of each point, metres."""
    errors: dict[str, Float[np.ndarray, "N"]]
    """Errors of each sample; NaN where there is none."""
    ids: tuple[str, ...]
    groups: tuple[str, ...]
    """Samples of one group depend on each other: frames of a dance within a second."""
    styles: tuple[str, ...]
    """Kind of motion of each sample."""
    left_out: dict[str, tuple[int, int]] = dataclasses.field(default_factory=dict)
    """Of metrics of clips: frames or clips whose prediction is no number, which the mean leaves out, and how many there
    are in all. One frame that is no number takes those beside it, or its clip, with it."""
    notes: tuple[str, ...] = ()
    """What a reader of the numbers must know."""


def compare(first: SetScore, second: SetScore, *, num_resamples: int = 10_000) -> dict[str, bootstrap.PairedDifference]:
    """Paired differences (first minus second) of every error that both have, with 95 % intervals.

    Raises:
        ScoreError: If the two were not scored on the same samples, or nothing is common.
    """
    if first.ids != second.ids:
        raise ScoreError(
            f"{first.method} and {second.method} were scored on different samples of {first.set_name} and "
            f"{second.set_name}; score both on one set"
        )
    groups = np.array(first.groups)
    differences = {}
    for name in first.errors:
        if name not in second.errors:
            continue
        both = np.isfinite(first.errors[name]) & np.isfinite(second.errors[name])
        if len(set(groups[both])) < 2:
            continue
        differences[name] = bootstrap.paired_difference(
            np.where(both, first.errors[name], 0.0),
            np.where(both, second.errors[name], 0.0),
            groups=groups,
            is_valid=both,
            num_resamples=num_resamples,
        )
    if not differences:
        raise ScoreError(f"{first.method} and {second.method} have no error in common on two groups of samples")
    return differences


def part_scalars(scored: SetScore) -> dict[str, float]:
    """Numbers of the poster's tables: errors in millimetres and PCK of body, hand and foot, such as `pa_mpjpe_foot_mm`
    and `pck05_hand`; NaN where nobody has one.
    """
    scalars = {}
    for part in _PARTS:
        for metric in ("mpjpe", "pa_mpjpe"):
            values = [value for name, value in scored.means.items() if name.startswith(f"{metric}/{part}_")]
            scalars |= {f"{metric}_{part}_mm": 1000 * value for value in values}
        for hits in (hits for name, hits in scored.pck.items() if name.startswith(f"{part}_")):
            thresholds = zip(scored.protocol.pck_thresholds, hits, strict=True)
            scalars |= {f"pck{100 * at:02.0f}_{part}": hit for at, hit in thresholds}
    return scalars


def mean_error(values: Float[np.ndarray, "N"]) -> float:
    """Mean over samples that have an error; NaN if none has."""
    kept = values[np.isfinite(values)]
    return float(kept.mean()) if kept.size else float("nan")


def pck_curves(
    protocol: Protocol,
    predicted: Float[np.ndarray, "N K 2"],
    truth: Float[np.ndarray, "N K 2"],
    confidence: Float[np.ndarray, "N K"],
    box_sides: Float[np.ndarray, "N"],
) -> dict[str, tuple[float, ...]]:
    """PCK at the thresholds of `CURVE`, by point set; arguments as in `metrics.scores.score_samples`."""
    curves, normaliser = {}, protocol.box.normaliser(box_sides)
    for points in protocol.point_sets:
        if points.has_pck:
            columns = list(protocol.layout.indices(points.points))
            curve = keypoints.pck_curve(
                predicted[:, columns],
                truth[:, columns],
                confidence[:, columns],
                normaliser,
                CURVE,
                min_confidence=protocol.min_confidence,
            )
            curves[points.label] = tuple(curve.tolist())
    return curves


def joint_errors(
    protocol: Protocol,
    predicted: Float[np.ndarray, "N K 3"],
    truth: Float[np.ndarray, "N K 3"],
    is_valid: Bool[np.ndarray, "N K"],
) -> dict[str, float]:
    """Mean root-aligned error of each point that some set of the protocol has, metres."""
    root = list(protocol.layout.indices(protocol.root))
    apart = predicted - predicted[:, root].mean(1, keepdims=True)
    apart = apart - (truth - truth[:, root].mean(1, keepdims=True))
    is_valid = is_valid & is_valid[:, root].all(1, keepdims=True)
    distance = np.where(is_valid, np.linalg.norm(apart, axis=-1), np.nan)
    wanted = {point for points in protocol.point_sets for point in points.points}
    return {
        point: mean_error(distance[:, column])
        for column, point in enumerate(protocol.layout.points)
        if is_valid[:, column].any() and point in wanted
    }


def world_rotations(local: Float[np.ndarray, "N J 3 3"]) -> Float[np.ndarray, "N 22 3 3"]:
    """Rotations of `JOINTS` in the axes of the camera, from those relative to each joint's parent."""
    turned = np.array(local[:, : len(JOINTS)], np.float64)
    for joint, parent in enumerate(BODY_PARENTS[1:], start=1):
        turned[:, joint] = turned[:, parent] @ turned[:, joint]
    return turned
