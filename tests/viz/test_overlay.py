import fractions
import os
import pathlib

import numpy as np
import pytest

from hardmo_jax.rendering import painter
from hardmo_jax.skeleton import layouts
from hardmo_jax.viz import overlay

DATA = pathlib.Path(os.environ.get("HARDMO_DATA", pathlib.Path(__file__).resolve().parents[3] / "shared" / "data"))
PAINTER = painter.PainterRenderer()
CAMERA = {"focal_length": np.array([200.0, 200.0]), "principal_point": np.array([99.5, 59.5])}


def make_photo(height=120, width=200, value=120):
    return np.full((height, width, 3), value, np.uint8)


def make_quad(x=0.0, depth=2.0, size=0.3, **options):
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * size
    vertices = np.concatenate([corners + np.array([x, 0]), np.full((4, 1), depth)], axis=1)
    faces = np.array([[0, 1, 2], [0, 2, 3]])
    return overlay.OverlayPerson(vertices_camera=vertices, faces=faces, **options)


def draw(photo, people, **style):
    return overlay.draw_overlay(photo, people, **CAMERA, renderer=PAINTER, style=overlay.OverlayStyle(**style))


def make_keypoints(**positions):
    points, confidence = np.zeros((67, 2)), np.zeros(67)
    layout = layouts.get_layout("openpose67")
    for name, position in positions.items():
        points[layout.index(name)] = position
        confidence[layout.index(name)] = 1.0
    return {"keypoints_2d": points, "confidence": confidence}


def test_photo_without_people_is_returned_unchanged():
    photo = np.random.default_rng(0).integers(0, 256, (120, 200, 3), np.uint8)
    assert np.array_equal(draw(photo, []), photo)


def test_photo_given_is_never_changed():
    photo = make_photo()
    draw(photo, [make_quad(bbox=np.array([10, 10, 90, 90]), text="MAX_STEPS", **make_keypoints(nose=(50, 50)))])
    assert (photo == 120).all()


def test_mesh_is_drawn_where_the_camera_sees_it_and_nowhere_else():
    changed = (draw(make_photo(), [make_quad()]) != 120).any(axis=2)
    assert changed[32:88, 72:128].all()
    assert not changed[:24].any()
    assert not changed[:, :64].any()


def test_opacity_zero_and_one_show_photo_and_mesh_alone():
    dark, light = make_photo(value=0), make_photo(value=255)
    person = make_quad()
    assert np.array_equal(draw(dark, [person], mesh_opacity=0.0), dark)
    inside = slice(40, 80), slice(80, 120)
    first, second = (draw(photo, [person], mesh_opacity=1.0)[inside] for photo in (dark, light))
    assert np.array_equal(first, second)


def test_nearer_person_hides_the_farther_one():
    near = make_quad(depth=2.0, colour=(1.0, 0.0, 0.0))
    far = make_quad(depth=3.0, colour=(0.0, 0.0, 1.0), size=0.45)
    for people in ([near, far], [far, near]):
        red, _, blue = draw(make_photo(), people, mesh_opacity=1.0)[60, 100]
        assert red > blue + 50


def test_each_track_has_its_own_colour():
    colours = [overlay.track_colour(track) for track in range(40)]
    assert len({tuple(round(255 * part) for part in colour) for colour in colours}) == 40
    assert all(0 <= part <= 1 for colour in colours for part in colour)
    assert overlay.track_colour(-1) != overlay.track_colour(0)


def test_left_and_right_keypoints_have_different_colours():
    person = overlay.OverlayPerson(**make_keypoints(left_knee=(40, 60), right_knee=(160, 60)))
    picture = draw(make_photo(), [person])
    assert tuple(picture[60, 40]) == overlay.LEFT_COLOUR
    assert tuple(picture[60, 160]) == overlay.RIGHT_COLOUR


def test_finger_dots_are_smaller_than_body_dots():
    def extent(name):
        frame = make_keypoints(left_ankle=(20, 10), right_ankle=(180, 110)) if name is None else None
        points = frame or make_keypoints(left_ankle=(20, 10), right_ankle=(180, 110), **{name: (100, 60)})
        picture = draw(make_photo(), [overlay.OverlayPerson(**points)])
        return (picture[40:80, 80:120] != 120).any(axis=2).sum()

    assert 0 < extent("left_index2") < extent("left_knee")


def test_uncertain_absent_and_infinite_keypoints_are_not_drawn():
    points = make_keypoints(left_knee=(40, 60), nose=(100, 60), neck=(np.nan, 3), mid_hip=(np.inf, 1))
    points["confidence"][layouts.get_layout("openpose67").index("left_knee")] = 0.1
    points["confidence"][layouts.get_layout("openpose67").index("nose")] = 0.0
    assert (draw(make_photo(), [overlay.OverlayPerson(**points)], min_confidence=0.2) == 120).all()


def test_keypoints_of_another_layout_are_refused_with_both_sizes():
    person = overlay.OverlayPerson(keypoints_2d=np.zeros((25, 2)))
    with pytest.raises(ValueError, match=r"\(67, 2\) for layout 'openpose67', got \(25, 2\)"):
        draw(make_photo(), [person])


@pytest.mark.parametrize("bbox", [[-50, -50, 500, 500], [190, 110, 260, 180], [-900, 3, -800, 20], [5, 5, 5, 5]])
def test_box_and_text_beyond_the_picture_do_no_harm(bbox):
    person = overlay.OverlayPerson(track_id=3, bbox=np.array(bbox), text="NO_EVIDENCE ünï 日本 " * 5)
    assert draw(make_photo(), [person], show_box=True).shape == (120, 200, 3)


def test_text_changes_the_picture_only_when_wanted():
    person = overlay.OverlayPerson(bbox=np.array([50, 50, 100, 100]), text="CONVERGED")
    assert (draw(make_photo(), [person]) != 120).any()
    assert (draw(make_photo(), [person], show_text=False) == 120).all()


def test_text_of_a_person_without_box_and_keypoints_stands_at_its_mesh():
    with_text, without = (draw(make_photo(), [make_quad(text=text)]) for text in ("CONVERGED", ""))
    rows, columns = np.nonzero((with_text != without).any(axis=2))
    assert 0 < rows.min() < 32
    assert 60 < columns.min() < 72


def test_tiny_picture_can_carry_everything():
    person = make_quad(bbox=np.array([0, 0, 1, 1]), text="x", **make_keypoints(nose=(0, 0), left_knee=(0, 0)))
    assert draw(make_photo(1, 1), [person], show_box=True).shape == (1, 1, 3)


def test_large_photo_is_scaled_with_its_camera_and_points():
    person = make_quad(**make_keypoints(left_knee=(40, 60), right_knee=(160, 60)))
    small = draw(make_photo(), [person])
    scaled = overlay.draw_overlay(
        make_photo(480, 800),
        [make_quad(**make_keypoints(left_knee=(161.5, 241.5), right_knee=(641.5, 241.5)))],
        focal_length=np.array([800.0, 800.0]),
        principal_point=np.array([399.5, 239.5]),
        renderer=PAINTER,
        style=overlay.OverlayStyle(max_side=200),
    )
    assert scaled.shape == small.shape
    assert np.abs(scaled.astype(int) - small).max() <= 2


def test_side_by_side_puts_the_untouched_photo_on_the_left():
    photo = make_photo()
    picture = draw(photo, [make_quad()], side_by_side=True)
    assert picture.shape == (120, 400, 3)
    assert np.array_equal(picture[:, :200], photo)
    assert np.array_equal(picture[:, 200:], draw(photo, [make_quad()]))


@pytest.mark.parametrize("bad", [np.zeros((3, 3)), np.zeros((3, 3, 3)), np.zeros((0, 3, 3), np.uint8)])
def test_what_is_no_picture_is_refused(bad):
    # Under the tests' type checks the wrong shape or type is a TypeError.
    with pytest.raises((ValueError, TypeError)):
        draw(bad, [])


def test_style_out_of_range_is_refused():
    with pytest.raises(ValueError, match="mesh_opacity"):
        overlay.OverlayStyle(mesh_opacity=1.5)
    with pytest.raises(ValueError, match="max_side"):
        overlay.OverlayStyle(max_side=0)


# Files


def read_png(path):
    import cv2

    return cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]


def test_png_round_trips_under_a_non_ascii_name(tmp_path):
    picture = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    path = overlay.write_png(tmp_path / "Größe 日本" / "tänzer 1.png", picture)
    assert np.array_equal(read_png(path), picture)
    assert len(list(path.parent.iterdir())) == 1


def read_video(path):
    import av

    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        info = stream.codec_context.name, stream.codec_context.pix_fmt, stream.average_rate
        frames = list(container.decode(stream))
        return info, [frame.to_ndarray(format="rgb24") for frame in frames], [frame.time for frame in frames]


def make_frames(count, height=47, width=63):
    for index in range(count):
        frame = make_photo(height, width, 40)
        frame[:, : 4 * (index + 1)] = (220, 40, 40)
        yield frame


@pytest.mark.parametrize("fps", [25, 29.97, fractions.Fraction(30000, 1001), 12.5])
def test_video_is_h264_of_even_size_and_right_rate_with_all_frames(tmp_path, fps):
    path = tmp_path / "überlagert 1.mp4"
    with overlay.VideoOverlayWriter(path, fps) as writer:
        for frame in make_frames(12):
            writer.add(frame)
    (codec, pixel_format, rate), frames, times = read_video(path)
    assert (codec, pixel_format) == ("h264", "yuv420p")
    assert float(rate) == pytest.approx(float(fps), rel=2e-3)
    assert len(frames) == 12
    assert frames[0].shape == (48, 64, 3)
    assert times[-1] == pytest.approx(11 / float(fps), abs=1e-3)
    assert np.abs(frames[5][20, 5].astype(int) - [220, 40, 40]).max() < 25


def test_video_index_stands_before_its_data(tmp_path):
    with overlay.VideoOverlayWriter(tmp_path / "a.mp4", 25) as writer:
        for frame in make_frames(3):
            writer.add(frame)
    data = (tmp_path / "a.mp4").read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")


def test_video_of_variable_rate_keeps_its_times(tmp_path):
    times = [0.0, 0.1, 0.15, 0.8]
    with overlay.VideoOverlayWriter(tmp_path / "a.mp4", 10) as writer:
        for frame, time in zip(make_frames(4), times, strict=True):
            writer.add(frame, time)
    assert np.allclose(read_video(tmp_path / "a.mp4")[2], times, atol=1e-3)


def add_all(writer, frames, times=None):
    for index, frame in enumerate(frames):
        writer.add(frame, None if times is None else times[index])


def test_time_that_does_not_grow_is_refused(tmp_path):
    path = tmp_path / "a.mp4"
    with pytest.raises(ValueError, match="must grow"), overlay.VideoOverlayWriter(path, 10) as writer:
        add_all(writer, make_frames(2), [0.5, 0.5])
    assert list(tmp_path.iterdir()) == []


def test_interrupted_video_leaves_the_former_file_and_no_temporary_one(tmp_path):
    path = tmp_path / "a.mp4"
    path.write_bytes(b"former")

    def frames():
        yield from make_frames(2)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), overlay.VideoOverlayWriter(path, 25) as writer:
        add_all(writer, frames())
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.mp4"]
    assert path.read_bytes() == b"former"


def test_video_without_frames_is_refused_and_leaves_nothing(tmp_path):
    with pytest.raises(ValueError, match="no frame was added"), overlay.VideoOverlayWriter(tmp_path / "a.mp4", 25):
        pass
    assert list(tmp_path.iterdir()) == []


def test_frames_of_other_sizes_are_fitted_into_the_first(tmp_path):
    with overlay.VideoOverlayWriter(tmp_path / "a.mp4", 25, max_side=64) as writer:
        writer.add(make_photo(48, 64))
        writer.add(make_photo(64, 48))
        writer.add(make_photo(480, 640))
        writer.add(make_photo(10, 10))
    frames = read_video(tmp_path / "a.mp4")[1]
    assert [frame.shape for frame in frames] == [(48, 64, 3)] * 4
    assert frames[1][24, 2].max() < 20  # black at the sides
    assert abs(int(frames[1][24, 32, 0]) - 120) < 10


@pytest.mark.parametrize("fps", [0, -1.0, float("nan"), float("inf"), 1e6])
def test_impossible_rate_is_refused(tmp_path, fps):
    with pytest.raises(ValueError, match="fps"):
        overlay.VideoOverlayWriter(tmp_path / "a.mp4", fps)


def test_other_container_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"\.mp4"):
        overlay.VideoOverlayWriter(tmp_path / "a.avi", 25)


def test_frame_outside_the_with_block_is_refused(tmp_path):
    with pytest.raises(ValueError, match="inside `with"):
        overlay.VideoOverlayWriter(tmp_path / "a.mp4", 25).add(make_photo())


def test_real_photo_carries_mesh_and_marks():
    from hardmo_jax.perception import video

    path = DATA / "media" / "images" / "CameraHMR" / "pexels-bertellifotografia-3856033.jpg"
    if not path.exists():
        pytest.skip(f"needs the shared media; set HARDMO_DATA ({DATA})")
    image = next(video.open_media(path).frames()).image
    height, width = image.shape[:2]
    picture = overlay.draw_overlay(
        image,
        [make_quad(bbox=np.array([0.2 * width, 0.2 * height, 0.6 * width, 0.9 * height]), text="CONVERGED")],
        focal_length=np.array([width, width]),
        principal_point=np.array([width, height]) / 2,
        renderer=PAINTER,
        style=overlay.OverlayStyle(max_side=400, show_box=True),
    )
    assert max(picture.shape) == 400
