"""Poses and motion that are for training: all motion capture that the split does not hold out, as SMPL poses."""

import hashlib
import pathlib
from collections.abc import Callable, Iterator

import numpy as np

from hardmo_jax.body import load
from hardmo_jax.body.model import BodyModel
from hardmo_jax.data import splits
from hardmo_jax.data.motion_pool import MotionPool, MotionPoolError, load_motion_pool
from hardmo_jax.data.pose_pool import PosePool, PosePoolError, load_pose_pool
from hardmo_jax.data.sources.clip import MotionFileError
from hardmo_jax.pipelines import benchmark_motion
from hardmo_jax.recovery import captured_clip
from hardmo_jax.recovery.captured_clip import CapturedClip, SoundnessOptions
from hardmo_jax.recovery.retarget import RetargetError

Progress = Callable[[str, int, int | None], None]

#: Folders beside the three styles whose takes are for training: other people, other motion.
_OTHER_FOLDERS = ("cmu_amc/01", "cmu_amc/02", "cmu_amc/03", "cmu_amc/fairmotion", "deepmimic")
_SUFFIXES = (".amc", ".txt")
#: Grows when code changes what a pool holds.
_POOL_VERSION = 1
_MOTION_VERSION = 1
#: Frames of the shortest run that is kept: shorter ones show no motion.
_SHORTEST_RUN = 20


def training_files(mocap: pathlib.Path) -> list[tuple[str, pathlib.Path]]:
    """Style and file of every take that is for training, in a fixed order.

    Args:
        mocap: Folder of motion capture, see `benchmark_motion.find_mocap`.

    Raises:
        PrepareError: If it does not hold the three styles, or a performer of theirs is in another folder.
    """
    found = benchmark_motion.find_mocap(mocap)
    if found is None:
        raise benchmark_motion.PrepareError(
            f"training needs motion capture in folders {', '.join(splits.STYLES)}: {mocap} does not hold it. "
            f"{benchmark_motion.CMU_SOURCE}"
        )
    files = [
        (style, path)
        for style in splits.STYLES
        for path in sorted((found / style).glob("*.bvh"))
        if splits.split_of(style, path.stem) == "train"
    ]
    for folder in _OTHER_FOLDERS:
        paths = sorted(path for path in (found.parent / folder).glob("*") if path.suffix in _SUFFIXES)
        for path in paths:
            if splits.is_of_split_subject(path.stem):
                raise benchmark_motion.PrepareError(
                    f"{path} shows a performer of the held-out takes, maybe in one of them: move it out of {folder}"
                )
        files += [(folder, path) for path in paths]
    return files


def held_out_names() -> dict[str, list[str]]:
    """Takes that no training may see, by split."""
    held_out: tuple[splits.Split, ...] = ("test", "validation")
    return {
        split: [f"{style}/{take}" for style in splits.STYLES for take in splits.held_out_takes(split, style)]
        for split in held_out
    }


def collect_poses(
    mocap: pathlib.Path, cache: pathlib.Path, *, frames_per_second: float = 30.0, progress: Progress | None = None
) -> tuple[PosePool, pathlib.Path]:
    """The pool of training poses, made unless it is stored.

    Args:
        mocap: Folder of motion capture.
        cache: Folder where pools are kept.
        frames_per_second: Rate that takes are thinned to.
        progress: Told the stage, what is done, and of how much.

    Returns:
        The pool and its file.

    Raises:
        PrepareError: If there is no motion capture.
    """
    body = load.open_body(view="smpl")
    files = training_files(mocap)
    stored = _stored_path(cache, "poses", _POOL_VERSION, files, frames_per_second, body.checksum)
    if stored.is_file():
        try:
            return load_pose_pool(stored), stored
        except PosePoolError:
            stored.unlink()
    clips = [clip for clip in _clips(files, frames_per_second, body, progress) if clip.is_sound.any()]
    poses = [clip.body_pose[clip.is_sound] for clip in clips]
    pool = PosePool(
        body_pose=np.concatenate(poses),
        styles=tuple(clip.style for clip in clips),
        takes=tuple(clip.take for clip in clips),
        take_of=np.repeat(np.arange(len(clips)), [len(part) for part in poses]),
    )
    pool.save(stored)
    return pool, stored


def collect_motion(
    mocap: pathlib.Path, cache: pathlib.Path, *, frames_per_second: float = 30.0, progress: Progress | None = None
) -> tuple[MotionPool, pathlib.Path]:
    """The pool of training motion, made unless it is stored: runs of sound frames of `_SHORTEST_RUN` or more.

    Args:
        mocap: Folder of motion capture.
        cache: Folder where pools are kept.
        frames_per_second: Rate that takes are thinned to.
        progress: Told the stage, what is done, and of how much.

    Returns:
        The pool and its file.

    Raises:
        PrepareError: If there is no motion capture.
    """
    body = load.open_body(view="smpl")
    files = training_files(mocap)
    stored = _stored_path(cache, "motion", _MOTION_VERSION, files, frames_per_second, body.checksum)
    if stored.is_file():
        try:
            return load_motion_pool(stored), stored
        except MotionPoolError:
            stored.unlink()
    takes, runs = [], []
    for clip in _clips(files, frames_per_second, body, progress):
        edges = np.flatnonzero(np.diff(np.pad(clip.is_sound, 1).astype(int)))
        kept = [(first, last) for first, last in edges.reshape(-1, 2) if last - first >= _SHORTEST_RUN]
        runs += [(len(takes), clip.body_pose[first:last], clip.pelvis[first:last]) for first, last in kept]
        if kept:
            takes.append(clip)
    pool = MotionPool(
        body_pose=np.concatenate([pose for _, pose, _ in runs]),
        pelvis=np.concatenate([pelvis for _, _, pelvis in runs]),
        run_lengths=np.array([len(pose) for _, pose, _ in runs]),
        take_of=np.array([take for take, _, _ in runs]),
        styles=tuple(clip.style for clip in takes),
        takes=tuple(clip.take for clip in takes),
        frames_per_second=frames_per_second,
    )
    pool.save(stored)
    return pool, stored


def _stored_path(
    cache: pathlib.Path,
    kind: str,
    version: int,
    files: list[tuple[str, pathlib.Path]],
    frames_per_second: float,
    body_checksum: str,
) -> pathlib.Path:
    """File of a pool: another one for every change of what it is made of."""
    digest = hashlib.sha256(repr((version, frames_per_second, body_checksum, SoundnessOptions())).encode())
    for style, path in files:
        digest.update(repr((style, path.name, path.stat().st_size)).encode())
    return cache / f"{kind}-{digest.hexdigest()[:8]}.npz"


def _clips(
    files: list[tuple[str, pathlib.Path]], frames_per_second: float, body: BodyModel, progress: Progress | None
) -> Iterator[CapturedClip]:
    """The takes as SMPL poses; those of other folders that are damaged or of another skeleton are left out."""
    report = progress or (lambda stage, done, total: None)
    report("retarget", 0, len(files))
    for done, (style, path) in enumerate(files, start=1):
        try:
            yield captured_clip.read_captured_clip(
                path, style, body, frames_per_second=frames_per_second, soundness=SoundnessOptions()
            )
        except (MotionFileError, RetargetError):
            if style in splits.STYLES:
                raise
        report("retarget", done, len(files))
