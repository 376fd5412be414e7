"""The poses that are for training: all motion capture that the split does not hold out, as SMPL poses."""

import hashlib
import pathlib
from collections.abc import Callable, Iterator

import numpy as np

from hardmo_jax.body import load
from hardmo_jax.data import splits
from hardmo_jax.data.pose_pool import PosePool, PosePoolError, load_pose_pool
from hardmo_jax.data.sources.clip import MotionFileError
from hardmo_jax.pipelines import benchmark_motion
from hardmo_jax.recovery import captured_clip
from hardmo_jax.recovery.captured_clip import SoundnessOptions
from hardmo_jax.recovery.retarget import RetargetError

Progress = Callable[[str, int, int | None], None]

#: Folders beside the three styles whose takes are for training: other people, other motion.
_OTHER_FOLDERS = ("cmu_amc/01", "cmu_amc/02", "cmu_amc/03", "cmu_amc/fairmotion", "deepmimic")
_SUFFIXES = (".amc", ".txt")
#: Grows when code changes what a pool holds.
_POOL_VERSION = 1


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
    report = progress or (lambda stage, done, total: None)
    files = training_files(mocap)
    body = load.open_body(view="smpl")
    digest = hashlib.sha256(repr((_POOL_VERSION, frames_per_second, body.checksum, SoundnessOptions())).encode())
    for style, path in files:
        digest.update(repr((style, path.name, path.stat().st_size)).encode())
    stored = cache / f"poses-{digest.hexdigest()[:8]}.npz"
    if stored.is_file():
        try:
            return load_pose_pool(stored), stored
        except PosePoolError:
            stored.unlink()
    takes = []
    report("retarget", 0, len(files))
    for done, (style, path) in enumerate(files, start=1):
        takes += list(_poses_of(style, path, frames_per_second))
        report("retarget", done, len(files))
    pool = PosePool(
        body_pose=np.concatenate([pose for _, _, pose in takes]),
        styles=tuple(style for style, _, _ in takes),
        takes=tuple(take for _, take, _ in takes),
        take_of=np.repeat(np.arange(len(takes)), [len(pose) for _, _, pose in takes]),
    )
    pool.save(stored)
    return pool, stored


def _poses_of(style: str, path: pathlib.Path, frames_per_second: float) -> Iterator[tuple[str, str, np.ndarray]]:
    """Style, take and sound poses of a file; nothing where it holds none."""
    body = load.open_body(view="smpl")
    try:
        clip = captured_clip.read_captured_clip(
            path, style, body, frames_per_second=frames_per_second, soundness=SoundnessOptions()
        )
    except (MotionFileError, RetargetError):
        if style in splits.STYLES:
            raise
        return
    if clip.is_sound.any():
        yield style, clip.take, clip.body_pose[clip.is_sound]
