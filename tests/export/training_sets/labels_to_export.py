"""Labels of a photo and a clip of two people each, and their pictures, for tests of training sets."""

import io

import numpy as np
from PIL import Image

from hardmo_jax.labels.schema import LabelRow

WIDTH, HEIGHT = 96, 64
#: Order of BODY_25 among the points of a label, and of the tips of the fingers, by number.
BODY_25 = list(range(25))
TIPS = [25 + tip for tip in (4, 8, 12, 16, 20)] + [46 + tip for tip in (4, 8, 12, 16, 20)]
#: Where SPIN's 24 are in BODY_25; None for what no detector finds.
SPIN_24 = [11, 10, 9, 12, 13, 14, 4, 3, 2, 5, 6, 7, *[None] * 7, 0, 16, 15, 18, 17]


def label(seed=0, *, path="clips/dance.v2/take 1.mp4", frame=0, track=0, video=True, **changes):
    """A label whose body lies about where it was seen."""
    rng = np.random.default_rng(seed)
    points = rng.normal([0, 0, 4], 0.4, (67, 3))
    points[rng.integers(30, 67)] = np.nan
    focal, center = np.array([90.0, 91.0]), np.array([47.5, 31.5])
    pixels = points[:, :2] / points[:, 2:] * focal + center
    seen = np.where(np.isfinite(pixels), pixels, 0) + rng.normal(0, 0.5, (67, 2))
    confidence = rng.uniform(0.3, 1, 67)
    confidence[[20, 23]] = 0
    corner = rng.uniform(5, 20, 2)
    fields = {
        "source_path": path,
        "source_sha256": f"{sum(path.encode()):064x}",
        "frame_index": frame,
        "time_seconds": frame / 30 if video else None,
        "fps": 30.0 if video else None,
        "image_width": WIDTH,
        "image_height": HEIGHT,
        "bbox": np.concatenate([corner, corner + rng.uniform(20, 40, 2)]),
        "track_id": track,
        "category": "breaking" if video else None,
        "keypoint_source": "blazepose",
        "keypoints_2d": np.where(confidence[:, None] > 0, seen, 0),
        "keypoint_confidence": confidence,
        "keypoints_3d": points,
        "body_model": "open_body_smplh",
        "body_model_sha256": "ab" * 32,
        "gender": "neutral",
        "betas": rng.uniform(-2, 2, 10),
        "global_orient": rng.normal(size=3),
        "body_pose": rng.normal(0, 0.3, (21, 3)),
        "left_hand_pose": rng.normal(0, 0.3, (15, 3)),
        "right_hand_pose": rng.normal(0, 0.3, (15, 3)),
        "transl": np.array([0.1, 0.2, 4]),
        "focal_length": focal,
        "principal_point": center,
        "camera_source": "diagonal",
        "status": "CONVERGED",
        "error_by_part": {"body": 0.01},
    }
    return LabelRow(**(fields | changes))


def smpl_label(seed=0, **changes):
    """A label of SMPL's neutral body."""
    hands = np.random.default_rng(seed + 1000).normal(0, 0.3, (2, 3))
    own = {
        "body_model": "SMPL_NEUTRAL_smpl", "body_model_sha256": "cd" * 32, "left_hand_pose": None,
        "right_hand_pose": None, "smpl_hand_pose": hands,
    }  # fmt: skip
    return label(seed, **(own | changes))


def people(make=label):
    """Seven labels in no order: a clip of three frames, a photo, two people on each but one."""
    places = [{"frame": 2, "track": 1}, {"frame": 2, "track": 0}, {"frame": 10, "track": 0}]
    places += [{"path": "photos/bow.png", "video": False, "track": who} for who in (1, 0)]
    places += [{"frame": 0, "track": who} for who in (0, 1)]
    return [make(seed, **place) for seed, place in enumerate(places)]


def jpeg_of(row, kind="JPEG", size=(WIDTH, HEIGHT), **options):
    """A picture whose colour tells the frame."""
    file = io.BytesIO()
    Image.new("RGB", size, (40 + 10 * row.frame_index, 90, 200)).save(file, kind, **options)
    return file.getvalue()
