"""Videos of all kinds from file to labels: shared ones, and those that are made of a few frames of one person."""

import json
import re

import cv2
import numpy as np
import pytest

from hardmo_jax.labels import store
from hardmo_jax.perception import video
from hardmo_jax.pipelines import annotate_many, demo_clip
from tests.conftest import data_folder
from tests.perception import made_videos
from tests.tools.command_line import ROOT, run_each

SMOKE = (
    f"--config={ROOT}/configs/normal.py:smoke",
    "--config.output.overlay=False",
    "--config.output.part_scores=False",
    "--config.perception.hands=False",
)
#: Keypoints of the same frames in another file, shares of the person's box: the median of the trusted ones of the body,
#: and of the worst of these. BlazePose's points move by that when a few levels of grey do.
SAME_BOUND, WORST_BOUND = 0.01, 0.08
TRUSTED = 0.5
USAGE_STATUS = 2
FRAMES, HEIGHT = 4, 480
SHARED = {
    "mmhuman3d_single_person_demo.mp4": 1,
    "mmhuman3d_multi_person_demo.mp4": 2,
    "mmpose_demo.mp4": 1,
}


@pytest.fixture(scope="module")
def pictures():
    """A few frames of a real person, or of one of the two of the packaged clip, whom a pillar parts."""
    shared = data_folder() / "media" / "videos" / "mmhuman3d_single_person_demo.mp4"
    path = shared if shared.is_file() else demo_clip.ASSETS / demo_clip.CLIP
    images = [frame.image for frame in video.open_media(path).frames(stop=FRAMES)]
    if path != shared:
        images = [np.ascontiguousarray(image[:, : image.shape[1] // 2]) for image in images]
    size = round(images[0].shape[1] * HEIGHT / images[0].shape[0]) // 2 * 2, HEIGHT
    return [cv2.resize(image, size, interpolation=cv2.INTER_AREA) for image in images]


@pytest.fixture(scope="module")
def labelled(pictures, perception_models, tmp_path_factory):
    """All videos through one call of the tool: how it ended, labels and records by what is special about the video."""
    folder = tmp_path_factory.mktemp("videos")
    made = {name: make(folder, pictures) for name, make in {**made_videos.SAME, **made_videos.OTHER}.items()}
    shared = {path.name: path for path in sorted((data_folder() / "media" / "videos").glob("*.mp4"))}
    refused = {name: make(folder, pictures) for name, (make, _) in made_videos.REFUSED.items()}
    sources = {**made, **shared, **refused}
    line = [*SMOKE, f"--limit={FRAMES}", f"--output_dir={folder / 'out'}"]
    # A name that begins with a dash, as it is typed in its own folder.
    inputs = [f"--input={path.name if path.name.startswith('-') else path}" for path in sources.values()]
    (done,) = run_each("annotate", [[*line, *inputs]], cwd=folder, timeout=600)
    names = annotate_many.folder_names(list(sources.values()))
    found = {}
    for name, output in zip(sources, names, strict=True):
        path = folder / "out" / output
        if (path / "labels.parquet").is_file():
            found[name] = (
                store.read_labels(path / "labels.parquet").rows,
                json.loads((path / "run.json").read_text()),
            )
    return done, found, sources


def test_every_video_is_labelled_or_refused_by_name(labelled):
    done, found, sources = labelled
    assert "Traceback" not in done.stderr
    assert set(found) == set(sources) - set(made_videos.REFUSED)
    for name, (_, message) in made_videos.REFUSED.items():
        assert any(sources[name].name in line and message in line for line in done.stderr.splitlines()), name
    assert len(made_videos.SAME) + len(made_videos.OTHER) + len(made_videos.REFUSED) >= 20


def test_alone_they_are_refused_in_one_line(labelled, tmp_path):
    _, _, sources = labelled
    lines = [
        [*SMOKE, f"--input={sources[name]}", f"--output_dir={tmp_path / str(number)}"]
        for number, name in enumerate(made_videos.REFUSED)
    ]
    for (_, message), done in zip(made_videos.REFUSED.values(), run_each("annotate", lines), strict=True):
        assert done.returncode == USAGE_STATUS
        (error,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
        assert message in error
    assert not any(tmp_path.iterdir()), "nothing is begun"


def _apart(rows, others, scale=1.0):
    """Median and largest distance of trusted body points, shares of the box."""
    apart = []
    for row, other in zip(rows, others, strict=True):
        side = float(np.max(row.bbox[2:] - row.bbox[:2]))
        trusted = (row.keypoint_confidence[:25] >= TRUSTED) & (other.keypoint_confidence[:25] >= TRUSTED)
        assert trusted.sum() >= 8
        apart.append(np.linalg.norm(row.keypoints_2d - other.keypoints_2d, axis=1)[:25][trusted] / side)
    return float(np.median(np.concatenate(apart))), float(np.concatenate(apart).max())


@pytest.mark.parametrize("name", [name for name in made_videos.SAME if name != "plain"])
def test_the_same_frames_in_another_file_give_the_same_labels(name, labelled, figure):
    _, found, _ = labelled
    plain, others = found["plain"][0], found[name][0]
    assert [row.frame_index for row in others] == list(range(FRAMES))
    assert len({row.track_id for row in others}) == 1
    median, worst = _apart(plain, others)
    figure(f"annotate video  {name}: points off by {100 * median:.2f} % of the box, at most {100 * worst:.1f} %")
    assert median < SAME_BOUND
    assert worst < WORST_BOUND


def test_times_are_those_of_the_file(labelled):
    _, found, _ = labelled
    for name, times in (
        ("plain", np.arange(FRAMES) * made_videos.STEP),
        ("B frames", np.arange(FRAMES) * made_videos.STEP),
        ("variable rate", made_videos.IRREGULAR),
        ("GIF", 2 * np.arange(FRAMES) * made_videos.STEP),
    ):
        told = [row.time_seconds for row in found[name][0]]
        np.testing.assert_allclose(told, np.array(times) * float(made_videos.TICK), atol=1e-3, err_msg=name)


def test_what_is_odd_is_told(labelled):
    done, _, sources = labelled
    told = " ".join(done.stdout.split())
    for name, message in (
        ("PQ", "high dynamic range (PQ)"),
        ("HLG", "high dynamic range (HLG)"),
        ("damaged at the beginning", "damaged packets"),
        ("pixels that are not square", "pixels are not square (4/3)"),
    ):
        assert re.search(rf"{sources[name].name}: [^:]*{re.escape(message)}", told), name
    assert told.count("high dynamic range") == 2, "ten bits alone are none"


@pytest.mark.parametrize("name", list(made_videos.OTHER))
def test_what_is_left_of_a_video_is_labelled(name, labelled):
    rows = labelled[1][name][0]
    assert len({row.frame_index for row in rows}) == (1 if name == "a lone frame" else FRAMES)


@pytest.mark.parametrize("name", list(SHARED))
def test_shared_videos_are_labelled(name, labelled, reference_data):
    if not (reference_data / "media" / "videos" / name).is_file():
        pytest.skip(f"no {name}")
    rows = labelled[1][name][0]
    assert {row.frame_index for row in rows} == set(range(FRAMES))
    assert len({row.track_id for row in rows}) >= SHARED[name]
    errors = [row.error_by_part["body"] for row in rows if row.error_by_part["body"] is not None]
    assert np.median(errors) < 0.03
