"""The commands of a user without a network, from a photo to what others read: they run, and leak nothing."""

import subprocess
import sys

import numpy as np
import pytest

from hardmo_jax.labels import store
from hardmo_jax.viz import video_sound
from hardmo_jax.viz.overlay import VideoOverlayWriter
from tests.conftest import ROOT
from tests.perception import made_videos
from tests.reference import hostile_media, private_user
from tests.reference.private_user import WORD, PrivateUser

SMOKE = f"{ROOT}/configs"
#: Everything that labels of a photo can become.
FORMATS = "glb,bvh,amass,smpl,robot,spin,cliff,hmr2,hardmo,openpose,coco_wholebody,coco_named,hf"


@pytest.fixture(scope="module")
def user(perception_models, tmp_path_factory):
    home = tmp_path_factory.mktemp("disk") / WORD
    home.mkdir()
    return PrivateUser(home, perception_models)


@pytest.fixture(scope="module")
def ended(user, reference_data):
    """How each command of a session ended."""
    (user.home / "photos").mkdir()
    photo = reference_data / "keypoints2d/prohmr_openpose/pexels-anete-lusina-4793258.jpg"
    private_user.private_photo(photo, user.home / "photos" / "dancer.jpg")
    labels = f"--labels={user.home}/out/annotate"
    lines = {
        "annotate": (
            f"--config={SMOKE}/normal.py:smoke", f"--input={user.home}/photos",
            f"--output_dir={user.home}/out/annotate",
        ),
        "refine": (f"--config={SMOKE}/hand.py:smoke", f"--input={user.home}/out/annotate", "--subset=hand"),
        "report": (f"{user.home}/out/annotate",),
        "export": (
            labels, f"--format={FORMATS}", f"--output_dir={user.home}/out/export", "--fps=25",
            "--allow_unknown_licence", "--licence=cc-by-4.0", "--creator=somebody",
        ),
        "eval": (f"--config={SMOKE}/eval.py:smoke",),
        "demo": (f"--output_dir={user.home}/out/demo",),
    }  # fmt: skip
    return {tool: user.run(tool, *arguments) for tool, arguments in lines.items()}


@pytest.mark.slow
@pytest.mark.parametrize("tool", ["annotate", "refine", "report", "export", "eval", "demo"])
def test_commands_run_without_a_network(ended, tool):
    assert ended[tool].returncode == 0, ended[tool].stderr[-3000:]


@pytest.mark.slow
def test_commands_ask_nothing_of_a_network(ended, user):
    assert user.asked == ""


@pytest.mark.slow
def test_nothing_that_is_written_names_the_user_or_the_place(ended, user):
    assert len(store.read_labels(user.home / "out" / "annotate").rows) == 1
    names = [name for name, _ in private_user.contents(user.home / "out")]
    assert len([name for name in names if "packed" in name]) > 1, "pictures of reports are looked into"
    assert private_user.leaks(user.home / "out") == []


def test_the_search_finds_what_it_is_to_find(tmp_path):
    from PIL import Image

    Image.fromarray(hostile_media.pictures(1)[0]).save(tmp_path / "plain.jpg")
    (tmp_path / "out").mkdir()
    private_user.private_photo(tmp_path / "plain.jpg", tmp_path / "out" / "a.jpg")
    np.savez_compressed(tmp_path / "out" / "b.npz", name=np.array([WORD.encode()] * 9))
    found = private_user.leaks(tmp_path / "out")
    assert {line.split(":")[0] for line in found} == {"a.jpg", "b.npz"}
    assert any("Exif" in line for line in found)


def test_a_program_that_asks_the_network_is_noticed(tmp_path):
    (tmp_path / WORD).mkdir()
    user = PrivateUser(tmp_path / WORD, tmp_path / "models")
    user.run("no_such_tool")
    assert user.asked == ""
    code = "import urllib.request; urllib.request.urlopen('http://127.0.0.1:9')"
    environment = {"PYTHONPATH": str(tmp_path / "site"), "NETWORK_LOG": str(tmp_path / "network.log")}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, check=False)
    assert done.returncode != 0
    assert "getaddrinfo" in user.asked or "connect" in user.asked


def test_videos_that_are_drawn_carry_no_notes_of_their_source(tmp_path):
    import av

    source = tmp_path / "filmed.mp4"
    made_videos.write(tmp_path / "silent.mp4", hostile_media.pictures(6))
    with (
        av.open(str(tmp_path / "silent.mp4")) as silent,
        av.open(str(source), "w", options={"movflags": "use_metadata_tags"}) as output,
    ):
        output.metadata.update({"location": "+52.5200+013.4100/", "artist": WORD, "comment": WORD})
        picture = output.add_stream_from_template(silent.streams.video[0])
        sound = output.add_stream("aac", rate=44100)
        sound.metadata.update({"handler_name": WORD, "title": WORD})
        picture.metadata.update({"handler_name": WORD})
        for packet in silent.demux(silent.streams.video[0]):
            if packet.dts is not None:
                packet.stream = picture
                output.mux(packet)
        for at in range(10):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            frame.sample_rate, frame.pts = 44100, 1024 * at
            output.mux(sound.encode(frame))
        output.mux(sound.encode(None))
    assert source.read_bytes().count(WORD.encode()) >= 2
    (tmp_path / "out").mkdir()
    with VideoOverlayWriter(tmp_path / "drawn.mp4", fps=25.0) as writer:
        for picture in hostile_media.pictures(6):
            writer.add(picture)
    assert video_sound.add_sound(tmp_path / "drawn.mp4", source, tmp_path / "out" / "overlay.mp4") == "copied"
    assert private_user.leaks(tmp_path / "out", "+52.5200") == []
