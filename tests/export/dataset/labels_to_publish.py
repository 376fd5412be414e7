"""Labels of invented people in real files, for the tests of data sets and of removal."""

import datetime
import hashlib
import io

import numpy as np
from PIL import Image

from hardmo_jax.labels import schema

#: Latitude of Null Island's neighbour, as EXIF writes it; found nowhere else.
GPS_DEGREES = (51.0, 28.0, 38.0)


def label(rng, source_path, sha256="a" * 64, frame_index=0, track_id=0, **changes):
    confidence = rng.uniform(size=67).astype(np.float32)
    confidence[rng.uniform(size=67) < 0.3] = 0
    fields = {
        "source_path": source_path, "source_sha256": sha256, "frame_index": frame_index, "image_width": 64,
        "image_height": 48, "bbox": np.array([1, 2, 30.5, 40]), "track_id": track_id, "person_score": 0.5,
        "category": "ballet", "licence": "cc-by-4.0",
        "keypoint_source": "test", "keypoint_confidence": confidence,
        "keypoints_2d": np.where(confidence[:, None] > 0, rng.uniform(0, 48, (67, 2)), 0),
        "keypoints_3d": np.where(rng.uniform(size=(67, 1)) < 0.1, np.nan, rng.normal(size=(67, 3))),
        "body_model": "open_body_smplh", "body_model_sha256": "b" * 64, "betas": rng.normal(size=10),
        "global_orient": rng.normal(size=3), "body_pose": rng.normal(size=(21, 3)), "transl": rng.normal(size=3),
        "left_hand_pose": rng.normal(size=(15, 3)),
        "focal_length": np.full(2, 500.0), "principal_point": np.array([31.5, 23.5]),
        "camera_source": "diagonal", "status": "CONVERGED", "error_by_part": {"body": 0.01},
        "wrong_by_part": {"left_hand": 0.75, "right_foot": 0.25},
        "quality_reasons": ("small",), "code_version": "0.1.0",
        "created_utc": datetime.datetime(2026, 11, 2, 3, 4, 5, 678, tzinfo=datetime.UTC),
    }  # fmt: skip
    return schema.LabelRow(**(fields | changes))


def hypotheses(rng):
    pose = {"global_orient": rng.normal(size=3), "body_pose": rng.normal(size=(21, 3)), "transl": rng.normal(size=3)}
    return (
        schema.Hypothesis(name="lifter_1", weight=0.75, error=0.02, **pose),
        schema.Hypothesis(name="lifter_2", weight=0.25, left_hand_pose=rng.normal(size=(15, 3)), **pose),
    )


def write_photo(path, colour, *, size=(64, 48), orientation=1):
    """A photo of one colour whose EXIF tells where it was taken and by whom; gives its SHA-256."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif[0x013B] = "Artist Secretname"
    exif.get_ifd(0x8825).update({1: "N", 2: GPS_DEGREES, 3: "W", 4: GPS_DEGREES})
    path.parent.mkdir(parents=True, exist_ok=True)
    image = np.zeros((size[1], size[0], 3), np.uint8)
    image[:] = colour
    image[: size[1] // 2, : size[0] // 2] = 255
    Image.fromarray(image).save(path, quality=95, exif=exif, comment=b"Comment Secretname")
    return hashlib.sha256(path.read_bytes()).hexdigest()


def pixels_of(data):
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(int)
