"""Making a benchmark: motion to posed people, people before cameras, and a detector that looks at them.

`mocap_hard` comes from motion capture of martial arts and dance on the fixed split of takes; `synth_hard` from poses
written by hand, for those who have no motion capture. Both are the same kind of set.
"""

import dataclasses
import hashlib
import json
import pathlib
from collections.abc import Iterator
from typing import Literal

from hardmo_jax.body import load
from hardmo_jax.body.model import BodyModel
from hardmo_jax.data import hand_poses, splits, staging, synthetic
from hardmo_jax.data.detector_noise import DetectorNoise
from hardmo_jax.data.hard_set import HardSet, body_name
from hardmo_jax.data.staging import Motion, StagingOptions
from hardmo_jax.labels import provenance
from hardmo_jax.pipelines.benchmark_motion import FromKeyPoses, FromMocap, Progress
from hardmo_jax.recovery.captured_clip import SoundnessOptions

#: Grows when code changes what a benchmark holds; part of the name of its folder.
_BENCHMARK_VERSION = 1


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
    soundness: SoundnessOptions = SoundnessOptions()
    """Which captured frames count."""
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
    motion = _motion_of(options, mocap, report)
    for path in motion.files:
        record.add_file(f"{path.parent.name}/{path.name}", path)
    prepared = []
    for found in _sets(options, body, motion):
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
    """Folder of the benchmark that these options make: another one for every change of them, of the split, of the
    priors of hands and poses, of the body, and of the version of the code that makes it."""
    body = load.open_body(view="smplh")
    parts = {
        "version": _BENCHMARK_VERSION,
        "options": dataclasses.asdict(options),
        "body": [body_name(body), body.checksum],
        "takes": [
            [split, style, *splits.held_out_takes(split, style)]
            for split in ("test", "validation")
            for style in splits.STYLES
        ],
        "hands": repr((hand_poses.WRIST_HOLDS, hand_poses.HAND_SHAPES)),
        "poses": repr(synthetic.KEY_POSES),
    }
    digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
    return root / f"{options.benchmark}-{digest[:8]}"


def read_benchmark(folder: pathlib.Path) -> dict[str, str]:
    """Checksum by set name of a prepared benchmark; empty where there is none or it was not finished."""
    path = folder / "benchmark.json"
    try:
        results = json.loads(path.read_text(encoding="utf-8"))["results"]
        return {entry["name"]: entry["sha256"] for entry in results["sets"]}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _motion_of(options: PrepareOptions, mocap: pathlib.Path | None, report: Progress) -> FromMocap | FromKeyPoses:
    shared = {
        "seed": options.seed,
        "frames_per_second": options.frames_per_second,
        "tail_shares": options.tail_shares,
    }
    if options.benchmark == "synth_hard":
        return FromKeyPoses(**shared)
    return FromMocap(mocap, soundness=options.soundness, report=report, **shared)


def _sets(options: PrepareOptions, body: BodyModel, source: FromMocap | FromKeyPoses) -> Iterator[HardSet]:
    name = options.benchmark

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
