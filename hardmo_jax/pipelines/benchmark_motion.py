"""What people of a benchmark do: frames and clips of motion capture, or poses that were written by hand."""

import dataclasses
import math
import pathlib
from collections.abc import Callable, Sequence
from typing import get_args

import numpy as np

from hardmo_jax.array_types import Float
from hardmo_jax.body import load
from hardmo_jax.data import hand_poses, splits, staging, synthetic
from hardmo_jax.data.staging import Motion
from hardmo_jax.recovery.captured_clip import CapturedClip, SoundnessOptions, read_captured_clip
from hardmo_jax.skeleton import layouts

Progress = Callable[[str, int, int | None], None]

#: Where motion capture is to be had, for the message of who has none.
CMU_SOURCE = (
    "CMU's motion capture is free for all uses: put the folders indian, martial and salsa of train_data_bvh of "
    "github.com/papagina/Auto_Conditioned_RNN_motion into one folder and set HARDMO_DATA to the folder that holds it "
    "as `mocap`"
)
SYNTH_STYLES = get_args(synthetic.Style)
_WRIST_CANDIDATES = 40
_JOINTS = layouts.SMPLH_JOINTS
_WRISTS = [_JOINTS.index(f"{side}_wrist") for side in layouts.SIDES]
_FEET = [[_JOINTS.index(f"{side}_{joint}") for joint in ("ankle", "foot")] for side in layouts.SIDES]
_FIRST_FINGER = 22


class PrepareError(ValueError):
    """A benchmark cannot be made; the message says what is missing."""


def find_mocap(folder: pathlib.Path | None) -> pathlib.Path | None:
    """Folder that holds `martial`, `indian` and `salsa`: the given one or a folder just below it; None without one."""
    if folder is None or not folder.is_dir():
        return None
    candidates = [folder, folder / "cmu_bvh_30fps", folder / "mocap", folder / "mocap" / "cmu_bvh_30fps"]
    return next((found for found in candidates if all((found / style).is_dir() for style in splits.STYLES)), None)


class FromMocap:
    """Motion of the held-out takes, with wrists and fingers from the prior: the capture's fingers are stiff."""

    def __init__(
        self,
        folder: pathlib.Path | None,
        *,
        seed: int,
        frames_per_second: float,
        tail_shares: tuple[float, float],
        soundness: SoundnessOptions,
        report: Progress,
    ) -> None:
        found = find_mocap(folder)
        if found is None:
            where = "no folder was given" if folder is None else f"{folder} does not hold it"
            raise PrepareError(
                f"mocap_hard needs motion capture in folders {', '.join(splits.STYLES)}: {where}. {CMU_SOURCE}; or "
                "prepare configs/mocap_hard.py:synth_hard, which needs none"
            )
        self.seed, self.frames_per_second, self.tail_shares = seed, frames_per_second, tail_shares
        held_out: tuple[splits.Split, ...] = ("test", "validation")
        wanted: list[tuple[splits.Split, str, str]] = [
            (split, style, take)
            for split in held_out
            for style in splits.STYLES
            for take in splits.held_out_takes(split, style)
        ]
        self.files = [found / style / f"{take}.bvh" for _, style, take in wanted]
        for (split, style, take), path in zip(wanted, self.files, strict=True):
            splits.check_takes(split, {style: (take,)})
            if not path.is_file():
                raise PrepareError(f"{path.parent}: take {path.name} is missing; {CMU_SOURCE}")
        body = load.open_body(view="smpl")
        self.clips: dict[str, list[CapturedClip]] = {"test": [], "validation": []}
        for done, ((split, style, _), path) in enumerate(zip(wanted, self.files, strict=True)):
            report("retarget", done, len(wanted))
            self.clips[split].append(
                read_captured_clip(path, style, body, frames_per_second=frames_per_second, soundness=soundness)
            )
        report("retarget", len(wanted), len(wanted))

    def frames(self, split: str, count: int) -> Motion:
        """`count` sound frames a style, evenly spaced over its takes; short takes give some frames twice."""
        picks = [pick for style in splits.STYLES for pick in _evenly(self._all_frames(split, style), count)]
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
            picks += _evenly(starts, count)
        return self._motion(picks, length, "video/hands")

    def tail(self, limb: str, band: tuple[float, float], count: int) -> Motion:
        """Frames of the hardest share of ankle (and toe) angles of each style, or any frame with hard wrists."""
        picks = []
        for style in splits.STYLES:
            everything = self._all_frames("test", style)
            if limb == "foot":
                # Of each style by itself: else one dancer's habit, or one badly placed marker, is the whole set.
                hardness = np.array([_foot_angle(clip.body_pose[at]) for clip, at in everything])
                order = np.argsort(-hardness, kind="stable")
                first, last = (round(share * len(order)) for share in band)
                if first == last:
                    raise PrepareError(
                        f"the test takes of {style} have {len(order)} frames: none lies between shares {band[0]} and "
                        f"{band[1]} of the hardest; take wider `tail_shares`"
                    )
                everything = [everything[at] for at in np.sort(order[first:last])]
            picks += _evenly(everything, -(-count // len(splits.STYLES)))
        motion = self._motion(picks[:count], 1, f"{limb}_{band[0]}/hands")
        return motion if limb == "foot" else _with_hard_wrists(motion, band, self.tail_shares, self.seed)

    def _all_frames(self, split: str, style: str) -> list[tuple[CapturedClip, int]]:
        found = [
            (clip, int(at)) for clip in self.clips[split] if clip.style == style for at in np.flatnonzero(clip.is_sound)
        ]
        if not found:
            raise PrepareError(f"no {split} take of {style} has a sound frame")
        return found

    def _motion(self, picks: list[tuple[CapturedClip, int]], length: int, name: str) -> Motion:
        rng = staging.generator(self.seed, name)
        rate = self.frames_per_second
        full_pose = np.zeros((len(picks), length, len(_JOINTS), 3))
        if length == 1:
            hands = hand_poses.sample_hand_poses(rng, len(picks))
            wrists, fingers = hands.wrists[:, None], hands.fingers[:, None]
        else:
            hands = hand_poses.smooth_hand_poses(rng, len(picks), length, rate)
            wrists, fingers = hands.wrists, hands.fingers
        pelvis = np.zeros((len(picks), length, 3))
        for row, (clip, at) in enumerate(picks):
            full_pose[row, :, :_FIRST_FINGER] = clip.body_pose[at : at + length]
            pelvis[row] = clip.pelvis[at : at + length]
        full_pose[:, :, _WRISTS] = wrists
        full_pose[:, :, _FIRST_FINGER:] = fingers.reshape(len(picks), length, -1, 3)
        return Motion(
            full_pose=full_pose,
            pelvis=pelvis - pelvis[:, :1] * np.array([1.0, 0.0, 1.0]),
            styles=tuple(clip.style for clip, _ in picks),
            takes=tuple(clip.take for clip, _ in picks),
            groups=tuple(clip.group(at) for clip, at in picks),
            frames=np.array([clip.frames[at : at + length] for clip, at in picks]),
            frames_per_second=rate,
        )


class FromKeyPoses:
    """Poses between key poses that were written by hand."""

    def __init__(self, *, seed: int, frames_per_second: float, tail_shares: tuple[float, float]) -> None:
        self.seed, self.frames_per_second, self.tail_shares = seed, frames_per_second, tail_shares
        self.files: list[pathlib.Path] = []

    def frames(self, split: str, count: int) -> Motion:
        """`count` poses a style."""
        return self._poses(count, f"frames/{split}")

    def windows(self, count: int, length: int) -> Motion:
        """`count` windows a style."""
        rate = self.frames_per_second
        drawn = [
            synthetic.sample_hard_motion(self._seed(f"video/{style}"), count, length, rate, style)
            for style in SYNTH_STYLES
        ]
        full_pose = np.concatenate([motion.full_pose for motion in drawn])
        people = len(full_pose)
        names = tuple(f"motion{row}" for row in range(people))
        return Motion(
            full_pose=full_pose,
            pelvis=np.zeros((people, length, 3)),
            styles=tuple(style for motion in drawn for style in motion.styles),
            takes=names,
            groups=names,
            frames=np.tile(np.arange(length), (people, 1)),
            frames_per_second=rate,
        )

    def tail(self, limb: str, band: tuple[float, float], count: int) -> Motion:
        """Poses of the hardest share of ankle and toe angles among many, or with hard wrists."""
        if limb == "hand":
            motion = self._poses(-(-count // len(SYNTH_STYLES)), f"hand/{band[0]}").select(np.arange(count))
            return _with_hard_wrists(motion, band, self.tail_shares, self.seed)
        # Both bands are cut from the same people, else the easiest of P1 might be easier than the hardest of P2.
        people = math.ceil(count / _narrowest(self.tail_shares))
        pool = self._poses(-(-people // len(SYNTH_STYLES)), "foot")
        hardness = np.array([_foot_angle(pose[0]) for pose in pool.full_pose])
        order = np.argsort(-hardness, kind="stable")
        first = math.ceil(band[0] * len(order))
        inside = order[first : max(first + count, math.floor(band[1] * len(order)))]
        return pool.select(np.sort(inside[np.linspace(0, len(inside) - 1, count).round().astype(int)]))

    def _seed(self, name: str) -> int:
        return int(staging.generator(self.seed, name).integers(2**31))

    def _poses(self, count: int, name: str) -> Motion:
        drawn = [synthetic.sample_hard_poses(self._seed(f"{name}/{style}"), count, style) for style in SYNTH_STYLES]
        people = count * len(drawn)
        pairs = [pair for poses in drawn for pair in poses.key_poses]
        return Motion(
            full_pose=np.concatenate([poses.full_pose for poses in drawn])[:, None],
            pelvis=np.zeros((people, 1, 3)),
            styles=tuple(style for poses in drawn for style in poses.styles),
            takes=tuple(pair[0].replace(" ", "_") for pair in pairs),
            groups=tuple("-".join(sorted(pair)) for pair in pairs),
            frames=np.arange(people)[:, None],
            frames_per_second=self.frames_per_second,
        )


def _evenly(picks: Sequence[tuple[CapturedClip, int]], count: int) -> list[tuple[CapturedClip, int]]:
    """`count` of them, evenly spaced; some twice if there are fewer."""
    return [picks[at] for at in np.linspace(0, len(picks) - 1, count).round().astype(int)]


def _foot_angle(pose: Float[np.ndarray, "J 3"]) -> float:
    """How far the worse foot is from rest: angle of the ankle and angle of the toes together, radians."""
    return float(max(np.linalg.norm(pose[foot], axis=-1).sum() for foot in _FEET))


def _narrowest(tail_shares: tuple[float, float]) -> float:
    """Width of the narrower of the two bands of difficulty."""
    return min(tail_shares[0], tail_shares[1] - tail_shares[0])


def _with_hard_wrists(motion: Motion, band: tuple[float, float], tail_shares: tuple[float, float], seed: int) -> Motion:
    """The same people with wrists from a share of the prior's tail: one wrist at least is that far from rest.

    Both bands are cut from the same draw, so that the easiest wrist of P1 is harder than the hardest of P2.
    """
    people = len(motion.full_pose)
    candidates = max(_WRIST_CANDIDATES * people, math.ceil(people / _narrowest(tail_shares)))
    drawn = hand_poses.sample_hand_poses(staging.generator(seed, "wrists"), candidates)
    angle = np.linalg.norm(drawn.wrists, axis=-1).max(axis=-1)
    order = np.argsort(-angle, kind="stable")
    first = math.ceil(band[0] * candidates)
    last = max(first + people, math.floor(band[1] * candidates))
    inside = np.sort(order[first:last])[:people]
    full_pose = motion.full_pose.copy()
    full_pose[:, :, _WRISTS] = drawn.wrists[inside][:, None]
    full_pose[:, :, _FIRST_FINGER:] = drawn.fingers[inside].reshape(people, 1, -1, 3)
    return dataclasses.replace(motion, full_pose=full_pose)
