"""Evaluation protocols: which points, root, box, confidence rule and thresholds a number stands for.

The same metric name means other things in other papers, and the differences are larger than the progress reported, so
a protocol is a value that is printed with every table (`Protocol.describe`). Points are named; the order of an array
is that of `Protocol.layout`.
"""

import dataclasses

from hardmo_jax.metrics.keypoints import BoxConvention
from hardmo_jax.skeleton import layouts, lookup, regressors


@dataclasses.dataclass(frozen=True, kw_only=True)
class PointSet:
    """Points over which an error is averaged, and which errors make sense for them."""

    name: str
    """Short name: `body`, `left_foot`."""
    points: tuple[str, ...]
    """Names of the points."""
    has_mpjpe: bool = True
    """Whether root-aligned errors in space are reported."""
    has_pa: bool = True
    """Whether Procrustes-aligned ones are: not for points that are rigid on one joint, where they are zero."""
    has_pck: bool = True
    """Whether PCK in the image is."""

    @property
    def label(self) -> str:
        """Name with the number of points, as it stands in names of metrics: `foot_6`."""
        return f"{self.name}_{len(self.points)}"


@dataclasses.dataclass(frozen=True, kw_only=True)
class RigidPart:
    """A foot or hand: points that all move with one joint."""

    name: str
    """`left_foot`, `right_hand`."""
    points: tuple[str, ...]
    """Points beyond the joint."""
    base: str
    """Ankle or wrist: the point they are seen from, and the joint whose rotation they follow."""

    @property
    def label(self) -> str:
        """Name with the number of points: `left_foot_3`."""
        return f"{self.name}_{len(self.points)}"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Protocol:
    """Everything that has to be agreed before two numbers may be compared."""

    name: str
    """Name of the protocol as it stands in options and tables."""
    layout: layouts.KeypointLayout
    """Order of the points in the arrays, and the body points they are made from."""
    point_sets: tuple[PointSet, ...]
    """Sets that errors are reported for."""
    root: tuple[str, ...]
    """Points whose mean is laid on that of the truth before root-aligned errors."""
    alignment: str
    """What is aligned how, in words."""
    reference: str
    """Where the protocol comes from, and what is not certain about it."""
    body_set: str
    """Point set that the whole body is aligned by for the metrics of parts."""
    rigid_parts: tuple[RigidPart, ...] = ()
    """Feet and hands that are looked at relative to ankle and wrist."""
    arms: tuple[PointSet, ...] = ()
    """Elbow, wrist and fingertips of one arm, aligned by themselves."""
    box: BoxConvention = BoxConvention()
    """Box side that image distances are divided by."""
    min_confidence: float = 0.5
    """A 2D truth counts if its confidence is above this."""
    pck_thresholds: tuple[float, ...] = ()
    """Fractions of the box side; a prediction is right if it is nearer."""
    substitutions: tuple[tuple[str, str], ...] = ()
    """Regressed points of the original protocol and the plain ones in their place; empty in the original."""
    left_out: tuple[str, ...] = ()
    """Regressed points of the original protocol without a plain one in their place."""

    def __post_init__(self) -> None:
        names = [points.name for points in self.point_sets]
        if len(set(names)) != len(names):
            raise ValueError(f"protocol {self.name!r} names a point set twice: {', '.join(names)}")
        for points in (*self.point_sets, *self.rigid_parts, *self.arms):
            if not points.points or len(set(points.points)) != len(points.points):
                raise ValueError(f"set {points.name!r} of protocol {self.name!r} is empty or names a point twice")
            self.layout.indices(points.points)
        if not self.root:
            raise ValueError(f"protocol {self.name!r} has no root; name at least one point")
        self.layout.indices((*self.root, *(part.base for part in self.rigid_parts)))
        self.point_set(self.body_set)
        if any(points.has_pck for points in self.point_sets) and not self.pck_thresholds:
            raise ValueError(f"protocol {self.name!r} reports PCK, but has no thresholds")

    def point_set(self, name: str) -> PointSet:
        """The point set of that name.

        Raises:
            KeyError: If there is none; the message holds the nearest name.
        """
        sets = {points.name: points for points in self.point_sets}
        try:
            return sets[name]
        except KeyError:
            raise KeyError(lookup.unknown_name(f"point set of protocol {self.name}", name, sets)) from None

    def summary(self) -> str:
        """What must be agreed, in a few lines: `describe` without the lists of points."""
        sentences = [f"Protocol {self.name}"]
        if self.substitutions or self.left_out:
            sentences.append("NOT the original, and not comparable with published numbers: plain joints for regressed")
        sentences += [self.alignment, f"Root: {' and '.join(self.root)}"]
        sentences.append(f"Points: {', '.join(points.label for points in self.point_sets)}")
        if self.pck_thresholds:
            thresholds = ", ".join(f"{threshold:g}" for threshold in self.pck_thresholds)
            sentences.append(
                f"PCK: below {thresholds} of the {self.box.describe()} around all points of the layout, confidence "
                f"above {self.min_confidence:g}"
            )
        return ". ".join(sentences) + ". Names of all points: evaluation.md"

    def describe(self) -> str:
        """One paragraph to print with every table."""
        sets = []
        for points in self.point_sets:
            measures = (("MPJPE", points.has_mpjpe), ("PA-MPJPE", points.has_pa), ("PCK", points.has_pck))
            reported = ", ".join(measure for measure, is_there in measures if is_there)
            sets.append(f"{points.label} ({reported}): {' '.join(points.points)}")
        sentences = [
            f"Protocol {self.name}: {len(self.layout)} points in the order of {self.layout.name}",
            self.alignment,
            f"Root: {' and '.join(self.root)}",
            f"Point sets: {'; '.join(sets)}",
        ]
        if self.rigid_parts:
            parts = "; ".join(f"{part.label} from {part.base}: {' '.join(part.points)}" for part in self.rigid_parts)
            sentences.append(f"Relative errors, after alignment of {self.point_set(self.body_set).label}: {parts}")
        if self.arms:
            arms = "; ".join(f"{arm.label}: {' '.join(arm.points)}" for arm in self.arms)
            sentences.append(f"PA of arms: {arms}")
        if self.pck_thresholds:
            thresholds = ", ".join(f"{threshold:g}" for threshold in self.pck_thresholds)
            sentences.append(
                f"PCK: distance over the {self.box.describe()} around all points of the layout, strictly below "
                f"{thresholds}; truth counts with confidence strictly above {self.min_confidence:g}; share of each "
                "keypoint over all images, then the plain mean over keypoints that have any truth"
            )
        if self.substitutions or self.left_out:
            pairs = ", ".join(f"{plain} for {point}" for point, plain in self.substitutions)
            sentences.append(
                "NOT the original protocol, and not comparable with published numbers: the body has no joint "
                f"regressor, so plain joints stand in ({pairs or 'none'}), and these are left out: "
                f"{', '.join(self.left_out) or 'none'}"
            )
        sentences.append(f"Source: {self.reference}")
        return ". ".join(sentences) + "."

    def substituted(self) -> "Protocol":
        """The same protocol for a body without joint regressors.

        Every point that a regressor makes is replaced by the plain joint or landmark of the same place, and left out
        where there is none. The name and the description say so; sets that lose points say it in their label as well.

        Returns:
            The protocol over a layout without regressed points; the protocol itself if it has none.
        """
        regressed = {point for name in regressors.REGRESSORS for point in regressors.regressed_points(name)}
        chosen = dict(self.layout.body_point_names)
        plain = {
            point: _plain_point(point) if chosen.get(point) in regressed else point for point in self.layout.points
        }
        changed = tuple((point, other) for point, other in plain.items() if other != point)
        if not changed:
            return self

        def replaced(points: tuple[str, ...]) -> tuple[str, ...]:
            # Two annotators' points of one place become one point, which must count once.
            return tuple(dict.fromkeys(other for point in points if (other := plain[point]) is not None))

        points = replaced(self.layout.points)
        # Joints of these names are means of others elsewhere; regressed or not, a layout of HMR takes the joints.
        joints = {"neck": "neck", "mid_hip": "pelvis"}
        layout = layouts.KeypointLayout(
            name=f"{self.layout.name} with plain joints",
            points=points,
            body_point_names=tuple((point, joints[point]) for point in points if point in joints),
        )
        return dataclasses.replace(
            self,
            name=f"{self.name} with plain joints",
            layout=layout,
            point_sets=tuple(_with_points(points, replaced(points.points)) for points in self.point_sets),
            root=replaced(self.root),
            rigid_parts=tuple(
                dataclasses.replace(part, points=replaced(part.points), base=plain[part.base] or part.base)
                for part in self.rigid_parts
            ),
            arms=tuple(_with_points(arm, replaced(arm.points)) for arm in self.arms),
            substitutions=tuple((point, other) for point, other in changed if other is not None),
            left_out=tuple(point for point, other in changed if other is None),
        )


def _with_points(points: PointSet, names: tuple[str, ...]) -> PointSet:
    return dataclasses.replace(points, points=names)


def _plain_point(point: str) -> str | None:
    """Joint or landmark at the place of a regressed point."""
    place = regressors.place_of(point)
    # The joint called head is where the head turns, far from the middle or the top of it, which annotators mark.
    is_plain = place in (*layouts.SMPL_JOINTS, *layouts.LANDMARKS) and place != "head"
    return place if is_plain else None


_BODY = (
    "nose", "right_shoulder", "right_elbow", "right_wrist", "left_shoulder", "left_elbow", "left_wrist",
    "right_hip", "right_knee", "right_ankle", "left_hip", "left_knee", "left_ankle",
    "right_eye", "left_eye", "right_ear", "left_ear",
)  # fmt: skip
_FOOT = tuple(f"{side}_{point}" for side in layouts.SIDES for point in ("big_toe", "small_toe", "heel"))
_HAND = ("right_wrist", "left_wrist", *layouts.FINGER_TIPS)
_LSP13 = regressors.LSP14[:-1]


def _of_side(points: tuple[str, ...], side: str) -> tuple[str, ...]:
    return tuple(point for point in points if point.startswith(f"{side}_"))


_ROOT_AND_PA = (
    "MPJPE after moving the root of both onto the origin; PA-MPJPE after the similarity that suits the points of the "
    "set itself"
)

_HARDMO = Protocol(
    name="hardmo",
    layout=layouts.get_layout("hardmo_54"),
    point_sets=(
        PointSet(name="body", points=_BODY),
        PointSet(name="foot", points=_FOOT),
        PointSet(name="hand", points=_HAND),
        *(PointSet(name=f"{side}_body", points=_of_side(_BODY, side)) for side in layouts.SIDES),
        # One foot, one hand: rigid on one joint, so PA would be zero for any method.
        *(PointSet(name=f"{side}_foot", points=_of_side(_FOOT, side), has_pa=False) for side in layouts.SIDES),
        *(PointSet(name=f"{side}_hand", points=_of_side(_HAND, side), has_pa=False) for side in layouts.SIDES),
    ),
    root=("pelvis_mpii",),
    alignment=f"{_ROOT_AND_PA}; feet and hands, too, are below the pelvis, not below ankle and wrist",
    reference=(
        "lists, root and thresholds as in the evaluation of the HardMo authors' repository (HardMoPlus-4DHumans, "
        "eval/eval_hmr.py); that the poster used them is likely, not stated. Their 2D boxes are stored both with and "
        "without the factor 1.2; here it is always applied to the tight box. Sided sets, relative errors, orientations "
        "and arms are this project's"
    ),
    body_set="body",
    rigid_parts=(
        *(RigidPart(name=f"{side}_foot", points=_of_side(_FOOT, side), base=f"{side}_ankle") for side in layouts.SIDES),
        *(
            RigidPart(name=f"{side}_hand", points=_of_side(layouts.FINGER_TIPS, side), base=f"{side}_wrist")
            for side in layouts.SIDES
        ),
    ),
    arms=tuple(
        PointSet(
            name=f"{side}_arm",
            points=(f"{side}_elbow", f"{side}_wrist", *_of_side(layouts.FINGER_TIPS, side)),
        )
        for side in layouts.SIDES
    ),
    box=BoxConvention(scale=1.2, is_scaled=False),
    min_confidence=0.5,
    pck_thresholds=(0.01, 0.05),
)

_4DHUMANS = Protocol(
    name="4dhumans",
    layout=layouts.get_layout("hmr2_44"),
    point_sets=(
        PointSet(name="body", points=(*(f"{place}_lsp" for place in _LSP13), "head_h36m"), has_pck=False),
        PointSet(name="all", points=layouts.get_layout("hmr2_44").points, has_mpjpe=False, has_pa=False),
    ),
    root=("pelvis_mpii",),
    alignment=_ROOT_AND_PA,
    reference="4DHumans, hmr2/utils/pose_utils.py and eval.py; ProHMR before it",
    body_set="body",
    box=BoxConvention(scale=1.2, is_scaled=True),
    min_confidence=0.5,
    pck_thresholds=(0.05, 0.1),
)

_3DPW14 = Protocol(
    name="3dpw14",
    layout=layouts.get_layout("h36m_17"),
    point_sets=(PointSet(name="body", points=(*(f"{place}_h36m" for place in _LSP13), "head_h36m"), has_pck=False),),
    root=("pelvis_h36m",),
    alignment=_ROOT_AND_PA,
    reference=(
        "SPIN, eval.py: 14 rows of J_regressor_h36m on the posed vertices, truth from the gendered SMPL meshes of "
        "3DPW. Not to be mixed with SMPL_to_J19 of 4DHumans or with SMPL joints"
    ),
    body_set="body",
)

_SMPL24 = Protocol(
    name="smpl24",
    layout=layouts.get_layout("smpl24"),
    point_sets=(PointSet(name="joints", points=layouts.SMPL_JOINTS, has_pck=False),),
    root=("pelvis",),
    alignment=_ROOT_AND_PA,
    reference="all joints of SMPL (Loper et al., 2015) below the pelvis joint; some millimetres from regressed points",
    body_set="joints",
)

_LIMBS12 = tuple(
    f"{side}_{joint}" for joint in ("hip", "knee", "ankle", "shoulder", "elbow", "wrist") for side in layouts.SIDES
)
_SMPL14 = Protocol(
    name="smpl14",
    layout=layouts.get_layout("smpl24"),
    point_sets=(
        PointSet(
            name="body",
            points=(*_LIMBS12, "neck", "head"),
            has_pck=False,
        ),
    ),
    root=("pelvis",),
    alignment=_ROOT_AND_PA,
    reference=(
        "the places of LSP's 14 points as SMPL joints: twelve of the limbs, neck and head; no regressor, so it can be "
        "taken of any body, and is not that of published tables"
    ),
    body_set="body",
)

PROTOCOLS: dict[str, Protocol] = {
    protocol.name: protocol for protocol in (_HARDMO, _4DHUMANS, _3DPW14, _SMPL14, _SMPL24)
}


def get_protocol(name: str) -> Protocol:
    """Protocol of that name: `hardmo`, `4dhumans`, `3dpw14`, `smpl14`, `smpl24`.

    Raises:
        KeyError: If there is none; the message holds the nearest name.
    """
    try:
        return PROTOCOLS[name]
    except KeyError:
        raise KeyError(lookup.unknown_name("protocol", name, PROTOCOLS)) from None
