"""Overlay videos: three pictures of every frame at its time, with the sound; and labels of which none can be made."""

import dataclasses
import fractions
import json
from collections.abc import Sequence

import av
import jax
import numpy as np
import pytest

import hardmo_jax as hm
from hardmo_jax.body import landmarks
from hardmo_jax.body.params import BodyParams
from hardmo_jax.geometry import cameras
from hardmo_jax.labels import provenance, store
from hardmo_jax.labels.schema import LabelRow
from hardmo_jax.pipelines import overlay_video, side_views
from hardmo_jax.pipelines.label_rows import name_of_body, pose_columns
from hardmo_jax.pipelines.overlay_video import OverlayVideoError, OverlayVideoOptions
from hardmo_jax.skeleton import layouts
from hardmo_jax.viz import video_sound
from tests.perception import made_videos

FRAMES, WIDTH, HEIGHT = 6, 96, 128
#: In ticks: neither even nor in steps.
TIMES = (0, 512, 2048, 2176, 3000, 3512)
RATE = 16_000
PAINTED = OverlayVideoOptions(renderer="painter")


@pytest.fixture(scope="module")
def body():
    return hm.open_body()


def write_clip(path, *, sound=None, shift=0.0, turn=None):
    """Grey frames, brighter from one to the next, with a second of a tone if a codec is named."""
    pictures = [np.full((HEIGHT, WIDTH, 3), 60 + 25 * at, np.uint8) for at in range(FRAMES)]
    if turn is not None:
        return made_videos.write_rotated(path, pictures, turn)
    if sound is None:
        return made_videos.write(path, pictures, times=TIMES)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.codec_context.time_base = stream.time_base = made_videos.TICK
        tone = container.add_stream(sound, rate=RATE, layout="mono")
        packets = []
        for at, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(picture)
            frame.pts, frame.time_base = TIMES[at] + round(shift / made_videos.TICK), made_videos.TICK
            packets += stream.encode(frame)
        packets += stream.encode(None)
        size = tone.codec_context.frame_size or 1024
        wave = (8000 * np.sin(np.arange(RATE) * 2 * np.pi * 440 / RATE)).astype(np.int16)
        for start in range(0, RATE, size):
            part = av.AudioFrame.from_ndarray(wave[None, start : start + size], format="s16", layout="mono")
            part.sample_rate, part.pts, part.time_base = RATE, start, fractions.Fraction(1, RATE)
            packets += tone.encode(part)
        packets += tone.encode(None)
        for packet in packets:
            container.mux(packet)
    return path


def made_labels(body, path, *, frames: Sequence[int] = range(FRAMES), tracks=(0,), depth=3.0, **changed):
    """Somebody at rest, a little farther to the right in each frame."""
    layout = layouts.get_layout("openpose67")
    model, _ = landmarks.point_model(body, layout)
    camera = cameras.camera_from_image_size(WIDTH, HEIGHT)
    rows = []
    for frame in frames:
        for track in tracks:
            params = dataclasses.replace(
                jax.tree.map(np.asarray, BodyParams.rest(body)),
                global_orient=np.array([np.pi, 0, 0], np.float32),
                transl=np.array([0.6 * track - 0.2 + 0.05 * frame, 0.1, depth + track], np.float32),
            )
            points = np.asarray(model(params))
            pixels = np.asarray(cameras.project_points(camera, points))
            known = np.asarray(np.isfinite(pixels).all(axis=1))
            row = LabelRow(
                source_path=path.name, source_sha256=provenance.file_sha256(path), frame_index=frame,
                time_seconds=TIMES[frame] * float(made_videos.TICK), fps=25.0, image_width=WIDTH, image_height=HEIGHT,
                bbox=np.array([1.0, 2.0, 50.0, 90.0]), track_id=track, keypoint_source="made",
                keypoints_2d=np.where(known[:, None], pixels, 0), keypoint_confidence=known.astype(np.float32),
                keypoints_3d=points,
                body_model=name_of_body(body), body_model_sha256=body.checksum, **pose_columns(params),
                focal_length=np.asarray(camera.focal_length), principal_point=np.asarray(camera.principal_point),
                camera_source="diagonal", status="CONVERGED", error_by_part={"body": 0.0},
            )  # fmt: skip
            rows.append(dataclasses.replace(row, **changed))
    return rows


def drawn(folder, rows, *, options=PAINTED, run=None, **given):
    store.write_labels(folder / "labels.parquet", rows)
    if run is not None:
        (folder / "run.json").write_text(json.dumps(run))
    return overlay_video.write_overlay_video(
        folder / "labels.parquet", folder / "side.mp4", options=options, **{"pictures": folder, **given}
    )


def read(path):
    """Times and pictures by an independent reader, and what the streams are."""
    with av.open(str(path)) as container:
        kinds = [(stream.type, stream.codec_context.name) for stream in container.streams]
        frames = [(frame.time, frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)]
        assert container.streams.video[0].codec_context.pix_fmt == "yuv420p"
    return kinds, frames


def bluish(picture):
    return picture[..., 2].astype(int) - picture[..., 0] > 20


def test_every_frame_has_its_three_pictures_at_its_time(body, tmp_path):
    path = write_clip(tmp_path / "clip.mp4")
    told = []
    summary = drawn(tmp_path, made_labels(body, path, frames=(0, 1, 2, 4)), progress=lambda *words: told.append(words))
    kinds, frames = read(tmp_path / "side.mp4")
    assert kinds == [("video", "h264")]
    assert (summary.num_frames, summary.num_people, summary.sound, summary.renderer) == (FRAMES, 4, None, "painter")
    np.testing.assert_allclose([time for time, _ in frames], np.array(TIMES) * float(made_videos.TICK), atol=1e-3)
    assert told[-1] == ("draw", FRAMES, FRAMES)
    for at, (_, picture) in enumerate(frames):
        assert picture.shape == (HEIGHT, 3 * WIDTH, 3)
        original, over, side = np.split(picture, 3, axis=1)
        assert abs(original.mean() - (60 + 25 * at)) < 4
        has_body = at in (0, 1, 2, 4)
        assert (bluish(over).sum() > 50) == has_body, at
        assert (bluish(side).sum() > 50) == has_body, at
    assert {path.name for path in tmp_path.iterdir()} == {"clip.mp4", "labels.parquet", "side.mp4"}


@pytest.mark.parametrize(
    ("suffix", "codec", "how"),
    [("mp4", "aac", "copied"), ("mkv", "pcm_s16le", "encoded as aac"), ("mkv", "flac", "copied")],
)
def test_the_sound_is_kept_where_it_was(suffix, codec, how, body, tmp_path):
    path = write_clip(tmp_path / f"clip.{suffix}", sound=codec, shift=0.2)
    summary = drawn(tmp_path, made_labels(body, path))
    assert summary.sound == how
    with av.open(str(tmp_path / "side.mp4")) as container:
        sound = container.streams.audio[0]
        assert sound.codec_context.name == ("aac" if how != "copied" else codec)
        assert sound.codec_context.sample_rate == RATE
        samples = sum(frame.samples for frame in container.decode(sound))
    # A tone of a second of which the pictures begin at 0.2.
    assert samples / RATE == pytest.approx(0.8, abs=0.15)
    with av.open(str(tmp_path / "side.mp4")) as container:
        times = [
            (packet.stream.type, float(packet.dts * packet.time_base))
            for packet in container.demux()
            if packet.dts is not None
        ]
    assert min(time for kind, time in times if kind == "audio") < 0.1


def test_sound_of_a_part_is_that_of_the_part(body, tmp_path):
    path = write_clip(tmp_path / "clip.mp4", sound="aac")
    options = dataclasses.replace(PAINTED, start_seconds=0.15, end_seconds=0.25)
    summary = drawn(tmp_path, made_labels(body, path), options=options)
    assert summary.num_frames == 3
    with av.open(str(tmp_path / "side.mp4")) as container:
        assert sum(frame.samples for frame in container.decode(audio=0)) / RATE < 0.3


def test_frames_are_those_that_the_run_looked_at(body, tmp_path):
    path = write_clip(tmp_path / "clip.mp4")
    run = {"config": {"frames": {"start_seconds": 0.03, "end_seconds": None, "stride": 2}, "limit_frames": 2}}
    summary = drawn(tmp_path, made_labels(body, path, frames=(1, 3)), run=run)
    assert (summary.num_frames, summary.num_people) == (2, 2)
    _, frames = read(tmp_path / "side.mp4")
    assert [round(picture[:, :WIDTH].mean()) for _, picture in frames] == pytest.approx([85, 135], abs=4)


def test_turned_videos_are_drawn_upright(body, tmp_path):
    path = write_clip(tmp_path / "clip.mp4", turn=90)
    summary = drawn(tmp_path, made_labels(body, path))
    _, frames = read(tmp_path / "side.mp4")
    assert summary.num_people == FRAMES
    assert frames[0][1].shape[:2] == (HEIGHT, 3 * WIDTH)


def test_two_people_are_both_drawn_and_failed_fits_are_not(body, tmp_path):
    path = write_clip(tmp_path / "clip.mp4")
    rows = made_labels(body, path, tracks=(0, 1))
    rows[3] = dataclasses.replace(rows[3], status="DIVERGED", label_id=rows[3].label_id)
    assert drawn(tmp_path, rows).num_people == 2 * FRAMES - 1


def test_labels_of_another_body_are_told_and_not_drawn(body, tmp_path):
    path = write_clip(tmp_path / "clip.mp4")
    rows = [*made_labels(body, path), *made_labels(body, path, tracks=(1,), body_model_sha256="0" * 64)]
    summary = drawn(tmp_path, rows)
    assert summary.num_people == FRAMES
    assert any("6 labels are of another body" in warning for warning in summary.warnings)


def _other_video(folder, rows):
    made_videos.write(folder / "clip.mp4", [np.zeros((HEIGHT, WIDTH, 3), np.uint8)])
    return rows


REFUSED = {
    "labels of photos, of which no video can be made": lambda folder, rows: [
        dataclasses.replace(row, time_seconds=None, fps=None) for row in rows[:1]
    ],
    "labels of 2 videos (clip.mp4, other.mp4); name one as --source=clip.mp4": lambda folder, rows: [
        rows[0], dataclasses.replace(rows[1], source_path="other.mp4"),
    ],
    "the video of the labels, 'clip.mp4', is not in the folder": lambda folder, rows: (
        (folder / "clip.mp4").unlink() or rows
    ),
    "is another file than the one that was labelled": _other_video,
    "'../clip.mp4', is not in the folder": lambda folder, rows: [
        dataclasses.replace(row, source_path="../clip.mp4") for row in rows
    ],
    "/x/...', is not in the folder": lambda folder, rows: [
        dataclasses.replace(row, source_path="x/" * 3000 + "y.mp4") for row in rows
    ],
    "several files that are all called clip.mp4": lambda folder, rows: [
        rows[0], dataclasses.replace(rows[1], source_sha256="1" * 64),
    ],
}  # fmt: skip


@pytest.mark.parametrize("message", list(REFUSED))
def test_labels_of_which_none_can_be_made_are_told(message, body, tmp_path):
    path = write_clip(tmp_path / "clip.mp4")
    rows = REFUSED[message](tmp_path, made_labels(body, path, frames=(0, 1)))
    with pytest.raises(OverlayVideoError) as caught:
        drawn(tmp_path, rows)
    assert message in str(caught.value)
    assert not (tmp_path / "side.mp4").exists()


def test_outputs_that_are_wrong_are_refused_before_any_work(body, tmp_path):
    path = write_clip(tmp_path / "clip.mp4")
    store.write_labels(tmp_path / "labels.parquet", made_labels(body, path, frames=(0,)))
    with pytest.raises(OverlayVideoError, match=r"ends in \.mp4"):
        overlay_video.write_overlay_video(tmp_path / "labels.parquet", tmp_path / "side.avi", pictures=tmp_path)
    with pytest.raises(OverlayVideoError, match="is the video of the labels"):
        overlay_video.write_overlay_video(tmp_path / "labels.parquet", path, pictures=tmp_path)
    with pytest.raises(OverlayVideoError, match="height of the pictures"):
        OverlayVideoOptions(height=10)
    path.rename(tmp_path / "other.mp4")
    with pytest.raises(OverlayVideoError, match="nothing says where the video"):
        overlay_video.write_overlay_video(tmp_path / "labels.parquet", tmp_path / "side.mp4")


@pytest.mark.parametrize("place", [".", "annotate"])
def test_the_same_file_beside_or_above_its_labels_is_found_and_no_other(body, tmp_path, place):
    path = write_clip(tmp_path / "clip.mp4")
    labels = tmp_path / place / "labels.parquet"
    store.write_labels(labels, made_labels(body, path, frames=(0,)))
    summary = overlay_video.write_overlay_video(labels, tmp_path / "side.mp4")
    assert summary.num_people > 0
    with path.open("ab") as file:
        file.write(b"\0")
    with pytest.raises(OverlayVideoError, match="nothing says where the video"):
        overlay_video.write_overlay_video(labels, tmp_path / "again.mp4")
    assert not (tmp_path / "again.mp4").exists()


def test_sound_of_mp3_is_copied_though_its_decoder_has_another_name(tmp_path):
    with av.open(str(tmp_path / "clip.mkv"), "w") as container:
        picture, sound = container.add_stream("libx264", rate=25), container.add_stream("libmp3lame", rate=44100)
        picture.width, picture.height, picture.pix_fmt = 64, 48, "yuv420p"
        sound.layout = "mono"
        for _ in range(10):
            container.mux(picture.encode(av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8))))
        container.mux(picture.encode())
        for start in range(0, 11520, 1152):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1152), np.float32), format="fltp", layout="mono")
            frame.sample_rate, frame.pts = 44100, start
            container.mux(sound.encode(frame))
        container.mux(sound.encode())
    assert video_sound.add_sound(tmp_path / "clip.mkv", tmp_path / "clip.mkv", tmp_path / "out.mp4") == "copied"
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert container.streams.audio[0].codec_context.codec.canonical_name == "mp3"


def test_an_earlier_video_stays_when_drawing_fails(body, tmp_path, monkeypatch):
    path = write_clip(tmp_path / "clip.mp4")
    (tmp_path / "side.mp4").write_bytes(b"before")

    def fail(*_, **__):
        raise OSError("disk")

    monkeypatch.setattr(overlay_video, "add_sound", fail)
    with pytest.raises(OSError, match="disk"):
        drawn(tmp_path, made_labels(body, path, frames=(0,)))
    assert (tmp_path / "side.mp4").read_bytes() == b"before"
    assert {path.name for path in tmp_path.iterdir()} == {"clip.mp4", "labels.parquet", "side.mp4"}


def test_the_floor_and_up_of_labels_are_taken_where_they_are_known(body, tmp_path):
    path = write_clip(tmp_path / "clip.mp4")
    # World: z up, the camera 1.3 m above the floor, bent down by 20 degrees.
    bend = np.radians(20)
    turn = np.array([[1, 0, 0], [0, -np.sin(bend), np.cos(bend)], [0, -np.cos(bend), -np.sin(bend)]])
    from scipy.spatial.transform import Rotation

    from hardmo_jax.body.pieces import move_in_pieces
    from hardmo_jax.pipelines.label_rows import params_of_labels

    rows = made_labels(body, path)
    moved = move_in_pieces(body, params_of_labels(rows, body), turn, np.array([0.0, 0.0, 1.3]))
    in_world = [
        dataclasses.replace(row, world_global_orient=orient, world_transl=transl)
        for row, orient, transl in zip(rows, np.asarray(moved.global_orient), np.asarray(moved.transl), strict=True)
    ]
    assert Rotation.from_matrix(turn).magnitude() > 0
    views = side_views.side_views({row.frame_index: [row] for row in in_world}, body, frames_per_second=25.0)
    np.testing.assert_allclose(views[0].up, turn[2], atol=1e-4)
    assert views[0].floor == pytest.approx(-1.3, abs=1e-3)
    unknown = side_views.side_views({row.frame_index: [row] for row in rows}, body, frames_per_second=25.0)
    np.testing.assert_allclose(unknown[0].up, (0, -1, 0))
    lowest = min(-np.nanmax(row.keypoints_3d[:, 1]) for row in rows)
    assert unknown[0].floor == pytest.approx(lowest, abs=0.1)
    assert set(unknown) == set(range(FRAMES))


def test_a_video_without_sound_stays_as_it_is(tmp_path):
    path = write_clip(tmp_path / "clip.mp4")
    assert video_sound.add_sound(path, path, tmp_path / "out.mp4") is None
    first, second = (read(one)[1] for one in (path, tmp_path / "out.mp4"))
    assert all(np.array_equal(one[1], other[1]) for one, other in zip(first, second, strict=True))
