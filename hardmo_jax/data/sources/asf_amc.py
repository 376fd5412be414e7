"""Reader of Acclaim captures: a skeleton (ASF) and the motion of one take (AMC), the format of the CMU database.

A bone of Acclaim becomes a joint at the bone's start whose rotation moves its end. At rest all bones lie along their
`direction` in world axes, and all rotations are the identity.
"""

import array
import dataclasses
import os
import pathlib

import numpy as np
from scipy.spatial.transform import Rotation

from hardmo_jax.array_types import Float
from hardmo_jax.data.sources import motion_text
from hardmo_jax.data.sources.clip import MotionClip, MotionFileError

_INCH = 0.0254  # metres; `length` of `:units` is what an inch is stored as
_ROOT = "root"


def read_asf_amc(
    asf_path: str | os.PathLike[str], amc_path: str | os.PathLike[str], *, frames_per_second: float = 120.0
) -> MotionClip:
    """Read an Acclaim skeleton and a motion of it.

    Args:
        asf_path: The skeleton.
        amc_path: The motion.
        frames_per_second: Rate of the motion, which the format does not state; CMU captured most takes at 120, some
            (subjects 60 and 61) at 60.

    Returns:
        The clip. Its joints are `root` and the bones in the order of the hierarchy; the far end of a bone without
        children is the joint `<bone>_end`.

    Raises:
        MotionFileError: If a file is damaged, too large or of another format, or the two do not belong together.
        ValueError: If `frames_per_second` is not positive.

    References:
        Lander, "Working with Motion Capture File Formats", Game Developer, January 1998.

    Notes:
        `axis` angles turn about fixed axes in the order that is named (`XYZ` is `C = Rz Ry Rx` on column vectors), as
        do the degrees of freedom (`M`); the bone turns by `C M C^-1`. Bones that stretch or slide (`l`, `tx`, ...) are
        refused.
    """
    rate = motion_text.positive_rate(frames_per_second)
    asf_path, amc_path = pathlib.Path(asf_path), pathlib.Path(amc_path)
    skeleton = _read_asf(asf_path)
    bones = skeleton.bones
    values, is_degrees = _read_amc(amc_path, skeleton)

    names, parents, offsets = [_ROOT], [-1], [np.zeros(3)]
    for name in list(bones)[1:]:
        parent = skeleton.parents[name]
        names.append(name)
        parents.append(names.index(parent))
        offsets.append(bones[parent].end)
    inner = set(skeleton.parents.values())
    for name in list(bones)[1:]:
        if name not in inner:
            parents.append(names.index(name))
            names.append(f"{name}_end")
            offsets.append(bones[name].end)
    num_frames = len(values[_ROOT])
    motion_text.check_size(num_frames, len(names), str(amc_path))

    metres = _INCH / skeleton.length
    places = np.array(offsets) * metres
    rotations = np.tile(np.eye(3), (num_frames, len(names), 1, 1))
    translations = np.tile(places, (num_frames, 1, 1))
    for index, (name, bone) in enumerate(bones.items()):
        if not bone.channels:
            continue
        turns = [place for place, channel in enumerate(bone.channels) if channel[0] == "r"]
        if turns:
            order = "".join(bone.channels[place][1] for place in turns)
            motion = Rotation.from_euler(order, values[name][:, turns], degrees=is_degrees)
            rotations[:, index] = (bone.axes * motion * bone.axes.inv()).as_matrix()
        for place, channel in enumerate(bone.channels):
            if channel[0] == "t":
                axis = "xyz".index(channel[1])
                translations[:, index, axis] = (values[name][:, place] + skeleton.position[axis]) * metres
    return MotionClip(
        name=amc_path.stem,
        joint_names=tuple(names),
        parents=tuple(parents),
        offsets=places,
        rotations=rotations,
        translations=translations,
        frames_per_second=rate,
    )


@dataclasses.dataclass
class _Bone:
    """A bone: its end seen from its start, the frame of its angles, and its degrees of freedom in file order."""

    end: Float[np.ndarray, "3"]
    axes: Rotation
    channels: tuple[str, ...]


@dataclasses.dataclass
class _Skeleton:
    """An ASF file; `bones` has parents first, the root at the front."""

    length: float
    is_degrees: bool
    position: Float[np.ndarray, "3"]
    bones: dict[str, _Bone]
    parents: dict[str, str]


def _read_asf(path: pathlib.Path) -> _Skeleton:
    sections: dict[str, list[tuple[int, list[str]]]] = {}
    section: list[tuple[int, list[str]]] | None = None
    for number, line in enumerate(motion_text.read_motion_lines(path), start=1):
        words = line.split("#")[0].split()
        if not words:
            continue
        if words[0].startswith(":"):
            section = sections.setdefault(words[0].lower(), [])
            words = words[1:]
        elif section is None:
            raise MotionFileError(f"{path}:{number}: expected a section such as :units; not an ASF file")
        if words:
            section.append((number, words))
    for name in (":root", ":bonedata", ":hierarchy"):
        if name not in sections:
            raise MotionFileError(f"{path}: no section {name}; cut off, or not an ASF file")

    length, is_degrees = 1.0, True
    for number, words in sections.get(":units", []):
        if words[0] == "length":
            length = float(_numbers(words[1:], 1, f"{path}:{number}")[0])
            if not length > 0:
                raise MotionFileError(f"{path}:{number}: a unit of length of {length:g}")
        elif words[0] == "angle":
            is_degrees = words[1:2] != ["rad"] and words[1:2] != ["radians"]
    root, position = _read_root(sections[":root"], is_degrees, path)
    unordered = {_ROOT: root} | _read_bones(sections[":bonedata"], is_degrees, path)
    motion_text.check_size(0, len(unordered), str(path))
    parents = _read_parents(sections[":hierarchy"], unordered, path)
    return _Skeleton(length, is_degrees, position, {name: unordered[name] for name in (_ROOT, *parents)}, parents)


def _read_root(
    lines: list[tuple[int, list[str]]], is_degrees: bool, path: pathlib.Path
) -> tuple[_Bone, Float[np.ndarray, "3"]]:
    order, channels = "XYZ", ("tx", "ty", "tz", "rx", "ry", "rz")
    position, orientation = np.zeros(3), np.zeros(3)
    for number, words in lines:
        where = f"{path}:{number}"
        if words[0] == "order":
            channels = _channels(words[1:], ("tx", "ty", "tz", "rx", "ry", "rz"), where)
        elif words[0] == "axis" and len(words) == 2:
            order = words[1]
        elif words[0] == "position":
            position = _numbers(words[1:], 3, where)
        elif words[0] == "orientation":
            orientation = _numbers(words[1:], 3, where)
    return _Bone(np.zeros(3), _axes(orientation, order, is_degrees, f"{path}: root"), channels), position


def _read_bones(lines: list[tuple[int, list[str]]], is_degrees: bool, path: pathlib.Path) -> dict[str, _Bone]:
    bones: dict[str, _Bone] = {}
    fields: dict[str, tuple[int, list[str]]] | None = None
    for number, words in lines:
        where = f"{path}:{number}"
        if words[0] == "begin":
            fields = {}
        elif words[0] == "end":
            if fields is None:
                raise MotionFileError(f"{where}: an end without a begin")
            missing = [key for key in ("name", "direction", "length", "axis") if key not in fields]
            if missing:
                raise MotionFileError(f"{where}: a bone without {', '.join(missing)}")
            name = " ".join(fields["name"][1])
            if name in bones or name == _ROOT or not name:
                raise MotionFileError(f"{where}: a second bone named {name!r}")
            bones[name] = _read_bone(fields, is_degrees, path)
            motion_text.check_size(0, len(bones), where)
            fields = None
        elif fields is not None:
            fields.setdefault(words[0], (number, words[1:]))
    if fields is not None:
        raise MotionFileError(f"{path}: the last bone has no end; the file is cut off")
    return bones


def _read_bone(fields: dict[str, tuple[int, list[str]]], is_degrees: bool, path: pathlib.Path) -> _Bone:
    where = {key: f"{path}:{number}" for key, (number, _) in fields.items()}
    words = {key: value for key, (_, value) in fields.items()}
    direction = _numbers(words["direction"], 3, where["direction"])
    length = float(_numbers(words["length"], 1, where["length"])[0])
    norm = float(np.linalg.norm(direction))
    if length and not 0.99 < norm < 1.01:
        raise MotionFileError(f"{where['direction']}: a direction of length {norm:.3g}")
    angles = _numbers(words["axis"][:3], 3, where["axis"])
    axes = _axes(angles, "".join(words["axis"][3:]) or "XYZ", is_degrees, where["axis"])
    channels = _channels(words["dof"], ("rx", "ry", "rz"), where["dof"]) if "dof" in words else ()
    return _Bone(direction * length, axes, channels)


def _read_parents(lines: list[tuple[int, list[str]]], bones: dict[str, _Bone], path: pathlib.Path) -> dict[str, str]:
    """Parent of each bone, parents first."""
    children: dict[str, list[str]] = {}
    for number, words in lines:
        if words[0] in ("begin", "end"):
            continue
        unknown = [word for word in words if word not in bones]
        if unknown:
            raise MotionFileError(f"{path}:{number}: the hierarchy names an unknown bone {unknown[0]!r}")
        children.setdefault(words[0], []).extend(words[1:])
    parents: dict[str, str] = {}
    waiting = [_ROOT]
    while waiting:
        bone = waiting.pop()
        for child in reversed(children.get(bone, [])):
            if child in parents or child == _ROOT:
                raise MotionFileError(f"{path}: bone {child!r} has two parents")
            parents[child] = bone
            waiting.append(child)
    lost = [name for name in bones if name not in parents and name != _ROOT]
    if lost:
        raise MotionFileError(f"{path}: bones without a way to the root: {', '.join(lost[:5])}")
    return _depth_first(parents)


def _depth_first(parents: dict[str, str]) -> dict[str, str]:
    """The same table in the order in which the hierarchy is walked, so that every parent stands before its children."""
    children: dict[str, list[str]] = {}
    for child, parent in parents.items():
        children.setdefault(parent, []).append(child)
    ordered: dict[str, str] = {}
    waiting = [_ROOT]
    while waiting:
        bone = waiting.pop()
        if bone != _ROOT:
            ordered[bone] = parents[bone]
        waiting.extend(children.get(bone, []))
    return ordered


def _read_amc(path: pathlib.Path, skeleton: _Skeleton) -> tuple[dict[str, Float[np.ndarray, "T N"]], bool]:
    """Values of each bone that moves, by frame, and whether angles are degrees."""
    is_degrees = skeleton.is_degrees
    moving = {name: bone.channels for name, bone in skeleton.bones.items() if bone.channels}
    values = {name: array.array("d") for name in moving}
    missing: set[str] = set()
    num_frames = 0
    previous: int | None = None
    for number, line in enumerate(motion_text.read_motion_lines(path), start=1):
        words = line.split("#")[0].split()
        where = f"{path}:{number}"
        if not words:
            continue
        if words[0].startswith(":"):
            if words[0].lower() in (":degrees", ":radians"):
                is_degrees = words[0].lower() == ":degrees"
        elif len(words) == 1 and words[0].isdecimal():
            if missing:
                raise MotionFileError(f"{where}: frame {num_frames} says nothing of {sorted(missing)[0]!r}")
            frame = int(words[0][:12])
            if previous is not None and frame != previous + 1:
                raise MotionFileError(f"{where}: frame {frame} follows frame {previous}")
            previous = frame
            num_frames += 1
            missing = set(moving)
        elif not num_frames:
            raise MotionFileError(f"{where}: expected the number of a frame, got {line.strip()[:40]!r}")
        elif words[0] not in missing:
            raise MotionFileError(f"{where}: {words[0][:40]!r} is no moving bone of the skeleton, or comes twice")
        else:
            missing.discard(words[0])
            values[words[0]].extend(_numbers(words[1:], len(moving[words[0]]), where))
    if not num_frames:
        raise MotionFileError(f"{path}: no frames; not an AMC file, or cut off")
    if missing:
        raise MotionFileError(f"{path}: cut off in frame {num_frames}, which says nothing of {sorted(missing)[0]!r}")
    return {
        name: np.array(values[name]).reshape(num_frames, len(channels)) for name, channels in moving.items()
    }, is_degrees


def _axes(angles: Float[np.ndarray, "3"], order: str, is_degrees: bool, where: str) -> Rotation:
    if sorted(order.upper()) != ["X", "Y", "Z"]:
        raise MotionFileError(f"{where}: expected an order of axes such as XYZ, got {order[:40]!r}")
    return Rotation.from_euler(order.lower(), angles, degrees=is_degrees)


def _channels(words: list[str], known: tuple[str, ...], where: str) -> tuple[str, ...]:
    channels = tuple(word.lower() for word in words)
    unknown = [channel for channel in channels if channel not in known]
    if unknown or len(set(channels)) != len(channels):
        raise MotionFileError(f"{where}: expected some of {', '.join(known)}, got {' '.join(words)[:80]!r}")
    return channels


def _numbers(words: list[str], count: int, where: str) -> Float[np.ndarray, "N"]:
    if len(words) != count:
        raise MotionFileError(f"{where}: expected {count} numbers, got {len(words)}")
    return motion_text.finite_numbers(words, where)
