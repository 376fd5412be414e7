"""Making a benchmark: motion to posed people, people before cameras, and a detector that looks at them.

`mocap_hard` comes from motion capture of martial arts and dance on the fixed split of takes; `synth_hard` from poses
written by hand, for those who have no motion capture. Both are the same kind of set.
"""

import dataclasses
import hashlib
import json
import math
import pathlib
from collections.abc import Callable, Iterator
from typing import Literal, get_args

import numpy as np

from hardmo_jax.array_types import Bool, Float, Int
from hardmo_jax.body import load
from hardmo_jax.body.model import BodyModel
from hardmo_jax.data import hand_poses, splits, staging, synthetic
from hardmo_jax.data.detector_noise import DetectorNoise
from hardmo_jax.data.hard_set import HardSet
from hardmo_jax.data.sources.bvh import read_bvh
from hardmo_jax.data.staging import Motion, StagingOptions
from hardmo_jax.fitting.result import FitStatus
from hardmo_jax.labels import provenance
from hardmo_jax.recovery import retarget as retargeting

Progress = Callable[[str, int, int | None], None]

#: Where motion capture is to be had, for the message of who has none.
CMU_SOURCE = (
    "CMU's motion capture is free for all uses: put the folders indian, martial and salsa of train_data_bvh of "
    "github.com/papagina/Auto_Conditioned_RNN_motion into one folder and set HARDMO_DATA to the folder that holds it "
    "as `mocap`"
)
#: Rate of the salsa takes, whose original headers say 120.
_TRUE_RATES = {"salsa": {120.0: 60.0}}
_WRIST_CANDIDATES = 40
_SYNTH_STYLES = get_args(synthetic.Style)


class PrepareError(ValueError):
    """A benchmark cannot be made; the message says what is missing."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class StressOptions:
    """Sets in which the detector or the camera fails in one way; the people are those of the test set."""

    swaps: DetectorNoise = DetectorNoise(swap_all=0.04, swap_legs=0.04)
    limb_lost: DetectorNoise = DetectorNoise(lose_limb=0.4)
    truncated: DetectorNoise = DetectorNoise(cut=1.0)
    noise_doubled: DetectorNoise = DetectorNoise(body_spread=0.02, extremity_spread=0.03)
    wrong_focal_length: float = 1.2
    """Assumed focal lengths are wrong by this factor, either way."""
    frame_correlation: float = 0.85
    """Of the clips whose noise is correlated in time."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class PrepareOptions:
    """What a benchmark is made of."""

    benchmark: Literal["mocap_hard", "synth_hard"] = "mocap_hard"
    seed: int = 0
    frames_per_second: float = 30.0
    """Rate that captures are thinned to."""
    test_frames: int = 500
    """A style."""
    validation_frames: int = 100
    """A style."""
    test_windows: int = 20
    """A style."""
    window_frames: int = 30
    """Frames of a window."""
    tail_frames: int = 300
    """Of each difficulty of the hand and foot sets."""
    tail_shares: tuple[float, float] = (0.05, 0.15)
    """P1 holds the hardest poses, up to the first share of all; P2 those from there to the second."""
    staging: StagingOptions = StagingOptions()
    stress: StressOptions = StressOptions()

    def __post_init__(self) -> None:
        for name in ("test_frames", "validation_frames", "test_windows", "window_frames", "tail_frames"):
            if getattr(self, name) < 1:
                raise ValueError(f"`{name}` must be at least 1, got {getattr(self, name)}")
        if not 0 < self.tail_shares[0] < self.tail_shares[1] < 1:
            raise ValueError(f"`tail_shares` must grow within (0, 1), got {self.tail_shares}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class PreparedSet:
    """One file of a benchmark."""

    name: str
    samples: int
    num_bytes: int
    sha256: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Clip:
    """A take as SMPL poses of 22 joints, and where its pelvis goes."""

    style: str
    take: str
    body_pose: Float[np.ndarray, "T 22 3"]
    """Axis-angle, root first."""
    pelvis: Float[np.ndarray, "T 3"]
    """In leg lengths."""
    frames: Int[np.ndarray, "T"]
    """Frames in the file, counted from 0."""
    is_sound: Bool[np.ndarray, "T"]
    """Whether the capture shows a human being: markers of some frames were mixed up, and feet or heads turned round."""


def find_mocap(folder: pathlib.Path | None) -> pathlib.Path | None:
    """Folder that holds `martial`, `indian` and `salsa`: the given one or a folder just below it; None without one."""
    if folder is None or not folder.is_dir():
        return None
    candidates = [folder, folder / "cmu_bvh_30fps", folder / "mocap", folder / "mocap" / "cmu_bvh_30fps"]
    return next((found for found in candidates if all((found / style).is_dir() for style in splits.STYLES)), None)


def prepare_benchmark(
    options: PrepareOptions,
    output_dir: pathlib.Path,
    *,
    mocap: pathlib.Path | None = None,
    progress: Progress | None = None,
) -> list[PreparedSet]:
    """Make a benchmark and write it, one file a set and `benchmark.json` with checksums beside them.

    Args:
        options: What to make.
        output_dir: Folder for the files; made if needed.
        mocap: Folder of the motion capture, for `mocap_hard`.
        progress: Told the stage, what is done, and of how much.

    Raises:
        PrepareError: If there is no motion capture, or a take of the split is missing.
    """
    report = progress or (lambda stage, done, total: None)
    body = load.open_body(view="smplh")
    record = provenance.RunRecord(config=dataclasses.asdict(options), command=())
    prepared = []
    for found in _sets(options, body, mocap, report):
        # A record of other files would pass for one of these if the run ends early.
        (output_dir / "benchmark.json").unlink(missing_ok=True)
        path = output_dir / f"{found.name.partition('/')[2]}.npz"
        digest = found.save(path)
        prepared.append(PreparedSet(name=found.name, samples=len(found), num_bytes=path.stat().st_size, sha256=digest))
        report("sets", len(prepared), None)
    record.add("benchmark", options.benchmark)
    record.add("sets", [dataclasses.asdict(entry) for entry in prepared])
    record.write(output_dir / "benchmark.json")
    return prepared


def benchmark_folder(root: pathlib.Path, options: PrepareOptions) -> pathlib.Path:
    """Folder of the benchmark that these options make: another one for every change of them."""
    text = json.dumps(dataclasses.asdict(options), sort_keys=True)
    return root / f"{options.benchmark}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def read_benchmark(folder: pathlib.Path) -> dict[str, str]:
    """Checksum by set name of a prepared benchmark; empty where there is none or it was not finished."""
    path = folder / "benchmark.json"
    try:
        results = json.loads(path.read_text(encoding="utf-8"))["results"]
        return {entry["name"]: entry["sha256"] for entry in results["sets"]}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _sets(options: PrepareOptions, body: BodyModel, mocap: pathlib.Path | None, report: Progress) -> Iterator[HardSet]:
    name = options.benchmark
    source = _FromMocap(options, mocap, report) if name == "mocap_hard" else _FromKeyPoses(options)

    def staged(motion: Motion, part: str) -> HardSet:
        return staging.stage(body, motion, options.staging, seed=options.seed, name=f"{name}/{part}")

    test = staged(source.frames("test", options.test_frames), "test")
    yield test
    yield staged(source.frames("validation", options.validation_frames), "validation")
    video = staged(source.windows(options.test_windows, options.window_frames), "video")
    yield video
    for limb in ("hand", "foot"):
        for part, band in (("p1", (0.0, options.tail_shares[0])), ("p2", options.tail_shares)):
            yield staged(source.tail(limb, band, options.tail_frames), f"{limb}_{part}")
    stress = options.stress
    for kind in ("swaps", "limb_lost", "truncated", "noise_doubled"):
        yield staging.observe(test, getattr(stress, kind), seed=options.seed, name=f"{name}/stress_{kind}")
    yield staging.observe(
        test,
        options.staging.noise,
        seed=options.seed,
        name=f"{name}/stress_focal_length",
        focal_length_factor=stress.wrong_focal_length,
    )
    yield staging.observe(
        video,
        dataclasses.replace(options.staging.noise, frame_correlation=stress.frame_correlation),
        seed=options.seed,
        name=f"{name}/video_correlated",
        num_frames=options.window_frames,
    )


class _FromMocap:
    """Motion of the takes of each split, hands from the prior."""

    def __init__(self, options: PrepareOptions, folder: pathlib.Path | None, report: Progress) -> None:
        found = find_mocap(folder)
        if found is None:
            where = "no folder was given" if folder is None else f"{folder} does not hold it"
            raise PrepareError(
                f"mocap_hard needs motion capture in folders {', '.join(splits.STYLES)}: {where}. {CMU_SOURCE}; or "
                "prepare configs/mocap_hard.py:synth_hard, which needs none"
            )
        self.options = options
        held_out: tuple[splits.Split, ...] = ("test", "validation")
        wanted: list[tuple[splits.Split, str, str]] = [
            (split, style, take)
            for split in held_out
            for style in splits.STYLES
            for take in splits.held_out_takes(split, style)
        ]
        for split, style, take in wanted:
            splits.check_takes(split, {style: (take,)})
            if not (found / style / f"{take}.bvh").is_file():
                raise PrepareError(f"{found / style}: take {take}.bvh is missing; {CMU_SOURCE}")
        body = load.open_body(view="smpl")
        self.clips: dict[str, list[_Clip]] = {"test": [], "validation": []}
        for done, (split, style, take) in enumerate(wanted):
            report("retarget", done, len(wanted))
            path = found / style / f"{take}.bvh"
            self.clips[split].append(_retargeted(path, style, body, options.frames_per_second))
        report("retarget", len(wanted), len(wanted))

    def frames(self, split: str, count: int) -> Motion:
        """`count` sound frames a style, evenly spaced over its takes; short takes give some frames twice."""
        picks = []
        for style in splits.STYLES:
            everything = self._all_frames(split, style)
            picks += [everything[at] for at in np.linspace(0, len(everything) - 1, count).round().astype(int)]
        return self._motion(picks, 1, f"{split}/hands")

    def windows(self, count: int, length: int) -> Motion:
        """`count` windows a style; windows of short takes overlap."""
        picks = []
        for style in splits.STYLES:
            starts = [
                (clip, at)
                for clip, at in self._all_frames("test", style)
                if at + length <= len(clip.pelvis) and clip.is_sound[at : at + length].all()
            ]
            if not starts:
                raise PrepareError(f"no test take of {style} has {length} sound frames in a row")
            picks += [starts[at] for at in np.linspace(0, len(starts) - 1, count).round().astype(int)]
        return self._motion(picks, length, "video/hands")

    def tail(self, limb: str, band: tuple[float, float], count: int) -> Motion:
        """Frames of the hardest share of ankle and toe angles, or any frame with wrists from the tail of the prior."""
        everything = [pick for style in splits.STYLES for pick in self._all_frames("test", style)]
        if limb == "foot":
            hardness = np.array([_foot_angle(clip.body_pose[at]) for clip, at in everything])
            order = np.argsort(-hardness, kind="stable")
            first, last = (round(share * len(order)) for share in band)
            if first == last:
                raise PrepareError(
                    f"the test takes have {len(order)} frames: none lies between shares {band[0]} and {band[1]} of the "
                    "hardest; take wider `tail_shares`"
                )
            everything = [everything[at] for at in np.sort(order[first:last])]
        picks = [everything[at] for at in np.linspace(0, len(everything) - 1, count).round().astype(int)]
        motion = self._motion(picks, 1, f"{limb}_{band[0]}/hands")
        if limb == "hand":
            motion = _with_hard_wrists(motion, band, self.options)
        return motion

    def _all_frames(self, split: str, style: str) -> list[tuple[_Clip, int]]:
        found = [
            (clip, int(at)) for clip in self.clips[split] if clip.style == style for at in np.flatnonzero(clip.is_sound)
        ]
        if not found:
            raise PrepareError(f"no {split} take of {style} has a sound frame")
        return found

    def _motion(self, picks: list[tuple[_Clip, int]], length: int, name: str) -> Motion:
        rng = staging.generator(self.options.seed, name)
        rate = self.options.frames_per_second
        full_pose = np.zeros((len(picks), length, 52, 3))
        if length == 1:
            hands = hand_poses.sample_hand_poses(rng, len(picks))
            wrists, fingers = hands.wrists[:, None], hands.fingers[:, None]
        else:
            hands = hand_poses.smooth_hand_poses(rng, len(picks), length, rate)
            wrists, fingers = hands.wrists, hands.fingers
        pelvis = np.zeros((len(picks), length, 3))
        for row, (clip, at) in enumerate(picks):
            full_pose[row, :, :22] = clip.body_pose[at : at + length]
            pelvis[row] = clip.pelvis[at : at + length]
        full_pose[:, :, 20:22] = wrists
        full_pose[:, :, 22:] = fingers.reshape(len(picks), length, 30, 3)
        return Motion(
            full_pose=full_pose,
            pelvis=pelvis - pelvis[:, :1] * np.array([1.0, 0.0, 1.0]),
            styles=tuple(clip.style for clip, _ in picks),
            takes=tuple(clip.take for clip, _ in picks),
            frames=np.array([clip.frames[at : at + length] for clip, at in picks]),
            frames_per_second=rate,
        )


class _FromKeyPoses:
    """Poses between key poses that were written by hand."""

    def __init__(self, options: PrepareOptions) -> None:
        self.options = options

    def frames(self, split: str, count: int) -> Motion:
        """`count` poses a style."""
        return self._poses(count, f"frames/{split}")

    def windows(self, count: int, length: int) -> Motion:
        """`count` windows a style."""
        rate = self.options.frames_per_second
        drawn = [
            synthetic.sample_hard_motion(self._seed(f"video/{style}"), count, length, rate, style)
            for style in _SYNTH_STYLES
        ]
        full_pose = np.concatenate([motion.full_pose for motion in drawn])
        people = len(full_pose)
        return Motion(
            full_pose=full_pose,
            pelvis=np.zeros((people, length, 3)),
            styles=tuple(style for motion in drawn for style in motion.styles),
            takes=tuple(f"motion{row}" for row in range(people)),
            frames=np.tile(np.arange(length), (people, 1)),
            frames_per_second=rate,
        )

    def tail(self, limb: str, band: tuple[float, float], count: int) -> Motion:
        """Poses of the hardest share of ankle and toe angles among many, or with wrists from the tail of the prior."""
        if limb == "hand":
            motion = self._poses(-(-count // len(_SYNTH_STYLES)), f"hand/{band[0]}").select(np.arange(count))
            return _with_hard_wrists(motion, band, self.options)
        # Both bands are cut from the same people, else the easiest of P1 might be easier than the hardest of P2.
        people = math.ceil(count / _narrowest(self.options.tail_shares))
        pool = self._poses(-(-people // len(_SYNTH_STYLES)), "foot")
        hardness = np.array([_foot_angle(pose[0, :22]) for pose in pool.full_pose])
        order = np.argsort(-hardness, kind="stable")
        first = math.ceil(band[0] * len(order))
        inside = order[first : max(first + count, math.floor(band[1] * len(order)))]
        return pool.select(np.sort(inside[np.linspace(0, len(inside) - 1, count).round().astype(int)]))

    def _seed(self, name: str) -> int:
        return int(staging.generator(self.options.seed, name).integers(2**31))

    def _poses(self, count: int, name: str) -> Motion:
        drawn = [synthetic.sample_hard_poses(self._seed(f"{name}/{style}"), count, style) for style in _SYNTH_STYLES]
        people = count * len(drawn)
        return Motion(
            full_pose=np.concatenate([poses.full_pose for poses in drawn])[:, None],
            pelvis=np.zeros((people, 1, 3)),
            styles=tuple(style for poses in drawn for style in poses.styles),
            takes=tuple(pair[0].replace(" ", "_") for poses in drawn for pair in poses.key_poses),
            frames=np.arange(people)[:, None],
            frames_per_second=self.options.frames_per_second,
        )


def _retargeted(path: pathlib.Path, style: str, body: BodyModel, frames_per_second: float) -> _Clip:
    clip = read_bvh(path)
    true_rate = _TRUE_RATES.get(style, {}).get(round(clip.frames_per_second, 1))
    if true_rate is not None:
        clip = dataclasses.replace(clip, frames_per_second=true_rate)
    # The first frame of CMU's BVH files is the pose that the converter calls rest, not motion.
    if clip.num_frames < 2:
        raise PrepareError(f"{path}: expected motion after the first frame, which is a rest pose; got none")
    rate, numbers = clip.frames_per_second, np.arange(1, clip.num_frames)
    clip = clip.frames(numbers).at_rate(frames_per_second)
    found = retargeting.retarget(clip, body)
    betas = np.asarray(found.params.betas)[0]
    pelvis = np.asarray(body.joints(found.params), np.float64)[:, 0] / staging.leg_length(body, betas)
    return _Clip(
        style=style,
        take=path.stem,
        body_pose=np.asarray(found.params.full_pose(), np.float64)[:, :22],
        pelvis=pelvis,
        frames=numbers[:: round(rate / clip.frames_per_second)],
        is_sound=~np.isin(found.status, (FitStatus.DIVERGED, FitStatus.NONFINITE)),
    )


def _foot_angle(body_pose: Float[np.ndarray, "22 3"]) -> float:
    """How far the worse foot is from rest: angle of the ankle and angle of the toes together, radians."""
    angle = np.linalg.norm(body_pose, axis=-1)
    return float(max(angle[7] + angle[10], angle[8] + angle[11]))


def _narrowest(tail_shares: tuple[float, float]) -> float:
    """Width of the narrower of the two bands of difficulty."""
    return min(tail_shares[0], tail_shares[1] - tail_shares[0])


def _with_hard_wrists(motion: Motion, band: tuple[float, float], options: PrepareOptions) -> Motion:
    """The same people with wrists from a share of the prior's tail: one wrist at least is that far from rest.

    Both bands are cut from the same draw, so that the easiest wrist of P1 is harder than the hardest of P2.
    """
    people = len(motion.full_pose)
    candidates = max(_WRIST_CANDIDATES * people, math.ceil(people / _narrowest(options.tail_shares)))
    drawn = hand_poses.sample_hand_poses(staging.generator(options.seed, "wrists"), candidates)
    angle = np.linalg.norm(drawn.wrists, axis=-1).max(axis=-1)
    order = np.argsort(-angle, kind="stable")
    first = math.ceil(band[0] * candidates)
    last = max(first + people, math.floor(band[1] * candidates))
    inside = np.sort(order[first:last])[:people]
    full_pose = motion.full_pose.copy()
    full_pose[:, :, 20:22] = drawn.wrists[inside][:, None]
    full_pose[:, :, 22:] = drawn.fingers[inside].reshape(people, 1, 30, 3)
    return dataclasses.replace(motion, full_pose=full_pose)
