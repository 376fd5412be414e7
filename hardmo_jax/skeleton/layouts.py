"""Named points of every keypoint convention the package reads or writes.

Tables only (NumPy-free): a layout is an ordered tuple of point names, and the same place on the body has
the same name in every layout, so that conversion is a lookup by name (`mapping.py`). An index never
appears in code: ask `layout.index("left_wrist")`. Left and right are the person's own.

`hip`, `shoulder` etc. mean slightly different places to different annotators (SMPL's hip joint lies deeper
and closer to the middle than the hip point of COCO). The names here are the annotators'; which body point
stands for them is decided in `mapping.body_points`.
"""

import dataclasses
import difflib

SIDES = ("left", "right")
FINGERS = ("thumb", "index", "middle", "ring", "pinky")

#: The 24 joints of SMPL in file order (Loper et al., 2015).
SMPL_JOINTS = (
    "pelvis", "left_hip", "right_hip", "spine1", "left_knee", "right_knee", "spine2", "left_ankle",
    "right_ankle", "spine3", "left_foot", "right_foot", "neck", "left_collar", "right_collar", "head",
    "left_shoulder", "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist",
    "left_hand", "right_hand",
)  # fmt: skip

#: Order of the fingers in MANO and SMPL-H files.
MANO_FINGERS = ("index", "middle", "pinky", "ring", "thumb")

#: The 52 joints of SMPL-H: SMPL's first 22, then 15 finger joints a side (Romero et al., 2017).
SMPLH_JOINTS = SMPL_JOINTS[:22] + tuple(
    f"{side}_{finger}{joint}" for side in SIDES for finger in MANO_FINGERS for joint in (1, 2, 3)
)

#: Points that no joint stands for and that are picked as vertices of the mesh.
LANDMARKS = (
    "nose", "right_eye", "left_eye", "right_ear", "left_ear",
    "left_big_toe", "left_small_toe", "left_heel", "right_big_toe", "right_small_toe", "right_heel",
    *(f"{side}_{finger}_tip" for side in SIDES for finger in FINGERS),
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

    def __post_init__(self) -> None:
        if len(set(self.points)) != len(self.points):
            raise ValueError(f"layout {self.name!r} names a point twice")

    def __len__(self) -> int:
        return len(self.points)

    def index(self, point: str) -> int:
        """Position of a named point; `KeyError` with the nearest name if it is absent."""
        try:
            return self.points.index(point)
        except ValueError:
            raise KeyError(_unknown("point", point, self.points)) from None

    def indices(self, points: tuple[str, ...]) -> tuple[int, ...]:
        """Positions of several named points."""
        return tuple(self.index(point) for point in points)


def _unknown(kind: str, name: str, known: tuple[str, ...]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else f"; known: {', '.join(known)}"
    return f"unknown {kind} {name!r}{hint}"


def _layout(name: str, points: tuple[str, ...]) -> tuple[str, KeypointLayout]:
    return name, KeypointLayout(name=name, points=points)


_FACE68 = tuple(f"face_{index:02d}" for index in range(68))

LAYOUTS: dict[str, KeypointLayout] = dict(
    [
        _layout("smpl24", SMPL_JOINTS),
        _layout("smplh52", SMPLH_JOINTS),
        _layout("coco17", _COCO17),
        _layout("openpose25", _BODY25),
        # BODY_25 and the 21 points of each hand as OpenPose writes them: what the default perception gives.
        _layout("openpose67", _BODY25 + _hand("left") + _hand("right")),
        _layout("coco_feet23", _COCO17 + tuple(f"{side}_{point}" for side in SIDES for point in _FOOT)),
        _layout(
            "coco_wholebody133",
            _COCO17
            + tuple(f"{side}_{point}" for side in SIDES for point in _FOOT)
            + _FACE68
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
        raise KeyError(_unknown("keypoint layout", name, tuple(LAYOUTS))) from None


#: Parts by which errors, weights and hardcases are reported.
PARTS = ("body", "left_foot", "right_foot", "left_hand", "right_hand")


def part_of(point: str) -> str | None:
    """Part that a named point belongs to, None for points outside every part (face contour, mouth).

    `body` holds the COCO-like points with the wrists and ankles; a foot its toes and heel; a hand
    everything beyond the wrist. `neck` and `mid_hip` are averages of other points and belong to none.
    """
    if point in _COCO17:
        return "body"
    side, _, rest = point.partition("_")
    if side not in SIDES:
        return None
    if rest in _FOOT or rest == "foot_index":
        return f"{side}_foot"
    if rest == "hand_root" or rest.startswith(FINGERS):
        return f"{side}_hand"
    return None
