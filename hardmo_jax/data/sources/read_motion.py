"""One entrance to the readers of motion capture files with a skeleton; AMASS has none and keeps its own reader."""

import os
import pathlib

from hardmo_jax.data.sources import asf_amc, bvh, deepmimic
from hardmo_jax.data.sources.clip import MotionClip, MotionFileError


def read_motion(
    path: str | os.PathLike[str],
    *,
    unit: float | None = None,
    frames_per_second: float | None = None,
) -> MotionClip:
    """Read a motion capture file by its suffix.

    Args:
        path: `.bvh`; `.amc`, whose skeleton is the `.asf` beside it that is named as the part before the last `_`
            (`01.asf` for `01_03.amc`) or as the file itself; `.txt` or `.json` of DeepMimic.
        unit: Metres of one unit of a BVH file; None finds it. The other formats state theirs.
        frames_per_second: Rate where the file states none or a wrong one; None takes the file's, 120 for `.amc`.

    Raises:
        MotionFileError: If the suffix is of no reader, the skeleton is missing, or the file cannot be read.
        ValueError: If an option does not belong to the format, or is not positive.
    """
    path = pathlib.Path(path)
    suffix = path.suffix.lower()
    if suffix == ".bvh":
        return bvh.read_bvh(path, unit=unit, frames_per_second=frames_per_second)
    if unit is not None:
        raise ValueError(f"{path}: `unit` is for .bvh files; others state their unit")
    if suffix == ".amc":
        rate = 120.0 if frames_per_second is None else frames_per_second
        return asf_amc.read_asf_amc(_skeleton_beside(path), path, frames_per_second=rate)
    if suffix in (".txt", ".json"):
        if frames_per_second is not None:
            raise ValueError(f"{path}: `frames_per_second` is for .bvh and .amc files; DeepMimic states its rate")
        return deepmimic.read_deepmimic(path)
    hint = "; AMASS is read by `read_amass`" if suffix == ".npz" else ""
    raise MotionFileError(f"{path}: expected .bvh, .amc, .txt or .json, got {suffix!r}{hint}")


def _skeleton_beside(path: pathlib.Path) -> pathlib.Path:
    names = dict.fromkeys((path.stem.rpartition("_")[0] or path.stem, path.stem))
    for name in names:
        for suffix in (".asf", ".ASF"):
            if (path.parent / f"{name}{suffix}").is_file():
                return path.parent / f"{name}{suffix}"
    raise MotionFileError(f"{path}: no skeleton beside it; expected {' or '.join(f'{name}.asf' for name in names)}")
