"""Named points of every keypoint convention the package reads or writes.

Tables only (NumPy-free): a layout is an ordered tuple of point names, and the same place on the body has
the same name in every layout, so that conversion is a lookup by name (`mapping.py`). An index never
appears in code: ask `layout.index("left_wrist")`. Left and right are the person's own.

`hip`, `shoulder` etc. mean slightly different places to different annotators (SMPL's hip joint lies deeper
and closer to the middle than the hip point of COCO). The names here are the annotators'; which body point
stands for them is decided in `mapping.body_points`, or by the layout itself where a convention has its own.
"""

import dataclasses
from collections.abc import Sequence

from hardmo_jax.skeleton import lookup, regressors

SIDES = ("left", "right")
FINGERS = ("thumb", "index", "middle", "ring", "pinky")
#: Points of the feet that can stand on the ground.
CONTACT_POINTS = tuple(f"{side}_{point}" for side in SIDES for point in ("heel", "big_toe"))

#: The 24 joints of SMPL in file order (Loper et al., 2015).
SMPL_JOINTS = (
    "pelvis", "left_hip", "right_hip", "spine1", "left_knee", "right_knee", "spine2", "left_ankle",
    "right_ankle", "spine3", "left_foot", "right_foot", "neck", "left_collar", "right_collar", "head",
    "left_shoulder", "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist",
    "left_hand", "right_hand",
)  # fmt: skip

#: Order of the fingers in MANO and SMPL-H files.
MANO_FINGERS = ("index", "middle", "pinky", "ring", "thumb")

#: The joints before the hands, which SMPL, SMPL-H and SMPL-X share.
_BODY_JOINTS = SMPL_JOINTS[: SMPL_JOINTS.index("left_hand")]


def _finger_joints(side: str) -> tuple[str, ...]:
    """15 finger joints of one side, three a finger from the palm outwards."""
    return tuple(f"{side}_{finger}{joint}" for finger in MANO_FINGERS for joint in (1, 2, 3))


#: The 52 joints of SMPL-H: SMPL's first 22, then 15 finger joints a side (Romero et al., 2017).
SMPLH_JOINTS = _BODY_JOINTS + _finger_joints("left") + _finger_joints("right")

#: The 55 joints of SMPL-X: jaw and eyes stand between body and fingers (Pavlakos et al., 2019). The eyes are the
#: centres of the eyeballs, which the `smplx` package calls `left_eye_smplhf` and `right_eye_smplhf`; `left_eye` is
#: the point on the face that annotators mark.
SMPLX_JOINTS = (
    *_BODY_JOINTS, "jaw", "left_eyeball", "right_eyeball", *_finger_joints("left"), *_finger_joints("right"),
)  # fmt: skip

#: The 16 joints of MANO by side: the wrist, then the finger joints (Romero et al., 2017).
MANO_JOINTS: dict[str, tuple[str, ...]] = {side: (f"{side}_wrist", *_finger_joints(side)) for side in SIDES}

#: Tips of the ten fingers, thumb to little finger, the left hand first.
FINGER_TIPS = tuple(f"{side}_{finger}_tip" for side in SIDES for finger in FINGERS)

#: Points that no joint stands for and that are picked as vertices of the mesh.
LANDMARKS = (
    "nose", "right_eye", "left_eye", "right_ear", "left_ear",
    "left_big_toe", "left_small_toe", "left_heel", "right_big_toe", "right_small_toe", "right_heel",
    *FINGER_TIPS,
)  # fmt: skip

_FOOT = ("big_toe", "small_toe", "heel")
_COCO17 = (
    "nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder",
    "left_elbow", "right_elbow", "left_wrist", "right_wrist", "left_hip", "right_hip", "left_knee",
    "right_knee", "left_ankle", "right_ankle",
)  # fmt: skip
_BODY25 = (
    "nose", "neck", "right_shoulder", "right_elbow", "right_wrist", "left_shoulder", "left_elbow",
    "left_wrist", "mid_hip", "right_hip", "right_knee", "right_ankle", "left_hip", "left_knee",
    "left_ankle", "right_eye", "left_eye", "right_ear", "left_ear", "left_big_toe", "left_small_toe",
    "left_heel", "right_big_toe", "right_small_toe", "right_heel",
)  # fmt: skip


def _hand(side: str) -> tuple[str, ...]:
    """21 hand points of one side: wrist, then four a finger from the palm outwards."""
    return (
        f"{side}_hand_root",
        *(
            f"{side}_{finger}_tip" if joint == 4 else f"{side}_{finger}{joint}"
            for finger in FINGERS
            for joint in (1, 2, 3, 4)
        ),
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class KeypointLayout:
    """An ordered set of named keypoints."""

    name: str
    """Name of the layout as it stands in files and options."""
    points: tuple[str, ...]
    """Names of the points, in file order, without repetition."""
    body_point_names: tuple[tuple[str, str], ...] = ()
    """Pairs of a point and the one body point that stands for it in this convention; for all other points
    `mapping.body_points` decides."""

    def __post_init__(self) -> None:
        if len(set(self.points)) != len(self.points):
            raise ValueError(f"layout {self.name!r} names a point twice")
        chosen = [point for point, _ in self.body_point_names]
        if len(set(chosen)) != len(chosen):
            raise ValueError(f"layout {self.name!r} gives a point two body points")
        for point in chosen:
            self.index(point)

    def __len__(self) -> int:
        return len(self.points)

    def index(self, point: str) -> int:
        """Position of a named point; `KeyError` with the nearest name if it is absent."""
        try:
            return self.points.index(point)
        except ValueError:
            raise KeyError(lookup.unknown_name("point", point, self.points)) from None

    def indices(self, points: tuple[str, ...]) -> tuple[int, ...]:
        """Positions of several named points."""
        return tuple(self.index(point) for point in points)

    def only(self, indices: tuple[int, ...]) -> "KeypointLayout":
        """The layout of some of the points, in this order."""
        points = tuple(self.points[index] for index in indices)
        chosen = tuple(pair for pair in self.body_point_names if pair[0] in points)
        return KeypointLayout(name=self.name, points=points, body_point_names=chosen)


def _layout(
    name: str, points: tuple[str, ...], body_point_names: dict[str, str] | None = None
) -> tuple[str, KeypointLayout]:
    pairs = tuple((body_point_names or {}).items())
    return name, KeypointLayout(name=name, points=points, body_point_names=pairs)


def _face(first: int) -> tuple[str, ...]:
    """Face points from one number to the last, in the order of the 68 points of iBUG (Sagonas et al., 2013)."""
    return tuple(f"face_{index:02d}" for index in range(first, 68))


_FACE68 = _face(0)
#: OpenPose's face: the pupils come last.
_FACE70 = (*_FACE68, "right_pupil", "left_pupil")
#: Face points without the 17 of the contour, which slide over the mesh as the head turns: those that SMPL-X keeps at
#: fixed places of its mesh, in its order.
FACE51 = _face(17)

# BODY_25B, the body of BODY_135: COCO's points, then neck and top of the head as MPII marks them, which are LSP's.
_BODY25B = (
    *_COCO17,
    "neck_lsp",
    "head_top_lsp",
    *(f"{side}_{point}" for side in SIDES for point in ("big_toe", "small_toe", "heel")),
)
_MPII_HEAD = {point: regressors.regressed_point("SMPL_to_J19", point) for point in ("neck_lsp", "head_top_lsp")}
_HEAD_TOP = {"head_top_lsp": _MPII_HEAD["head_top_lsp"]}
# Halpe (Li et al., 2020): top of the head, neck and middle of the hips, then the feet with the sides by turns.
_HALPE26 = (
    *_COCO17,
    "head_top_lsp",
    "neck",
    "mid_hip",
    *(f"{side}_{point}" for point in ("big_toe", "small_toe", "heel") for side in SIDES),
)

# `neck` is a mean in BODY_25, but a joint in body models; HMR's descendants take joints for both means of BODY_25,
# as the joint map of `smplx` does.
_NECK_JOINT = {"neck": "neck"}
_BODY25_JOINTS = {**_NECK_JOINT, "mid_hip": "pelvis"}

# SPIN has the five face points of BODY_25 twice: among the first 25 for what OpenPose detected, among the other 24 for
# what people annotated, SPIN's "ground truth". A layout names a point once, hence the suffix.
_ANNOTATED_FACE = tuple(f"{place}_gt" for place in ("nose", "left_eye", "right_eye", "left_ear", "right_ear"))
_ANNOTATED19 = regressors.SMPL_TO_J19

# In 4DHumans each annotated point is a row of one regressor.
_HMR2_POINTS = _BODY25_JOINTS | {point: regressors.regressed_point("SMPL_to_J19", point) for point in _ANNOTATED19}
# In SPIN it is a row of another, smaller regressor, or else the joint or landmark of the same place.
_SPIN_POINTS = _BODY25_JOINTS | {
    point: regressors.regressed_point("J_regressor_extra", point)
    if point in regressors.J_REGRESSOR_EXTRA
    else regressors.place_of(point)
    for point in _ANNOTATED19
}
_SPIN_FACE_POINTS = {point: regressors.place_of(point) for point in _ANNOTATED_FACE}

LAYOUTS: dict[str, KeypointLayout] = dict(
    [
        _layout("smpl24", SMPL_JOINTS, _NECK_JOINT),
        _layout("smplh52", SMPLH_JOINTS, _NECK_JOINT),
        _layout("coco17", _COCO17),
        _layout("openpose25", _BODY25),
        # BODY_25 and the 21 points of each hand as OpenPose writes them: what the default perception gives.
        _layout("openpose67", _BODY25 + _hand("left") + _hand("right")),
        # OpenPose's older body, which AlphaPose and ControlNet also write.
        _layout("openpose18", tuple(point for point in _BODY25[: _BODY25.index("left_big_toe")] if point != "mid_hip")),
        _layout("openpose25b", _BODY25B, _MPII_HEAD),
        # The hands come without their wrists, which are the body's.
        _layout("openpose135", _BODY25B + _hand("left")[1:] + _hand("right")[1:] + _FACE70, _MPII_HEAD),
        _layout("face70", _FACE70),
        _layout("halpe26", _HALPE26, _HEAD_TOP),
        _layout("halpe136", _HALPE26 + _FACE68 + _hand("left") + _hand("right"), _HEAD_TOP),
        _layout("coco_feet23", _COCO17 + tuple(f"{side}_{point}" for side in SIDES for point in _FOOT)),
        _layout(
            "coco_wholebody133",
            _COCO17
            + tuple(f"{side}_{point}" for side in SIDES for point in _FOOT)
            + _FACE68
            + _hand("left")
            + _hand("right"),
        ),
        # The same without the face.
        _layout(
            "coco_wholebody65",
            _COCO17
            + tuple(f"{side}_{point}" for side in SIDES for point in _FOOT)
            + _hand("left")
            + _hand("right"),
        ),
        # MediaPipe's 33 body points. `*_foot_index` is the foremost point of the foot, close to the big toe.
        _layout(
            "blazepose33",
            (
                "nose", "left_eye_inner", "left_eye", "left_eye_outer", "right_eye_inner", "right_eye",
                "right_eye_outer", "left_ear", "right_ear", "left_mouth", "right_mouth",
                "left_shoulder", "right_shoulder", "left_elbow", "right_elbow", "left_wrist",
                "right_wrist", "left_pinky_knuckle", "right_pinky_knuckle", "left_index_knuckle",
                "right_index_knuckle", "left_thumb_knuckle", "right_thumb_knuckle", "left_hip",
                "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle", "left_heel",
                "right_heel", "left_foot_index", "right_foot_index",
            ),
        ),
        _layout("left_hand21", _hand("left")),
        _layout("right_hand21", _hand("right")),
        _layout("smplx55", SMPLX_JOINTS, _NECK_JOINT),
        *(_layout(f"mano_{side}16", MANO_JOINTS[side]) for side in SIDES),
        # BODY_25, then slots for annotations, which are the same in both.
        # ProHMR's 44 are those of HMR2: its released configuration makes the last 19 by SMPL_to_J19, too.
        _layout("hmr2_44", _BODY25 + _ANNOTATED19, _HMR2_POINTS),
        # What the HardMo benchmark scores: HMR2's 44, then the tips of the fingers.
        _layout("hardmo_54", _BODY25 + _ANNOTATED19 + FINGER_TIPS, _HMR2_POINTS),
        # Every point of SPIN's protocol for 3DPW and Human3.6M, each a row of `J_regressor_h36m`.
        _layout(
            "h36m_17",
            regressors.J_REGRESSOR_H36M,
            {point: regressors.regressed_point("J_regressor_h36m", point) for point in regressors.J_REGRESSOR_H36M},
        ),
        _layout("spin_49", _BODY25 + _ANNOTATED19 + _ANNOTATED_FACE, _SPIN_POINTS | _SPIN_FACE_POINTS),
    ]
)  # fmt: skip


def get_layout(name: str) -> KeypointLayout:
    """Layout of that name.

    Raises:
        KeyError: If there is none; the message holds the nearest name.
    """
    try:
        return LAYOUTS[name]
    except KeyError:
        raise KeyError(lookup.unknown_name("keypoint layout", name, LAYOUTS)) from None


def add_layout(name: str, points: Sequence[str]) -> KeypointLayout:
    """Make a layout of one's own known, for this process.

    Args:
        name: What observations call it: `hm.Observations(layout=name)`.
        points: Names of the keypoints in the order of the arrays. They are those of the layouts here (`left_knee`,
            `nose`, `right_big_toe`, `mid_hip`); a point that is none of these is not compared with the body, and
            must say so by a name that begins with an underscore.

    Returns:
        The layout. The same layout may be added again.

    Raises:
        ValueError: If a point is unknown or named twice, or another layout has the name.
    """
    layout = _layout_of_points(name, points)
    if LAYOUTS.get(name, layout) != layout:
        raise ValueError(f"there is a layout {name!r} with other points already; give yours another name")
    LAYOUTS[name] = layout
    return layout


def _layout_of_points(name: str, points: Sequence[str]) -> KeypointLayout:
    known = {point for layout in LAYOUTS.values() for point in layout.points}
    for point in points:
        if point not in known and not point.startswith("_"):
            raise ValueError(
                f"{lookup.unknown_name('keypoint', point, sorted(known))[:400]}; points that no body has begin with an "
                "underscore"
            )
    return KeypointLayout(name=name, points=tuple(points))


def layout_of_names(text: str) -> KeypointLayout:
    """A layout as a command line names it: `coco17`, or the names of its points with commas between.

    One of points is known to nobody else: it is no layout of observations, see `add_layout`.

    Raises:
        KeyError: If there is no layout of that name.
        ValueError: If a point is unknown or named twice.
    """
    if "," not in text:
        return get_layout(text)
    points = [point.strip() for point in text.split(",") if point.strip()]
    return _layout_of_points("own", points)


#: Parts by which errors, weights and hardcases are reported.
PARTS = ("body", "left_foot", "right_foot", "left_hand", "right_hand")


def part_of(point: str) -> str | None:
    """Part that a named point belongs to, None for points outside every part (face contour, mouth).

    `body` holds the COCO-like points with the wrists and ankles; a foot its toes and heel; a hand
    everything beyond the wrist. `neck` and `mid_hip` are averages of other points and belong to none. Who annotated
    a place changes nothing: `left_ankle_lsp` is `body`, and the middle line of LSP, MPII and Human3.6M (`neck_lsp`,
    `pelvis_mpii`, `head_h36m`) belongs to none, as `neck` and `mid_hip`.
    """
    place = regressors.place_of(point)
    if place in _COCO17:
        return "body"
    side, _, rest = place.partition("_")
    if side not in SIDES:
        return None
    if rest in _FOOT or rest == "foot_index":
        return f"{side}_foot"
    if rest == "hand_root" or rest.startswith(FINGERS):
        return f"{side}_hand"
    return None
