"""Points of labels in the slots of published keypoint layouts: what was seen, and the fitted body in space.

A slot means a point of SMPL: HMR 2.0 compares `mid_hip` with the pelvis joint, which lies 9 cm above the middle of the
hips. A label's points are those of annotators, so slots whose point of the body a label does not hold are unknown.
"""

import functools
from collections.abc import Callable

import numpy as np

from hardmo_jax.array_types import Float
from hardmo_jax.export.training_sets.training_labels import TrainingExportError, training_box
from hardmo_jax.labels.belief import part_belief, parts_called_wrong
from hardmo_jax.labels.schema import LabelRow
from hardmo_jax.skeleton import layouts, regressors
from hardmo_jax.skeleton.layouts import KeypointLayout

#: Gives the points of a fitted body in the slots of a layout, camera axes, metres, and how far each is believed;
#: coordinates are zero of those that nobody knows. The pipelines can pose the whole body for it, which knows more.
BodySlots = Callable[[LabelRow, KeypointLayout], Float[np.ndarray, "K 4"]]

HMR2_LAYOUT = layouts.get_layout("hmr2_44")
_DETECTED = layouts.get_layout("openpose25")
OPENPOSE_LAYOUT = _DETECTED
#: What SPIN calls `part`: what people annotated, and its points in space, `S`.
SPIN_PART_LAYOUT = layouts.get_layout("spin_49").only(tuple(range(len(_DETECTED), len(layouts.get_layout("spin_49")))))
FINGERTIP_POINTS = layouts.FINGER_TIPS
#: Points of labels that are means of others, where published layouts have joints.
_MEANS = ("neck", "mid_hip")
_HIPS = ("left_hip", "right_hip")
_SPIN_HIPS = tuple(regressors.regressed_point("J_regressor_extra", f"{hip}_lsp") for hip in _HIPS)
#: The root of comparisons in space. The middle of the hips stands for it: MPII's is there, give or take a centimetre.
_ROOT = "pelvis_mpii"
#: People annotate these where detectors find them.
_ANNOTATED = frozenset(regressors.LSP14[: regressors.LSP14.index("neck")]) | {
    "nose", "left_eye", "right_eye", "left_ear", "right_ear",
}  # fmt: skip
#: Side of the crop in which SMPLify's term of keypoints is counted, and its scale, pixels.
_CROP_SIDE, _LOSS_SCALE = 256.0, 100.0


def seen_points(row: LabelRow, points: tuple[str, ...], *, is_annotated: bool = False) -> Float[np.ndarray, "K 3"]:
    """Measured keypoints by name: pixels of the picture and confidence, zeros where there is none to learn from.

    Args:
        row: The label.
        points: Wanted.
        is_annotated: Whether limbs and face also go to the slots of what people annotate (`left_knee` to
            `left_knee_lsp`), as SPIN puts COCO's points there.
    """
    sources = np.array(_sources(layouts.get_layout(row.keypoint_layout).points, points, is_annotated))
    seen = np.concatenate([row.keypoints_2d, row.keypoint_confidence[:, None]], axis=1)[sources]
    # Of what a person called wrong nobody knows whether it was seen wrongly.
    wrong = parts_called_wrong(row)
    is_told = (sources >= 0) & np.array([layouts.part_of(point) not in wrong for point in points])
    return np.where(is_told[:, None] & (seen[:, 2:] > 0), seen, 0).astype(np.float32)


@functools.cache
def _sources(measured: tuple[str, ...], points: tuple[str, ...], is_annotated: bool) -> tuple[int, ...]:
    """Place of each wanted point among the measured ones, -1 for none."""
    at = {name: place for place, name in enumerate(measured)}
    sources = []
    for point in points:
        place = regressors.place_of(point)
        sources.append(at.get(point, at.get(place, -1) if is_annotated and place in _ANNOTATED else -1))
    return tuple(sources)


def body_slots_of_label(row: LabelRow, layout: KeypointLayout) -> Float[np.ndarray, "K 4"]:
    """Points of the fitted body by the label alone; the default of all exporters, see `BodySlots`.

    Returns:
        Metres in the axes of the camera, and confidence. `pelvis_mpii`, from which published losses count, is put into
        the middle of the hips. The hips of SPIN's own regressor are where the joints are, for a root of its losses,
        with confidence 0. A foot that nobody saw has confidence 0, one that is probably wrong a low one; of what a
        person said see `labels.belief`.
    """
    found = np.zeros((len(layout), 4), np.float32)
    if row.keypoints_3d is None:
        return found
    measured = layouts.get_layout(row.keypoint_layout).points
    is_known = np.isfinite(row.keypoints_3d).all(-1)
    at = {
        name: point
        for name, point, known in zip(measured, row.keypoints_3d, is_known, strict=True)
        if known and name not in _MEANS
    }
    made_of = dict(layout.body_point_names)
    for slot, point in enumerate(layout.points):
        wanted = made_of.get(point, point)
        if wanted in at:
            found[slot, :3], found[slot, 3] = at[wanted], part_belief(row, layouts.part_of(point))
        elif point == _ROOT and all(hip in at for hip in _HIPS):
            found[slot, :3], found[slot, 3] = np.mean([at[hip] for hip in _HIPS], axis=0), 1
        elif wanted in _SPIN_HIPS:
            found[slot, :3] = at.get(regressors.place_of(wanted), 0)
    return found


def checked_slots(row: LabelRow, layout: KeypointLayout, slots_of: BodySlots) -> Float[np.ndarray, "K 4"]:
    """Points in space as they go into files: what is not finite is unknown.

    Args:
        row: The label.
        layout: Of the slots.
        slots_of: Gives the points.

    Raises:
        TrainingExportError: If it gives another number of them, or confidences beyond [0, 1].
    """
    slots = np.array(slots_of(row, layout), np.float32)
    if slots.shape != (len(layout), 4):
        raise TrainingExportError(f"points of {layout.name} must be of shape {(len(layout), 4)}, got {slots.shape}")
    slots[~np.isfinite(slots).all(-1)] = 0
    if not ((slots[:, 3] >= 0) & (slots[:, 3] <= 1)).all():
        raise TrainingExportError(
            f"confidences of points of {layout.name} must be in [0, 1], got {slots[:, 3].min():g} to "
            f"{slots[:, 3].max():g}"
        )
    return slots


def reprojection_loss(row: LabelRow) -> float | None:
    """SMPLify's term of keypoints of the fitted body, which 4DHumans' filter asks for; None without a point in space.

    The sum over BODY_25 of squared confidence times the Geman-McClure cost of both coordinates, scale 100 pixels, in a
    crop of 256 pixels.

    References:
        Bogo et al., "Keep it SMPL", ECCV 2016, eq. 2; the scale is that of SPIN, smplify/losses.py.

    Notes:
        Whether the published sets count pixels of such a crop nobody has told. Their bound, 31 000, is a sixteenth of
        what 25 points far away cost here, and what 25 points cost that are 26 pixels off in both coordinates.
    """
    if row.keypoints_3d is None:
        return None
    measured = layouts.get_layout(row.keypoint_layout).points
    counted = [place for place, name in enumerate(measured) if name in _DETECTED.points]
    points = np.asarray(row.keypoints_3d, np.float64)[counted]
    is_known = np.isfinite(points).all(-1)
    if not is_known.any():
        return None
    points, confidence = points[is_known], np.asarray(row.keypoint_confidence, np.float64)[counted][is_known]
    seen = np.asarray(row.keypoints_2d, np.float64)[counted][is_known]
    is_ahead = points[:, 2] > 0
    depth = np.where(is_ahead, points[:, 2], 1)
    pixels = points[:, :2] / depth[:, None] * row.focal_length + row.principal_point
    squares = ((pixels - seen) * _CROP_SIDE / training_box(row)[1].max()) ** 2
    costs = np.where(is_ahead[:, None], _LOSS_SCALE**2 * squares / (_LOSS_SCALE**2 + squares), _LOSS_SCALE**2)
    return float((confidence[:, None] ** 2 * costs).sum())
