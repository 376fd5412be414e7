"""Labels of synthetic people with planted errors: the truth, what was seen, and labels of which some are wrong."""

import dataclasses
import functools

import cv2
import numpy as np

from hardmo_jax.body import load
from hardmo_jax.data import hand_poses, staging, synthetic
from hardmo_jax.data.planted_errors import PlantOptions, plant
from hardmo_jax.fitting import limb_ends
from hardmo_jax.labels import schema
from hardmo_jax.pipelines import label_rows
from hardmo_jax.skeleton import flips, layouts
from hardmo_jax.whole_files import file_sha256


@functools.cache
def open_body():
    """The body of all these people."""
    return load.open_body(view="smplh")


@functools.cache
def people(count=48, seed=3):
    """A staged set of people in hard poses."""
    poses = synthetic.sample_hard_poses(seed, count)
    motion = staging.Motion(
        full_pose=poses.full_pose[:, None],
        pelvis=np.zeros((count, 1, 3)),
        styles=poses.styles,
        takes=tuple(map(str, range(count))),
        groups=tuple(map(str, range(count))),
        frames=np.arange(count)[:, None],
        frames_per_second=30.0,
    )
    return staging.stage(open_body(), motion, staging.StagingOptions(), seed=seed, name="refined")


def seen_points(found):
    """Keypoints of a set in the order of labels, with confidence 0 where it has none."""
    wide = layouts.get_layout("openpose67").points
    narrow = layouts.get_layout(found.layout).points
    rows = [narrow.index(point) if point in narrow else -1 for point in wide]
    has = np.array(rows) >= 0
    points = np.where(has[:, None], np.asarray(found.keypoints_2d)[:, rows], 0)
    confidence = np.where(has, np.clip(np.asarray(found.confidence)[:, rows], 0, 1), 0)
    return points, np.where(np.isfinite(points).all(-1), confidence, 0)


def labels_of(found, params, **changes):
    """Labels of people with some parameters."""
    points, confidence = seen_points(found)
    body = open_body()
    rows = []
    for place in range(len(found)):
        kept = confidence[place] > 0
        own = type(params)(
            **{
                field.name: None
                if getattr(params, field.name) is None
                else np.asarray(getattr(params, field.name))[place]
                for field in dataclasses.fields(params)
            }
        )
        rows.append(
            schema.LabelRow(
                source_path=f"photos/{place:03d}.jpg",
                source_sha256=f"{place:064x}",
                frame_index=0,
                image_width=found.image_size[0],
                image_height=found.image_size[1],
                bbox=np.concatenate([points[place][kept].min(0), points[place][kept].max(0)]),
                track_id=0,
                category=found.styles[place],
                keypoint_source="synthetic",
                keypoints_2d=np.where(kept[:, None], points[place], 0),
                keypoint_confidence=confidence[place],
                body_model=label_rows.name_of_body(body),
                body_model_sha256=body.checksum,
                **label_rows.pose_columns(own),
                focal_length=np.asarray(found.assumed_camera.focal_length)[place],
                principal_point=np.asarray(found.assumed_camera.principal_point)[place],
                camera_source="field_of_view",
                status="CONVERGED",
                error_by_part={},
                **changes,
            )
        )
    return label_rows.measured_again(rows, body)


def planted(found, seed=1, share=0.5):
    """Parameters of people with wrong ankles and wrists, and which are wrong."""
    rng = np.random.default_rng(seed)
    body = open_body()
    others = synthetic.sample_hard_poses(seed + 100, 400).full_pose
    wrists = hand_poses.sample_hand_poses(rng, 2000).wrists
    full_pose, is_planted = np.array(found.params.full_pose()), {}
    for part in limb_ends.LIMB_ENDS:
        joint = body.joint_names.index(limb_ends.joints_of(part)[0])
        pool = others[:, joint] if part.endswith("foot") else wrists[:, layouts.SIDES.index(part.split("_")[0])]
        full_pose[:, joint], is_planted[part] = plant(
            rng, full_pose[:, joint], pool, PlantOptions(share=share, degrees=(35.0, 70.0))
        )
    made = type(found.params).from_full_pose(
        body, full_pose, betas=np.asarray(found.params.betas), transl=np.asarray(found.params.transl)
    )
    return made, is_planted


@functools.cache
def planted_labels(count=48, seed=3):
    """Labels with planted errors, and which parts of them are wrong."""
    found = people(count, seed)
    params, is_planted = planted(found)
    return labels_of(found, params), is_planted


def mirrored(row):
    """The label of the same picture in the mirror."""
    points = layouts.get_layout(row.keypoint_layout).points
    order = [points.index(flips.mirrored_point(point)) for point in points]
    joints = layouts.SMPL_JOINTS[1 : 1 + schema.NUM_BODY_JOINTS]
    sides = [joints.index(flips.mirrored_point(joint)) for joint in joints]
    sign = np.array([1.0, -1.0, -1.0], np.float32)

    def flipped(points_2d):
        return np.stack([row.image_width - 1 - points_2d[..., 0], points_2d[..., 1]], -1)

    box = row.bbox
    kept = row.keypoint_confidence[order]
    return dataclasses.replace(
        row,
        keypoints_2d=np.where(kept[:, None] > 0, flipped(row.keypoints_2d)[order], 0),
        keypoint_confidence=kept,
        bbox=np.array([row.image_width - 1 - box[2], box[1], row.image_width - 1 - box[0], box[3]]),
        body_pose=row.body_pose[sides] * sign,
        global_orient=row.global_orient * sign,
        transl=row.transl * np.array([-1.0, 1.0, 1.0], np.float32),
        left_hand_pose=row.right_hand_pose * sign,
        right_hand_pose=row.left_hand_pose * sign,
        principal_point=np.array([row.image_width - 1 - row.principal_point[0], row.principal_point[1]]),
        keypoints_3d=None,
        **{
            name: {
                flips.mirrored_point(part) if part != "body" else part: value
                for part, value in getattr(row, name).items()
            }
            for name in ("error_by_part", "score_by_part")
        },
    )


def write_photos(rows, folder):
    """Pictures of noise where labels say that there are pictures; the labels, of these files."""
    pictured = []
    for place, row in enumerate(rows):
        path = folder / row.source_path
        path.parent.mkdir(parents=True, exist_ok=True)
        picture = np.random.default_rng(place).integers(0, 255, (row.image_height, row.image_width, 3), dtype=np.uint8)
        cv2.imwrite(str(path), picture)
        pictured.append(dataclasses.replace(row, source_sha256=file_sha256(path)))
    return pictured
