"""What a viewer shows of the labels of a picture: meshes, axes, handles, and words."""

import dataclasses
from collections.abc import Sequence

import jax
import numpy as np
from jaxtyping import UInt8
from scipy.spatial.transform import Rotation

from hardmo_jax.array_types import Array, Float
from hardmo_jax.body.model import BodyModel
from hardmo_jax.body.params import BodyParams
from hardmo_jax.fitting.evidence import SEEN
from hardmo_jax.fitting.limb_ends import is_on_finger
from hardmo_jax.hardcase.correct import placeable_points, points_of_body
from hardmo_jax.labels.schema import LabelRow
from hardmo_jax.pipelines.label_rows import params_of_labels
from hardmo_jax.pipelines.viewed_labels import ViewedLabels, badness
from hardmo_jax.skeleton import layouts
from hardmo_jax.viz.shown import ShownHandle, ShownPerson, ShownScene, ShownTimeline

#: Radius of handles of fingers and of everything else, metres.
_FINGER_RADIUS, _RADIUS = 0.004, 0.008
#: Size of what is looked at: a body, or a part around its points.
_BODY_RADIUS, _PART_RADIUS = 1.0, 0.16
_SQUARE = np.array([[-1.0, -1.0, 0.0], [1.0, -1.0, 0.0], [-1.0, 1.0, 0.0], [1.0, 1.0, 0.0]])
#: Of the vertices of a body that are to be seen, so many are enough.
_EVERY = 20


@jax.jit
def _posed(body: BodyModel, params: BodyParams) -> tuple[Float[Array, "V 3"], Float[Array, "J 3"]]:
    output = body(params)
    return output.vertices, output.joints


def shown_person(row: LabelRow, body: BodyModel, *, former: LabelRow | None = None) -> ShownPerson:
    """A person as a viewer shows them.

    Args:
        row: A usable label.
        body: Its body.
        former: The version to show as a ghost.
    """
    params = _params(row, body)
    vertices, joints = (np.asarray(value) for value in _posed(body, params))
    ghost = None if former is None else np.asarray(_posed(body, _params(former, body))[0])
    turned = Rotation.from_rotvec(np.asarray(params.full_pose())).as_matrix()
    for joint, parent in enumerate(body.parents):
        if parent >= 0:
            turned[joint] = turned[parent] @ turned[joint]
    return ShownPerson(
        label_id=row.label_id,
        vertices=vertices,
        ghost=ghost,
        badness={part: badness(row, part) for part in layouts.PARTS},
        is_by_hand=row.origin == "human",
        joints=joints,
        rotations=np.roll(Rotation.from_matrix(turned).as_quat(), 1, axis=1).astype(np.float32),
    )


def _params(row: LabelRow, body: BodyModel) -> BodyParams:
    return jax.tree.map(lambda leaf: np.asarray(leaf)[0], params_of_labels([row], body))


def shown_scene(
    rows: Sequence[LabelRow],
    people: Sequence[ShownPerson],
    selected: LabelRow | None,
    part: str,
    image: UInt8[np.ndarray, "H W 3"] | None,
) -> ShownScene:
    """A picture as a viewer shows it.

    Args:
        rows: Newest versions of the labels of a picture, one at least.
        people: Those of them that have a pose.
        selected: The label that is looked at.
        part: And the part of it.
        image: The picture.
    """
    row = selected or rows[0]
    own = next((person for person in people if person.label_id == row.label_id), None)
    target, radius = np.array([0.0, 0.0, 3.0]), _BODY_RADIUS
    close_up = target + _SQUARE
    if own is not None:
        target = own.joints.mean(0)
        radius = float(np.linalg.norm(own.joints - target, axis=1).max())
        close_up = own.vertices[::_EVERY]
        points = _points_of_part(row, part)
        if len(points):
            target, radius = points.mean(0), _PART_RADIUS
            close_up = target + 1.6 * radius * _SQUARE
    is_seen = row.keypoint_confidence >= SEEN
    return ShownScene(
        image=image,
        image_size=(row.image_width, row.image_height),
        focal_length=row.focal_length,
        principal_point=row.principal_point,
        people=tuple(people),
        selected="" if own is None else row.label_id,
        keypoints_2d=row.keypoints_2d[is_seen],
        target=target,
        target_radius=radius,
        close_up=close_up,
        focus=f"{row.label_id}/{part}",
    )


def _points_of_part(row: LabelRow, part: str) -> np.ndarray:
    if part == "body" or row.keypoints_3d is None:
        return np.zeros((0, 3))
    points = layouts.get_layout(row.keypoint_layout).points
    found = row.keypoints_3d[[layouts.part_of(point) == part for point in points]]
    return found[np.isfinite(found).all(1)]


def shown_handles(
    row: LabelRow, body: BodyModel, *, part: str, placed: frozenset[str], with_fingers: bool
) -> dict[str, ShownHandle]:
    """Points of a label that can be dragged.

    Args:
        row: A usable label.
        body: Its body.
        part: That is looked at.
        placed: Points that somebody has placed in this correction.
        with_fingers: Also those of fingers beyond the knuckles.
    """
    names = placeable_points(body, row.keypoint_layout)
    points = layouts.get_layout(row.keypoint_layout).points
    places = np.asarray(_points(body, row), np.float64)
    return {
        name: ShownHandle(
            place=places[points.index(name)],
            is_placed=name in placed or name in (row.placed_points or ()),
            radius=_FINGER_RADIUS if is_on_finger(name) or name.endswith("1") else _RADIUS,
            is_in_focus=not is_on_finger(name) and name in _points_near(part, names),
        )
        for name in names
        if with_fingers or not is_on_finger(name)
    }


def _points_near(part: str, names: Sequence[str]) -> tuple[str, ...]:
    """Of points, those of a part and of the joints that it hangs on."""
    side, _, kind = part.partition("_")
    joints = {"foot": ("ankle", "knee"), "hand": ("wrist", "elbow")}.get(kind, ())
    own = {f"{side}_{joint}" for joint in joints}
    return tuple(name for name in names if kind and (layouts.part_of(name) == part or name in own))


def _points(body: BodyModel, row: LabelRow) -> np.ndarray:
    """Keypoints of the body of a label, camera frame, metres."""
    if row.keypoints_3d is not None:
        return row.keypoints_3d
    return points_of_body(body, _params(row, body), row.keypoint_layout)


def shown_timeline(labels: ViewedLabels, label_id: str) -> ShownTimeline | None:
    """How likely each part of a person of a video is wrong, picture by picture; None of photos.

    Args:
        labels: All of them.
        label_id: Of the person in one picture.
    """
    track = labels.track_of(label_id)
    if len(track) < 2:
        return None
    values = {
        part: np.array([np.nan if value is None else value for value in (badness(row, part) for _, row in track)])
        for part in layouts.PARTS
    }
    return ShownTimeline(pictures=np.array([float(at) for at, _ in track]), badness=values)


def facts_of(row: LabelRow) -> tuple[tuple[str, str], ...]:
    """Lines about a label: where it is from, how its fit ended, what a person said."""
    time = "" if row.time_seconds is None else f", {row.time_seconds:.2f} s"
    said = row.review if row.review != "none" else "nothing yet"
    made = "a person" if row.origin == "human" else "machine"
    return (
        ("picture", f"{row.source_path}, frame {row.frame_index}{time}"),
        ("fit", row.status),
        ("version", f"{row.label_version}, by {made}"),
        ("a person says", said),
        *((("badly seen", ", ".join(row.quality_reasons)),) if row.quality_reasons else ()),
    )


def table_of_parts(row: LabelRow) -> tuple[tuple[str, ...], ...]:
    """Errors of parts, how likely they are wrong, and what a person said of them."""
    head = ("part", "error", "wrong", "why", "said")
    lines = []
    for part in layouts.PARTS:
        error, wrong = row.error_by_part[part], row.wrong_by_part[part]
        lines.append(
            (
                part.replace("_", " "),
                "-" if error is None else f"{100 * error:.1f} %",
                "-" if wrong is None else f"{wrong:.2f}",
                (row.reason_by_part[part] or "-").replace("_", " "),
                row.review_by_part[part] or "-",
            )
        )
    return (head, *lines)


def with_row(people: Sequence[ShownPerson], row: LabelRow, body: BodyModel) -> tuple[ShownPerson, ...]:
    """People of a picture of whom one has another pose; the others are the same objects."""
    return tuple(
        dataclasses.replace(shown_person(row, body), ghost=person.ghost) if person.label_id == row.label_id else person
        for person in people
    )
