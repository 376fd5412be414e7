"""Which points a list in a file holds: by their number, by the names that the file gives them, or as the user says."""

import dataclasses
import functools
import re
from collections.abc import Mapping, Sequence

from hardmo_jax.perception.keypoint_files.parsing import KeypointFileError, Place
from hardmo_jax.skeleton import layouts, lookup

#: Keypoints of everything that is read.
LAYOUT_NAME = "openpose67"
LAYOUT = layouts.get_layout(LAYOUT_NAME)
#: A layout of the user's own: a name, or the names of the points in order, `_` before those that no body has.
LayoutChoice = str | tuple[str, ...]

#: Places that are the same to a fit: MediaPipe's foremost point of the foot is close to the big toe.
_SAME_PLACE = {f"{side}_foot_index": f"{side}_big_toe" for side in layouts.SIDES}


@dataclasses.dataclass(frozen=True)
class PointList:
    """Points that come in one list."""

    name: str
    """What `FilePerson.file_layout` calls them."""
    points: tuple[str, ...]
    """Names as in the layouts; others begin with an underscore."""

    def __len__(self) -> int:
        return len(self.points)

    @functools.cached_property
    def places(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Positions in this list, and those of the same points in `openpose67`; of points that it has."""
        pairs = []
        for row, point in enumerate(self.points):
            same = _SAME_PLACE.get(point, point)
            point = same if same not in self.points else point
            if point in LAYOUT.points:
                pairs.append((row, LAYOUT.index(point)))
        return tuple(row for row, _ in pairs), tuple(target for _, target in pairs)


def point_list(name: str) -> PointList:
    """Points of a layout."""
    return PointList(name, layouts.get_layout(name).points)


#: OpenPose's MPI model, and AlphaPose's of MPII in the same order: top of the head and upper neck are MPII's.
OPENPOSE_MPI15 = PointList(
    "openpose_mpi15",
    (
        "head_top_lsp", "neck_lsp", "right_shoulder", "right_elbow", "right_wrist", "left_shoulder", "left_elbow",
        "left_wrist", "right_hip", "right_knee", "right_ankle", "left_hip", "left_knee", "left_ankle", "_chest",
    ),
)  # fmt: skip
#: MPII's own order (Andriluka et al., 2014).
MPII16 = PointList(
    "mpii16",
    (
        "right_ankle", "right_knee", "right_hip", "left_hip", "left_knee", "left_ankle", "pelvis_mpii", "thorax_mpii",
        "neck_lsp", "head_top_lsp", "right_wrist", "right_elbow", "right_shoulder", "left_shoulder", "left_elbow",
        "left_wrist",
    ),
)  # fmt: skip
COCO17, COCO_WHOLEBODY133 = point_list("coco17"), point_list("coco_wholebody133")
HANDS = {side: point_list(f"{side}_hand21") for side in layouts.SIDES}

#: What top-down models give, by the number of points.
BY_COUNT = {
    len(points): points
    for points in (
        MPII16,
        COCO17,
        point_list("coco_feet23"),
        point_list("halpe26"),
        COCO_WHOLEBODY133,
        point_list("halpe136"),
    )
}
#: OpenPose's bodies, and those of other programs that write its files. BODY_25B has as many points as BODY_25.
OPENPOSE_BY_COUNT = BY_COUNT | {
    len(points): points
    for points in (
        OPENPOSE_MPI15,
        point_list("openpose18"),
        point_list("openpose25"),
        point_list("openpose135"),
    )
}

#: Fingers as MMPose calls them.
_FINGERS = {"forefinger": "index", "middle_finger": "middle", "ring_finger": "ring", "pinky_finger": "pinky"}
_SIDE_OF_LETTER = {side[0]: side for side in layouts.SIDES}
#: Halpe's middle of the hips, and its spellings.
_SPELLINGS = {"hip": "mid_hip", "midhip": "mid_hip"}


def chosen_points(choice: LayoutChoice | None) -> PointList | None:
    """The points of a user's choice; None if there is none.

    Args:
        choice: Name of a layout, or names of points in order.

    Raises:
        KeypointFileError: If there is no such layout or point, a point is named twice, or `openpose67` has none of
            them.
    """
    if choice is None:
        return None
    if isinstance(choice, str):
        try:
            found = point_list(choice)
        except KeyError as error:
            raise KeypointFileError(str(error.args[0])) from None
    else:
        known = {point for layout in layouts.LAYOUTS.values() for point in layout.points}
        named = [point for point in choice if not point.startswith("_")]
        for point in named:
            if point not in known:
                raise KeypointFileError(
                    f"{lookup.unknown_name('keypoint', point, sorted(known))[:400]}; points that no body has begin "
                    "with an underscore"
                )
            if named.count(point) > 1:
                raise KeypointFileError(f"the layout of the file names {point!r} twice")
        found = PointList("given", tuple(choice))
    if not found.places[0]:
        raise KeypointFileError(f"the layout {found.name!r} has no point of a body or hand that is read")
    return found


def points_of_count(
    count: int, by_count: Mapping[int, PointList], chosen: PointList | None, place: Place, *, per_point: int = 3
) -> PointList:
    """The points of a list of so many.

    Args:
        count: How many.
        by_count: What lists of such a file hold.
        chosen: What the user says that they hold.
        place: Of the list.
        per_point: Numbers a point, for the message.

    Raises:
        KeypointFileError: If no layout has as many, or the chosen one has not.
    """
    if chosen is not None:
        if count != len(chosen):
            raise place.error(f"must hold the {len(chosen)} points of the layout {chosen.name!r}, got {count} points")
        return chosen
    if count not in by_count:
        known = ", ".join(
            f"{per_point * number} numbers ({points.name})" for number, points in sorted(by_count.items())
        )
        raise place.error(
            f"must hold {known}, got {per_point * count} ({count} points); give a `layout` for points of another order"
        )
    return by_count[count]


def points_called(names: Sequence[object], by_count: Mapping[int, PointList]) -> PointList | None:
    """The points that a file names; None if fewer than half of the names are understood.

    Args:
        names: As the file spells them: `left_wrist`, `LWrist`, `wrist_l`, `left_forefinger4`.
        by_count: Layouts, one of which may have the same points.
    """
    points = tuple(_point_called(name) if isinstance(name, str) else None for name in names)
    understood = [point for point in points if point is not None]
    if not understood or 2 * len(understood) < len(points) or len(set(understood)) < len(understood):
        return None
    found = PointList("named", tuple(f"_{row}" if point is None else point for row, point in enumerate(points)))
    usual = by_count.get(len(points))
    if usual is not None and usual.places == found.places:
        return usual
    return found if found.places[0] else None


def _point_called(name: str) -> str | None:
    """Our name of a point; None if it is none of ours."""
    text = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name[:80])
    text = re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")
    side_last = re.fullmatch(r"(.+)_(left|right|l|r)", text)
    if side_last:
        text = f"{side_last[2]}_{side_last[1]}"
    # l_wrist, and LWrist and Rknee of MPII and Halpe
    short = re.fullmatch(r"([lr])_?(.+)", text)
    sided = f"{_SIDE_OF_LETTER[short[1]]}_{short[2]}" if short else text
    candidates = (_SPELLINGS.get(text, text), *(_spelt_as_here(option) for option in (text, sided)))
    return next((point for point in candidates if point in _known_points()), None)


def _spelt_as_here(text: str) -> str:
    """Fingers and points of the face as the layouts call them."""
    for theirs, ours in _FINGERS.items():
        text = re.sub(rf"^(left|right)_{theirs}_?(?=[1-4]$)", rf"\1_{ours}", text)
    text = re.sub(r"^((?:left|right)_(?:thumb|index|middle|ring|pinky))_?4$", r"\1_tip", text)
    face = re.fullmatch(r"face_([0-9]{1,2})", text)
    return f"face_{int(face[1]):02d}" if face else text


@functools.cache
def _known_points() -> frozenset[str]:
    names = ("openpose67", "blazepose33", "halpe136", "coco_wholebody133", "openpose135")
    return frozenset(point for name in names for point in layouts.get_layout(name).points)
