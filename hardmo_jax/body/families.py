"""What sets the families of body models apart: joints, tree, topology, and the groups that a pose falls into.

Tables only. A family is SMPL (Loper et al., 2015), SMPL-H (Romero et al., 2017), SMPL-X (Pavlakos et al., 2019) or
one hand of MANO (Romero et al., 2017); the number of joints in a file tells which one it is.
"""

import dataclasses

from hardmo_jax.skeleton import layouts

#: Parents of the 22 joints that SMPL, SMPL-H and SMPL-X share, in the order of `layouts.SMPL_JOINTS`.
BODY_PARENTS = (-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19)
#: Finger joints of one hand.
HAND_POSE_JOINTS = 15
#: Sides of the hands that MANO models, one a file.
HAND_SIDES = layouts.SIDES
GENDERS = ("neutral", "female", "male")

_HEAD = layouts.SMPL_JOINTS.index("head")
_WRISTS = tuple(layouts.SMPL_JOINTS.index(f"{side}_wrist") for side in layouts.SIDES)


def _hand_tree(wrist: int, first: int) -> tuple[int, ...]:
    """Parents of the finger joints of one hand: five chains of three that start at the wrist."""
    return tuple(wrist if joint % 3 == 0 else first + joint - 1 for joint in range(HAND_POSE_JOINTS))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Family:
    """One family of body models."""

    title: str
    """How people write it."""
    joint_names: tuple[str, ...]
    """Joints in file order."""
    parents: tuple[int, ...]
    """Parent of each joint, -1 for the root."""
    pose_groups: tuple[tuple[str, int], ...]
    """Fields of `BodyParams` that hold the rotations after the root's, in joint order, and their numbers of joints."""
    topology: tuple[int, int]
    """Numbers of vertices and triangles of the published mesh; vertex ids mean nothing on another one."""
    landmark_vertex_ids: tuple[tuple[str, int], ...]
    """Named points on the published mesh, as listed with the smplx package 0.1.28."""
    hand_sides: tuple[str, ...] = ()
    """Sides whose fingers are articulated."""
    expression_start: tuple[tuple[int, int], ...] = ()
    """Pairs: number of columns in a file's shape basis, and the first of them that is expression."""

    @property
    def num_joints(self) -> int:
        """Number of joints, the root included."""
        return len(self.joint_names)


_BODY_LANDMARKS = layouts.LANDMARKS
_SMPL_TOPOLOGY, _SMPLX_TOPOLOGY, _MANO_TOPOLOGY = (6890, 13776), (10475, 20908), (778, 1538)
_SMPL_VERTICES = (
    332, 6260, 2800, 4071, 583, 3216, 3226, 3387, 6617, 6624, 6787,
    2746, 2319, 2445, 2556, 2673, 6191, 5782, 5905, 6016, 6133,
)  # fmt: skip
_SMPLX_VERTICES = (
    9120, 9929, 9448, 616, 6, 5770, 5780, 8846, 8463, 8474, 8635,
    5361, 4933, 5058, 5169, 5286, 8079, 7669, 7794, 7905, 8022,
)  # fmt: skip
_MANO_VERTICES = (744, 320, 443, 554, 671)

_BOTH_HANDS = tuple((f"{side}_hand_pose", HAND_POSE_JOINTS) for side in layouts.SIDES)
_NUM_BODY = len(BODY_PARENTS)
#: SMPL-X puts the jaw and the two eyeballs, all children of the head, before the fingers.
_FACE_GROUPS = (("jaw_pose", 1), ("leye_pose", 1), ("reye_pose", 1))


def _mano(side: str) -> Family:
    return Family(
        title=f"MANO {side}",
        joint_names=layouts.MANO_JOINTS[side],
        parents=(-1, *_hand_tree(0, 1)),
        pose_groups=(("body_pose", 0), (f"{side}_hand_pose", HAND_POSE_JOINTS)),
        topology=_MANO_TOPOLOGY,
        landmark_vertex_ids=tuple(
            (f"{side}_{finger}_tip", vertex) for finger, vertex in zip(layouts.FINGERS, _MANO_VERTICES, strict=True)
        ),
        hand_sides=(side,),
    )


FAMILIES: dict[str, Family] = {
    "smpl": Family(
        title="SMPL",
        joint_names=layouts.SMPL_JOINTS,
        parents=(*BODY_PARENTS, *_WRISTS),
        pose_groups=(("body_pose", 23),),
        topology=_SMPL_TOPOLOGY,
        landmark_vertex_ids=tuple(zip(_BODY_LANDMARKS, _SMPL_VERTICES, strict=True)),
    ),
    "smplh": Family(
        title="SMPL-H",
        joint_names=layouts.SMPLH_JOINTS,
        parents=(
            *BODY_PARENTS,
            *_hand_tree(_WRISTS[0], _NUM_BODY),
            *_hand_tree(_WRISTS[1], _NUM_BODY + HAND_POSE_JOINTS),
        ),
        pose_groups=(("body_pose", 21), *_BOTH_HANDS),
        topology=_SMPL_TOPOLOGY,
        landmark_vertex_ids=tuple(zip(_BODY_LANDMARKS, _SMPL_VERTICES, strict=True)),
        hand_sides=layouts.SIDES,
    ),
    "smplx": Family(
        title="SMPL-X",
        joint_names=layouts.SMPLX_JOINTS,
        parents=(
            *BODY_PARENTS,
            *(_HEAD,) * len(_FACE_GROUPS),
            *_hand_tree(_WRISTS[0], _NUM_BODY + 3),
            *_hand_tree(_WRISTS[1], _NUM_BODY + 3 + HAND_POSE_JOINTS),
        ),
        pose_groups=(("body_pose", 21), *_FACE_GROUPS, *_BOTH_HANDS),
        topology=_SMPLX_TOPOLOGY,
        landmark_vertex_ids=tuple(zip(_BODY_LANDMARKS, _SMPLX_VERTICES, strict=True)),
        hand_sides=layouts.SIDES,
        # Version 1.1 holds 300 of shape and 100 of expression, 1.0 holds 10 and 10.
        expression_start=((400, 300), (20, 10)),
    ),
    "mano_left": _mano("left"),
    "mano_right": _mano("right"),
}
