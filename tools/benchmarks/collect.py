"""The collect suite: how many copies among collected files are found, how many are none, and what it costs."""

import itertools
import pathlib
import tempfile
import time
import zlib
from typing import Any

import numpy as np

#: Of clips and of what is done to them; thresholds were chosen on another one.
_SEED = 2
_PEOPLE = 8


def plan() -> list[dict[str, Any]]:
    """Cells: clips, and photos made of their first frames."""
    return [{"measure": "copies", "all_cores": True}]


def run(cell: dict[str, Any], models: pathlib.Path) -> list[dict[str, object]]:
    """Make clips and copies, and look for the copies among all files."""
    del cell, models
    from tools.benchmarks import collect_clips

    with tempfile.TemporaryDirectory() as folder:
        paths: list[pathlib.Path] = []
        made: list[tuple[int, str]] = []
        for number, clip in enumerate(collect_clips.distinct_clips(_SEED, num_people=_PEOPLE)):
            rng = np.random.default_rng([_SEED, zlib.crc32(clip.name.encode())])
            versions = {"original": (clip, 20), **collect_clips.copies(clip, rng)}
            for change, (version, quality) in versions.items():
                path = pathlib.Path(folder) / f"{len(paths):04d}.mp4"
                paths.append(collect_clips.write_clip(path, version, quality))
                made.append((number, change))
        return _measured(paths, made)


def _measured(paths: list[pathlib.Path], made: list[tuple[int, str]]) -> list[dict[str, object]]:
    from hardmo_jax.perception import duplicates

    start = time.perf_counter()
    clips = [duplicates.fingerprint(path) for path in paths]
    fingerprint_seconds = time.perf_counter() - start
    video_seconds = sum(clip.seconds or 0.0 for clip in clips)
    photos = [
        duplicates.Fingerprint(pictures=clip.pictures[:1], step_seconds=clip.step_seconds, seconds=None)
        for clip in clips
    ]
    # The first frame of what begins later is another picture.
    of_photos = [number for number, (_, change) in enumerate(made) if change not in ("begins later", "half the frames")]
    rows = _rows("clips", clips, made)
    rows += _rows("photos", [photos[number] for number in of_photos], [made[number] for number in of_photos])
    rows.append(
        {
            "measure": "cost", "files": len(paths), "video_seconds": video_seconds,
            "fingerprint_seconds": fingerprint_seconds, "times_real_time": video_seconds / fingerprint_seconds,
        }
    )  # fmt: skip
    return rows


def _rows(kind: str, prints: list[Any], made: list[tuple[int, str]]) -> list[dict[str, object]]:
    from hardmo_jax.perception import duplicates

    start = time.perf_counter()
    found = {(first, second) for first, second, _ in duplicates.find_copies(prints)}
    seconds = time.perf_counter() - start
    originals = {number: place for place, (number, change) in enumerate(made) if change == "original"}
    rows: list[dict[str, object]] = []
    for change in dict.fromkeys(change for _, change in made if change != "original"):
        pairs = [(originals[number], place) for place, (number, other) in enumerate(made) if other == change]
        hits = sum(pair in found for pair in pairs)
        rows.append(
            {
                "measure": "copies", "of": kind, "change": change, "copies": len(pairs), "found": hits,
                "share_percent": 100 * hits / len(pairs),
            }
        )  # fmt: skip
    for name, places in (("originals", list(originals.values())), ("originals and copies", range(len(made)))):
        different = [pair for pair in itertools.combinations(places, 2) if made[pair[0]][0] != made[pair[1]][0]]
        wrong = sum(pair in found for pair in different)
        rows.append(
            {
                "measure": "false", "of": kind, "among": name, "pairs": len(different), "taken_for_copies": wrong,
                "share_percent": 100 * wrong / len(different),
            }
        )  # fmt: skip
    pairs = len(made) * (len(made) - 1) // 2
    rows.append(
        {"measure": "search", "of": kind, "pairs": pairs, "seconds": seconds, "pairs_a_second": pairs / seconds}
    )
    return rows
