"""Reader of Biovision hierarchies (BVH), the most common motion capture export.

A file holds a tree of joints with offsets, and a row of numbers a frame whose order the joints' channels give. Axes are
kept as the file has them: BVH is y up by convention, and a skeleton that stands otherwise is not turned.
"""

import dataclasses
import math
import os
import pathlib
import re
from collections.abc import Iterator

import numpy as np
from scipy.spatial.transform import Rotation

from hardmo_jax.array_types import Float
from hardmo_jax.data.sources import motion_text
from hardmo_jax.data.sources.clip import MotionClip, MotionFileError

#: Metres of the units BVH files are written in, which no file states. CMU's captures count in inches of a skeleton
#: scaled by 0.45 (mocap.cs.cmu.edu, FAQ).
UNITS = {
    "metre": 1.0, "centimetre": 0.01, "millimetre": 0.001, "inch": 0.0254, "inch / 0.45 (CMU)": 0.0254 / 0.45,
}  # fmt: skip

#: Heights of people at rest from toes to head in metres. The end of a head bone can lie 0.2 m below the crown.
_HEIGHTS = (1.2, 2.3)
#: A standing person's height against the largest side of the box around them, which with open arms is the span.
_STANDING = 0.6
_HEAD_NAME = re.compile(r"head", re.IGNORECASE)
_FOOT_NAME = re.compile(r"foot|toe|ankle", re.IGNORECASE)

_CHANNEL = re.compile(r"([xyz])(position|rotation)", re.IGNORECASE)
_BRACES = re.compile(r"([{}])")


def read_bvh(
    path: str | os.PathLike[str], *, unit: float | None = None, frames_per_second: float | None = None
) -> MotionClip:
    """Read a BVH file.

    Rotations are intrinsic in the order of the joint's channels, `Zrotation Xrotation Yrotation` being `Rz Rx Ry` on
    column vectors.

    Args:
        path: The file.
        unit: Metres of one unit of the file. None takes the one of `UNITS` for which the skeleton at rest is as tall
            as a person.
        frames_per_second: Rate of the motion where the header is known to be wrong; None takes the header's.

    Returns:
        The clip. `End Site`s are joints named `<parent>_end`.

    Raises:
        MotionFileError: If the file is damaged, too large or not BVH, or no unit makes it a person.
        ValueError: If `unit` or `frames_per_second` is not positive.

    References:
        Meredith and Maddock, "Motion Capture File Formats Explained", University of Sheffield, 2001.

    Notes:
        A position channel replaces that coordinate of the joint's `OFFSET`, at the root and elsewhere, as Blender's
        import of armatures does. The oldest description of the format adds both at the root. They differ only where
        the root has an offset, and exporters which write one (Perception Neuron, LaFAN1) repeat it in the
        channels: their sum would lift people off the ground.
    """
    path = pathlib.Path(path)
    if unit is not None and not (unit > 0 and math.isfinite(unit)):
        raise ValueError(f"`unit` must be positive, got {unit}")
    lines = motion_text.read_motion_lines(path)
    joints, motion_line = _read_hierarchy(lines, path)
    values, frame_time = _read_rows(lines, motion_line, joints, path, frames_per_second is None)
    rate = 1 / frame_time if frames_per_second is None else motion_text.positive_rate(frames_per_second)

    offsets = np.array([joint.offset for joint in joints])
    rotations = np.tile(np.eye(3), (len(values), len(joints), 1, 1))
    translations = np.tile(offsets, (len(values), 1, 1))
    column = 0
    for index, joint in enumerate(joints):
        columns = values[:, column : column + len(joint.channels)]
        column += len(joint.channels)
        turns = [place for place, (kind, _) in enumerate(joint.channels) if kind == "rotation"]
        if turns:
            order = "".join("XYZ"[joint.channels[place][1]] for place in turns)
            rotations[:, index] = Rotation.from_euler(order, columns[:, turns], degrees=True).as_matrix()
        for place, (kind, axis) in enumerate(joint.channels):
            if kind == "position":
                translations[:, index, axis] = columns[:, place]
    offsets[0] = 0
    scale = _find_unit(joints, offsets, path) if unit is None else unit
    return MotionClip(
        name=path.stem,
        joint_names=tuple(joint.name for joint in joints),
        parents=tuple(joint.parent for joint in joints),
        offsets=offsets * scale,
        rotations=rotations,
        translations=translations * scale,
        frames_per_second=rate,
    )


@dataclasses.dataclass
class _Joint:
    """What the hierarchy says about a joint; `channels` are pairs of `position` or `rotation` and the axis."""

    name: str
    parent: int
    line: int
    is_end: bool
    offset: list[float] = dataclasses.field(default_factory=list)
    channels: tuple[tuple[str, int], ...] = ()


def _pieces(lines: list[str]) -> Iterator[tuple[int, str]]:
    """Number and text of each statement: braces stand alone whether or not they had a line of their own."""
    for number, line in enumerate(lines, start=1):
        for piece in _BRACES.split(line):
            if piece.strip():
                yield number, piece.strip()


def _read_hierarchy(lines: list[str], path: pathlib.Path) -> tuple[list[_Joint], int]:
    """Joints in file order, and the number of lines up to `MOTION`."""
    joints: list[_Joint] = []
    names: set[str] = set()
    open_joints: list[int] = []
    declared: int | None = None
    pieces = _pieces(lines)
    number, piece = next(pieces, (1, ""))
    if piece.upper() != "HIERARCHY":
        raise MotionFileError(f"{path}:{number}: expected HIERARCHY, got {piece[:40]!r}; not a BVH file")
    for number, piece in pieces:
        where = f"{path}:{number}"
        words = piece.split()
        keyword = words[0].upper()
        if declared is not None and keyword != "{":
            raise MotionFileError(f"{where}: expected {{ after {joints[declared].name!r}, got {piece[:40]!r}")
        if keyword == "MOTION":
            if open_joints or not joints:
                state = f"joint {joints[open_joints[-1]].name!r} is still open" if open_joints else "there is no ROOT"
                raise MotionFileError(f"{where}: MOTION where {state}")
            return joints, number
        if keyword == "{":
            if declared is None:
                raise MotionFileError(f"{where}: a {{ that belongs to no joint")
            open_joints.append(declared)
            declared = None
        elif keyword == "}":
            if not open_joints:
                raise MotionFileError(f"{where}: a }} too many")
            _check_joint(joints[open_joints.pop()], path)
        elif keyword in ("ROOT", "JOINT", "END"):
            joint = _declared_joint(keyword, piece, joints, open_joints, number, path)
            if joint.name in names:
                raise MotionFileError(f"{where}: a second joint named {joint.name!r}; rename one of them")
            names.add(joint.name)
            joints.append(joint)
            motion_text.check_size(0, len(joints), where)
            declared = len(joints) - 1
        elif keyword in ("OFFSET", "CHANNELS") and open_joints:
            joint = joints[open_joints[-1]]
            if keyword == "OFFSET":
                joint.offset = motion_text.finite_numbers(words[1:], where).tolist()
                if len(joint.offset) != 3:
                    raise MotionFileError(f"{where}: OFFSET needs 3 numbers, got {len(joint.offset)}")
            else:
                joint.channels = _read_channels(words[1:], joint, where)
        else:
            raise MotionFileError(f"{where}: expected a joint, OFFSET, CHANNELS or MOTION, got {piece[:40]!r}")
    raise MotionFileError(f"{path}: ends without MOTION; the file is cut off or holds no capture")


def _declared_joint(
    keyword: str, piece: str, joints: list[_Joint], open_joints: list[int], number: int, path: pathlib.Path
) -> _Joint:
    where = f"{path}:{number}"
    if keyword == "ROOT" and joints:
        raise MotionFileError(f"{where}: a second ROOT; split the file, a clip is one person")
    if keyword != "ROOT" and not open_joints:
        raise MotionFileError(f"{where}: {keyword} outside a ROOT")
    if open_joints and joints[open_joints[-1]].is_end:
        raise MotionFileError(f"{where}: {keyword} inside an End Site")
    parent = open_joints[-1] if open_joints else -1
    if keyword == "END":
        return _Joint(f"{joints[parent].name}_end", parent, number, is_end=True)
    name = " ".join(piece.split()[1:])  # joints of 3ds Max have spaces in their names
    if not name:
        raise MotionFileError(f"{where}: {keyword} without a name")
    return _Joint(name, parent, number, is_end=False)


def _read_channels(words: list[str], joint: _Joint, where: str) -> tuple[tuple[str, int], ...]:
    if joint.is_end:
        raise MotionFileError(f"{where}: CHANNELS inside an End Site")
    if not words or words[0] != str(len(words) - 1):
        raise MotionFileError(
            f"{where}: CHANNELS states {words[0] if words else 'nothing'} and names {max(len(words) - 1, 0)}"
        )
    channels = []
    for word in words[1:]:
        match = _CHANNEL.fullmatch(word)
        if match is None:
            raise MotionFileError(f"{where}: unknown channel {word[:40]!r}; known: [XYZ]position, [XYZ]rotation")
        channels.append((match[2].lower(), "xyz".index(match[1].lower())))
    if len(set(channels)) != len(channels):
        raise MotionFileError(f"{where}: a channel is named twice")
    return tuple(channels)


def _check_joint(joint: _Joint, path: pathlib.Path) -> None:
    """A joint that closes has said where it is; one without channels does not move."""
    if not joint.offset:
        raise MotionFileError(f"{path}:{joint.line}: joint {joint.name!r} has no OFFSET")


def _read_rows(
    lines: list[str], motion_line: int, joints: list[_Joint], path: pathlib.Path, needs_rate: bool
) -> tuple[Float[np.ndarray, "T N"], float]:
    """Numbers of every frame, and seconds between two."""
    rows = [(number, line) for number, line in enumerate(lines[motion_line:], start=motion_line + 1) if line.strip()]
    num_frames = _header_number(rows[:1], "Frames:", path)
    frame_time = _header_number(rows[1:2], "Frame Time:", path)
    if num_frames != int(num_frames) or num_frames < 1:
        raise MotionFileError(f"{path}:{rows[0][0]}: expected a number of frames, got {num_frames:g}")
    if needs_rate and not frame_time > 0:
        raise MotionFileError(f"{path}:{rows[1][0]}: Frame Time {frame_time:g}; give `frames_per_second=`")
    rows = rows[2:]
    if len(rows) != num_frames:
        raise MotionFileError(
            f"{path}: states {num_frames:.0f} frames and has {len(rows)}; cut off, or its header is wrong"
        )
    num_channels = sum(len(joint.channels) for joint in joints)
    motion_text.check_size(len(rows), max(len(joints), num_channels // 3), str(path))
    if num_channels == 0:
        raise MotionFileError(f"{path}: no joint has channels; there is no motion in the file")
    values = np.empty((len(rows), num_channels))
    for frame, (number, line) in enumerate(rows):
        words = line.split()
        if len(words) != num_channels:
            raise MotionFileError(f"{path}:{number}: {len(words)} numbers for {num_channels} channels")
        values[frame] = motion_text.finite_numbers(words, f"{path}:{number}")
    return values, frame_time


def _header_number(row: list[tuple[int, str]], key: str, path: pathlib.Path) -> float:
    if not row:
        raise MotionFileError(f"{path}: cut off before {key!r}")
    number, line = row[0]
    text = " ".join(line.split())
    if not text.lower().startswith(key.lower()):
        raise MotionFileError(f"{path}:{number}: expected {key!r}, got {text[:40]!r}")
    words = text[len(key) :].split()
    if len(words) != 1:
        raise MotionFileError(f"{path}:{number}: expected one number after {key!r}, got {text[:40]!r}")
    return float(motion_text.finite_numbers(words, f"{path}:{number}")[0])


def _find_unit(joints: list[_Joint], offsets: Float[np.ndarray, "J 3"], path: pathlib.Path) -> float:
    """The unit which makes the skeleton a person; the known ones lie so far apart that at most one does."""
    places = np.zeros_like(offsets)
    lengths = np.zeros(len(joints))  # along the bones from the root
    for index, joint in enumerate(joints[1:], start=1):
        places[index] = places[joint.parent] + offsets[index]
        lengths[index] = lengths[joint.parent] + np.linalg.norm(offsets[index])
    extents = np.ptp(places, axis=0)
    size = extents[1]
    measured = "high at rest"
    if size < _STANDING * extents.max():
        # The rest is no standing person, but a leg and the spine are still as long as one.
        spine = max((lengths[i] for i, joint in enumerate(joints) if _HEAD_NAME.search(joint.name)), default=0)
        leg = max((lengths[i] for i, joint in enumerate(joints) if _FOOT_NAME.search(joint.name)), default=0)
        size = spine + leg if spine and leg else math.nan
        measured = "from a foot to the head"
    fitting = [unit for unit in UNITS.values() if _HEIGHTS[0] <= size * unit <= _HEIGHTS[1]]
    if len(fitting) != 1:
        raise MotionFileError(
            f"{path}: the skeleton is {size:.4g} units {measured}, which is a person in none of "
            f"{', '.join(UNITS)}; give `unit=` in metres"
        )
    return fitting[0]
