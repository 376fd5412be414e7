"""Which keypoint a keypoint becomes in the mirror image, by name."""

from hardmo_jax.skeleton import layouts, regressors
from hardmo_jax.skeleton.layouts import KeypointLayout

#: Rows of face points that run from the person's right to the left, so that the mirror reverses each: contour,
#: brows, the four points of the nose bridge, nostrils, upper and lower lids, outer lip above and below, inner lip.
_FACE_ROWS = (
    range(17), range(17, 27), (27,), (28,), (29,), (30,), range(31, 36),
    (*range(36, 40), *range(42, 46)), (41, 40, 47, 46),
    range(48, 55), range(55, 60), range(60, 65), range(65, 68),
)  # fmt: skip
_MIRRORED = {
    f"face_{ours:02d}": f"face_{theirs:02d}"
    for row in _FACE_ROWS
    for ours, theirs in zip(row, reversed(row), strict=True)
}
_OTHER_SIDE = {"left": "right", "right": "left"}


def mirrored_point(point: str) -> str:
    """Name of the keypoint on the other side; points of the middle line are their own."""
    side, mark, rest = point.partition("_")
    if side in _OTHER_SIDE:
        return f"{_OTHER_SIDE[side]}{mark}{rest}"
    return _MIRRORED.get(point, point)


def flip_permutation(layout: KeypointLayout) -> tuple[int, ...]:
    """Order that the keypoints of a mirror image are to be taken in: `flipped = keypoints[..., permutation, :]`.

    The layout of a single hand keeps its order: its mirror image is the other hand, whose layout has the same one.

    Args:
        layout: Keypoints of a whole person or of one hand.

    Returns:
        For each keypoint the position of its mirrored one; the permutation is its own inverse.

    Raises:
        ValueError: If some keypoints have their mirrored one in the layout and others have not.
    """
    mirrored = tuple(mirrored_point(point) for point in layout.points)
    if not set(mirrored) & set(layout.points):
        return tuple(range(len(layout)))
    lonely = [point for point, other in zip(layout.points, mirrored, strict=True) if other not in layout.points]
    if lonely:
        raise ValueError(f"layout {layout.name!r} cannot be mirrored: it lacks the other side of {', '.join(lonely)}")
    return layout.indices(mirrored)


def leg_permutation(layout: KeypointLayout) -> tuple[int, ...]:
    """Order of the keypoints where left and right leg, from the hips to the toes, are taken for each other.

    Raises:
        ValueError: As `flip_permutation`.
    """
    mirrored = flip_permutation(layout)
    return tuple(
        other if _is_of_leg(point) else own
        for own, (point, other) in enumerate(zip(layout.points, mirrored, strict=True))
    )


def _is_of_leg(point: str) -> bool:
    part, place = layouts.part_of(point) or "", regressors.place_of(point)
    return part.endswith("_foot") or place.partition("_")[2] in ("hip", "knee", "ankle", "foot", "foot_index")
