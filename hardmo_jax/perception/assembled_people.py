"""A found body and its hands as a person of the output layout."""

import numpy as np

from hardmo_jax.array_types import Float
from hardmo_jax.perception import crops, keypoints_blazepose, keypoints_hand
from hardmo_jax.perception.found_bodies import FoundBody
from hardmo_jax.perception.keypoint_files import MIDDLE_SOURCES
from hardmo_jax.perception.people import LAYOUT_NAME, PersonKeypoints
from hardmo_jax.skeleton import layouts

_LAYOUT = layouts.get_layout(LAYOUT_NAME)
_BODY = keypoints_blazepose.LAYOUT

#: Points of the body that both layouts name alike, and the foremost point of the foot for the big toe.
_BODY_SOURCES = {point: point for point in _LAYOUT.points if point in _BODY.points} | {
    f"{side}_big_toe": f"{side}_foot_index" for side in layouts.SIDES
}
#: Hand points that the body model knows roughly: the wrist, and the knuckles nearest to the palm.
_ROUGH_HAND_SOURCES = {
    "hand_root": "wrist",
    "thumb2": "thumb_knuckle",
    "index1": "index_knuckle",
    "pinky1": "pinky_knuckle",
}
#: Confidence of a rough hand point never exceeds this.
_ROUGH_HAND_CONFIDENCE = 0.3
#: Confidence of a point outside the picture never exceeds this.
_OUTSIDE_CONFIDENCE = 0.05
#: Width of the strip along the picture's edge in which confidence fades, as part of the body crop: the model
#: puts joints there that are really cut off.
EDGE_STRIP = 0.012


def assembled(
    pyramid: crops.ImagePyramid, body: FoundBody, hands: dict[str, keypoints_hand.HandLandmarks | None]
) -> PersonKeypoints:
    """Put body and hands into the output layout."""
    keypoints_2d = np.zeros((len(_LAYOUT), 2), np.float32)
    keypoints_3d = np.zeros((len(_LAYOUT), 3), np.float32)
    confidence = np.zeros(len(_LAYOUT), np.float32)
    confidence_3d = np.zeros(len(_LAYOUT), np.float32)
    landmarks = body.landmarks
    hips = [_BODY.index(point) for point in MIDDLE_SOURCES["mid_hip"]]
    world = landmarks.keypoints_3d - landmarks.keypoints_3d[hips].mean(axis=0)

    for point, source in _BODY_SOURCES.items():
        at, of = _LAYOUT.index(point), _BODY.index(source)
        keypoints_2d[at], keypoints_3d[at] = landmarks.keypoints_2d[of], world[of]
        confidence[at], confidence_3d[at] = body.confidence[of], body.confidence_3d[of]
    for point, sources in MIDDLE_SOURCES.items():
        at, of = _LAYOUT.index(point), [_BODY.index(source) for source in sources]
        keypoints_2d[at], keypoints_3d[at] = landmarks.keypoints_2d[of].mean(axis=0), world[of].mean(axis=0)
        confidence[at], confidence_3d[at] = body.confidence[of].min(), body.confidence_3d[of].min()
    for side in layouts.SIDES:
        hand = hands.get(side)
        wrist = _LAYOUT.index(f"{side}_wrist")
        if hand is None:
            for point, source in _ROUGH_HAND_SOURCES.items():
                at, of = _LAYOUT.index(f"{side}_{point}"), _BODY.index(f"{side}_{source}")
                keypoints_2d[at], keypoints_3d[at] = landmarks.keypoints_2d[of], world[of]
                confidence[at] = min(_ROUGH_HAND_CONFIDENCE, body.confidence[of])
                confidence_3d[at] = min(_ROUGH_HAND_CONFIDENCE, body.confidence_3d[of])
            continue
        at = [_LAYOUT.index(point) for point in layouts.get_layout(f"{side}_hand21").points]
        inside = inside_confidence(
            hand.keypoints_2d, pyramid.width, pyramid.height, strip=EDGE_STRIP * hand.region.size
        )
        keypoints_2d[at] = hand.keypoints_2d
        keypoints_3d[at] = hand.keypoints_3d + keypoints_3d[wrist]
        confidence[at] = np.minimum(hand.confidence, inside)
        confidence_3d[at] = np.minimum(confidence[at], confidence_3d[wrist])
    is_trusted = confidence >= 0.3
    trusted = keypoints_2d[is_trusted] if is_trusted.any() else keypoints_2d[confidence > 0]
    return PersonKeypoints(
        keypoints_2d=keypoints_2d,
        confidence=np.clip(confidence, 0.0, 1.0),
        keypoints_3d=keypoints_3d,
        confidence_3d=np.clip(confidence_3d, 0.0, 1.0),
        bbox=clip_box(np.concatenate([trusted.min(axis=0), trusted.max(axis=0)]), pyramid.width, pyramid.height),
        detector_bbox=body.detector_bbox,
        score=landmarks.score,
        region=landmarks.next_region,
    )


def inside_confidence(
    keypoints_2d: Float[np.ndarray, "K 2"], width: int, height: int, *, strip: float
) -> Float[np.ndarray, "K"]:
    """Highest confidence that a point may have where it lies.

    Args:
        keypoints_2d: Pixels.
        width: Of the picture.
        height: Of the picture.
        strip: Width in pixels of the zone inside the edge where it rises from 0.5 to 1.

    Returns:
        1 well inside, `_OUTSIDE_CONFIDENCE` outside.
    """
    low = keypoints_2d + 0.5
    high = np.array([width, height]) - 0.5 - keypoints_2d
    margin = np.minimum(low, high).min(axis=1)
    fade = np.clip(0.5 + 0.5 * margin / max(strip, 1e-6), 0.5, 1.0)
    return np.where(margin >= 0, fade, _OUTSIDE_CONFIDENCE)


def clip_box(box: Float[np.ndarray, "4"], width: int, height: int) -> Float[np.ndarray, "4"]:
    """Box cut down to the picture (pixel centres)."""
    return np.clip(box, 0, np.array([width - 1, height - 1, width - 1, height - 1])).astype(np.float32)
