"""Many people, one after the other: what they need of memory does not grow with them."""

import dataclasses
import gc
import itertools
import pathlib
import time

import numpy as np
import psutil
import pytest

import hardmo_jax as hm
from hardmo_jax.body import landmarks
from hardmo_jax.geometry import cameras
from hardmo_jax.labels import sharded_store, store, stream_labels
from hardmo_jax.pipelines.annotate_options import AnnotateOptions
from hardmo_jax.pipelines.annotate_takes import label_take
from hardmo_jax.pipelines.perceiving import Take
from hardmo_jax.pipelines.runners.stages import SourceFacts
from hardmo_jax.pipelines.sightings import LAYOUT, Picture, Sighting
from hardmo_jax.pipelines.stage_rates import StageClock
from hardmo_jax.skeleton import layouts
from tests.fitting import tracks

#: Of a take.
PEOPLE = 512
IN_STORE = 100_000
#: That fits and scores may take here; they are as many as are done in it.
SECONDS = 90.0
#: Growth from when a tenth is done.
MOST_GROWTH = 1.05


class Memory:
    """Of this process, as the work goes on."""

    def __init__(self) -> None:
        self.bytes: list[int] = []

    def look(self) -> None:
        """Note it."""
        gc.collect()
        self.bytes.append(psutil.Process().memory_info().rss)

    @property
    def growth(self) -> float:
        """Most of it by the most of it until a tenth was done."""
        first = max(len(self.bytes) // 10, 1)
        return max(self.bytes[first:]) / max(self.bytes[:first])


def _takes(body):
    """People in photos, without end; each in a pose and place of its own."""
    model, _ = landmarks.point_model(body, layouts.get_layout(LAYOUT))
    for seed in itertools.count():
        track = tracks.make_track(body, frames=PEOPLE, seed=seed, sway=0.5)
        points = np.asarray(cameras.project_points(track.camera, model(track.params())))
        noise = np.random.default_rng(seed).normal(scale=2.0, size=points.shape)
        is_there = np.isfinite(points).all(-1)
        points = np.where(is_there[..., None], points + noise, 0).astype(np.float32)
        pictures, sightings = [], []
        for number in range(PEOPLE):
            position = seed * PEOPLE + number
            pictures.append(
                Picture(
                    position=position, source_path=pathlib.Path(f"photo_{position:07d}.jpg"), frame_index=0,
                    source_sha256=f"{position:064x}", time_seconds=None, width=tracks.WIDTH, height=tracks.HEIGHT,
                )
            )  # fmt: skip
            own = points[number][is_there[number]]
            sightings.append(
                Sighting(
                    picture=pictures[-1], track_id=0, keypoints_2d=points[number],
                    confidence=np.where(is_there[number], 0.9, 0).astype(np.float32), keypoints_3d=None,
                    confidence_3d=None, bbox=np.concatenate([own.min(0), own.max(0)]), score=0.9, source="made up",
                )
            )  # fmt: skip
        yield Take(pictures=pictures, sightings=sightings, camera_path=None)


@pytest.mark.slow
@pytest.mark.survive
def test_memory_does_not_grow_with_people_fitted_and_scored(tmp_path, promise):
    body, memory, done = hm.open_body(), Memory(), 0
    facts = SourceFacts(path=tmp_path, kind="folder", fps=None, frame_count=None)
    with promise("soak: fit, score and store") as row:
        start, rates = None, []
        for number, take in enumerate(_takes(body)):
            labelled = label_take(
                take, media=facts, body=body, options=AnnotateOptions(), packed=tmp_path / "packed", clock=StageClock(),
                report=lambda stage, done, total: None,
            )  # fmt: skip
            store.write_packed(tmp_path / f"part_{number:05d}.parquet", labelled.labels)
            for path in (tmp_path / "packed").iterdir():
                path.unlink()
            row.tried(None if len(labelled.notes) == PEOPLE else "people are missing", cases=PEOPLE)
            done += PEOPLE
            memory.look()
            # Programs are compiled by the first.
            now = time.perf_counter()
            start = start or now
            rates.append(now)
            if done >= IN_STORE or now - start > SECONDS:
                break
        rate = (done - PEOPLE) / max(rates[-1] - rates[0], 1e-9)
        row.note = f"{done:,} of {IN_STORE:,} people in the time, {rate:.0f} a second, memory x{memory.growth:.3f}"
        row.tried(None if memory.growth <= MOST_GROWTH else f"memory grew by {memory.growth:.3f}")


@pytest.mark.slow
@pytest.mark.survive
def test_memory_does_not_grow_with_a_store(tmp_path, promise):
    from tests.labels.test_schema import make_full_row

    model, memory, parts = make_full_row(), Memory(), []
    with promise("soak: 100,000 labels through the store") as row:
        for first in range(0, IN_STORE, 1000):
            rows = [
                dataclasses.replace(model, source_path=f"{number:07d}.jpg", label_id="")
                for number in range(first, first + 1000)
            ]
            packed = store.PackedLabels(rows, tmp_path / "packed.arrows")
            parts.append(store.write_packed(tmp_path / f"part_{first:07d}.parquet", [packed]))
            memory.look()
        writing = memory.growth
        row.tried(None if writing <= MOST_GROWTH else f"memory grew by {writing:.3f} while parts were written")
        manifest = sharded_store.compact_labels([[part] for part in parts], tmp_path / "store")
        row.tried(None if manifest.num_rows == IN_STORE else f"{manifest.num_rows} rows", cases=IN_STORE)
        read = Memory()
        count = 0
        for batch in stream_labels.stream_labels(tmp_path / "store"):
            count += len(batch)
            del batch
            read.look()
        row.tried(None if count == IN_STORE else f"{count} labels are read")
        row.tried(None if read.growth <= MOST_GROWTH else f"memory grew by {read.growth:.3f} while labels were read")
        row.note = f"memory x{writing:.3f} while written, x{read.growth:.3f} while read"
