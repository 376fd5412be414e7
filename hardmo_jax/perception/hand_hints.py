"""Where to look for a person's hands, from the points of the body."""

import math

import numpy as np

from hardmo_jax.array_types import Float
from hardmo_jax.perception import keypoints_blazepose, keypoints_hand
from hardmo_jax.skeleton.layouts import KeypointLayout

_BODY = keypoints_blazepose.LAYOUT
#: Length of an adult's hand, metres.
_HAND_LENGTH = 0.19
#: From the wrist to the middle of the knuckles, of the length of a hand.
_PALM_SHARE = 0.4
#: Lengths of an adult, metres (Drillis and Contini, 1966, of a height of 1.7 m). What is seen of them is never longer.
_SEGMENTS = (
    ("shoulder", "elbow", 0.32), ("elbow", "wrist", 0.25), ("hip", "knee", 0.42), ("knee", "ankle", 0.42),
    ("shoulder", "hip", 0.49),
)  # fmt: skip
_CONFIDENT = 0.3
#: Of wrists without which a hand is not looked for.
_LEAST_CONFIDENCE = 0.1


def pixels_per_metre(landmarks: keypoints_blazepose.BodyLandmarks, confidence: np.ndarray) -> float:
    """Scale of a person in the picture, from the spread of points in both."""
    weights = np.maximum(confidence, 1e-3)[:, None]
    weights = weights / weights.sum()

    def spread(points: np.ndarray) -> float:
        centred = points - (weights * points).sum(axis=0)
        return float(np.sqrt((weights * centred**2).sum()))

    return spread(landmarks.keypoints_2d.astype(np.float64)) / max(
        spread(landmarks.keypoints_3d[:, :2].astype(np.float64)), 1e-3
    )


def hand_hint(
    landmarks: keypoints_blazepose.BodyLandmarks, confidence: Float[np.ndarray, "33"], side: str
) -> keypoints_hand.HandHint | None:
    """Where to look for a hand; None if the wrist is out of the picture or quite unknown."""

    def point(name: str) -> np.ndarray:
        return landmarks.keypoints_2d[_BODY.index(f"{side}_{name}")].astype(np.float64)

    if confidence[_BODY.index(f"{side}_wrist")] < _LEAST_CONFIDENCE:
        return None
    wrist, elbow = point("wrist"), point("elbow")
    palm = 0.5 * (point("index_knuckle") + point("pinky_knuckle"))
    length = _HAND_LENGTH * pixels_per_metre(landmarks, confidence)
    if math.dist(palm, wrist) < 0.15 * length:
        # Seen end on: the forearm's direction is all there is.
        palm = _beyond_the_wrist(elbow, wrist, length)
    length = max(length, 1.6 * math.dist(palm, wrist))
    return keypoints_hand.HandHint(side=side, wrist=wrist, palm=palm, length=length)


def hand_hint_of_forearm(
    keypoints_2d: Float[np.ndarray, "K 2"], confidence: Float[np.ndarray, "K"], layout: KeypointLayout, side: str
) -> keypoints_hand.HandHint | None:
    """Where to look for a hand of which nothing but the forearm is known.

    Its size is that of the limb that is seen longest: limbs that point at the camera look shorter than they are, and
    none looks longer.

    Args:
        keypoints_2d: Of the body, pixels.
        confidence: Of these.
        layout: With elbows and wrists.
        side: `left` or `right`.

    Returns:
        The hint; None if wrist or elbow are unknown, or no limb is.
    """
    ends = [layout.index(f"{side}_{joint}") for joint in ("elbow", "wrist")]
    if confidence[ends].min() < _LEAST_CONFIDENCE:
        return None
    scales = [0.0]
    for name in ("left", "right"):
        for first, last, metres in _SEGMENTS:
            places = [layout.index(f"{name}_{joint}") for joint in (first, last)]
            if confidence[places].min() >= _CONFIDENT:
                scales.append(math.dist(*keypoints_2d[places].astype(np.float64)) / metres)
    if max(scales) <= 0:
        return None
    elbow, wrist = keypoints_2d[ends].astype(np.float64)
    length = _HAND_LENGTH * max(scales)
    return keypoints_hand.HandHint(side=side, wrist=wrist, palm=_beyond_the_wrist(elbow, wrist, length), length=length)


def _beyond_the_wrist(elbow: np.ndarray, wrist: np.ndarray, length: float) -> np.ndarray:
    along = wrist - elbow
    return wrist + along / max(float(np.linalg.norm(along)), 1e-6) * _PALM_SHARE * length
