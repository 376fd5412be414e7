import dataclasses
import io
import pathlib
import pickle

import numpy as np
import pytest

from hardmo_jax.perception.camera_motion import CameraPath
from hardmo_jax.perception.quality import BoxQuality
from hardmo_jax.pipelines.perceiving import Take
from hardmo_jax.pipelines.runners.take_bytes import TakeBytesError, take_of_bytes, take_to_bytes
from hardmo_jax.pipelines.sightings import Picture, RegressedPerson, Sighting


def _take(seed=0):
    rng = np.random.default_rng(seed)
    pictures = [
        Picture(
            position=7 + at, source_path=pathlib.Path("clips/ä b.mp4"), source_sha256="ab" * 32, frame_index=7 + at,
            time_seconds=at / 30, width=640, height=480, starts_shot=at == 0, focal_length_35mm=None if at else 28.0,
        )
        for at in range(3)
    ]  # fmt: skip

    def person(at, **changes):
        fields = {
            "picture": pictures[at],
            "track_id": at,
            "keypoints_2d": rng.normal(size=(67, 2)).astype(np.float32),
            "confidence": rng.uniform(size=67).astype(np.float32),
            "keypoints_3d": rng.normal(size=(67, 3)).astype(np.float32),
            "confidence_3d": rng.uniform(size=67).astype(np.float32),
            "bbox": rng.normal(size=4).astype(np.float32),
            "score": None,
            "source": "blazepose",
        }
        return Sighting(**(fields | changes))

    quality = BoxQuality(
        height_pixels=200.5, sharpness=None, truncated_share=0.1, occluded_share=0.0, num_points=12,
        reasons=("small", "blurred"),
    )  # fmt: skip
    regressed = RegressedPerson(
        global_orient=rng.normal(size=(3, 3)), body_pose=rng.normal(size=(23, 3, 3)), betas=rng.normal(size=10),
        weak_camera=rng.normal(size=3), box_center=rng.normal(size=2), box_size=120.5,
        told_focal_length=None, features=rng.normal(size=8),
    )  # fmt: skip
    sightings = [
        person(0, quality=quality, score=0.75),
        person(0, keypoints_3d=None, confidence_3d=None, regressed=regressed, track_id=4),
        person(2, quality=dataclasses.replace(quality, sharpness=1.5, reasons=())),
    ]
    path = CameraPath(
        turn=np.array([1 + 0j, np.nan, 0.5 + 0.1j]), shift=np.array([0j, complex(np.nan), 0.1j]),
        scene=np.array([0, 0, 1]), aspect=0.75,
    )  # fmt: skip
    return Take(pictures=pictures, sightings=sightings, camera_path=path)


def _same(one, other):
    if dataclasses.is_dataclass(one):
        assert type(one) is type(other)
        for field in dataclasses.fields(one):
            _same(getattr(one, field.name), getattr(other, field.name))
    elif isinstance(one, np.ndarray):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)
    elif isinstance(one, list):
        assert len(one) == len(other)
        for pair in zip(one, other, strict=True):
            _same(*pair)
    else:
        assert one == other


def test_a_take_comes_back_as_it_was():
    take = _take()
    back = take_of_bytes(take_to_bytes(take))
    _same(take, back)
    # Sightings share their pictures, as they did.
    assert back.sightings[0].picture is back.sightings[1].picture is back.pictures[0]
    empty = Take(pictures=take.pictures, sightings=[], camera_path=None)
    _same(empty, take_of_bytes(take_to_bytes(empty)))


def test_bytes_that_are_none_are_refused_and_run_nothing(tmp_path):
    canary = tmp_path / "canary"

    class Evil:
        def __reduce__(self):
            return pathlib.Path.touch, (canary,)

    stream = io.BytesIO()
    np.savez(stream, header=np.array([Evil()], object))
    data = take_to_bytes(_take())
    for hostile in (b"", b"PK", pickle.dumps(Evil()), stream.getvalue(), data[:100], data[:-30], b"\x93NUMPY" + data):
        with pytest.raises(TakeBytesError):
            take_of_bytes(hostile)
    assert not canary.exists()
