"""The viewer's server: on this machine alone, with texts that are texts, and cameras that see what they are to see."""

import socket
import urllib.request

import numpy as np
import pytest

from hardmo_jax.body import load
from hardmo_jax.skeleton import layouts
from hardmo_jax.viz import shown, viewer, viewer_cameras
from hardmo_jax.viz.mesh_parts import mesh_parts

pytest.importorskip("viser", reason="the viewer needs viser, of the extra `viz`")

PAYLOADS = ("<script>alert(1)</script>", "{alert(1)}", "<img src=x onerror=alert(1)>", "'\"><svg onload=alert(1)>")


def ignore(self, *arguments):
    del self, arguments


class Actions:
    """Nobody does anything."""

    go_through = step = show_picture = select = select_label = review = mark = ignore
    correct_by_hand = drag = undo = save = discard = ignore


@pytest.fixture(scope="module")
def served():
    body = load.open_body(view="smplh")
    found = viewer.Viewer(Actions(), mesh_parts(body), title=PAYLOADS[0], kinds=("feet",), num_pictures=3, port=8231)
    yield found
    found.close()


def panel(**changes):
    values = dict(
        label=("0" * 32, 1), case=PAYLOADS[0], picture=1, people=(PAYLOADS[2],), person=PAYLOADS[2],
        facts=tuple((payload, payload) for payload in PAYLOADS), parts=(("part",), (PAYLOADS[1],)),
        correction=PAYLOADS, timeline=None, message=PAYLOADS[0], is_wrong=True, can_undo=False, can_save=True,
    )  # fmt: skip
    return shown.ShownPanel(**{**values, **changes})


def test_it_listens_on_this_machine_alone_and_serves_its_page_without_a_network(served):
    with urllib.request.urlopen(f"http://127.0.0.1:{served.port}", timeout=10) as answer:
        page = answer.read().decode("utf-8", "replace")
    assert "<html" in page.lower()
    others = {entry[4][0] for entry in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)} - {"127.0.0.1"}
    for address in others:
        if address.startswith("127."):
            continue
        with socket.socket() as probe:
            probe.settimeout(2)
            assert probe.connect_ex((address, served.port)) != 0


def test_texts_of_files_are_shown_as_text(served):
    served.show_panel(panel())
    words = served._panel
    for handle in (words._case, words._facts, words._correction, words._message):
        assert handle.content
        assert not any(payload in handle.content for payload in PAYLOADS if "<" in payload)
        assert "<script" not in handle.content
        assert "<img" not in handle.content
    # Never viser's markdown, which takes what is in braces for a program.
    assert not any(type(handle).__name__ == "GuiMarkdownHandle" for handle in vars(words).values())


def test_a_panel_without_people_is_shown(served):
    served.show_panel(panel(people=(), person="", facts=(), parts=(), correction=(), message=""))
    assert served._panel._person.value == "-"
    assert served._panel._message.content == ""


@pytest.mark.parametrize("aspect", [16 / 9, 1.2, 0.5])
@pytest.mark.parametrize("free", [(1.0, 1.0), (0.73, 1.0), (1.0, 0.55)])
@pytest.mark.parametrize("middle", [(0.0, 0.0, 3.0), (1.4, -0.6, 2.0)])
def test_what_is_looked_at_lies_beside_the_panel(aspect, free, middle):
    size = np.array([[-0.3, -0.2, 0], [0.3, -0.2, 0], [-0.3, 0.2, 0], [0.3, 0.2, 0]])
    corners = np.array(middle) + size
    look_at, tangent = viewer_cameras.framed(corners, aspect, free)
    seen = corners @ viewer_cameras.level_axes(look_at).T
    across = seen[:, 0] / seen[:, 2] / (tangent * aspect)
    down = seen[:, 1] / seen[:, 2] / tangent
    assert across.min() >= -1
    assert across.max() <= 2 * free[0] - 1
    assert down.min() >= -1
    assert down.max() <= 2 * free[1] - 1
    assert max(np.abs(across).max(), np.abs(down).max()) > 0.3


def test_parts_of_a_mesh_are_all_of_it_each_face_once():
    body = load.open_body(view="smplh")
    parts = mesh_parts(body)
    assert tuple(parts) == layouts.PARTS
    faces = np.concatenate([part.vertices[part.faces] for part in parts.values()])
    assert len(faces) == len(body.faces)
    assert {tuple(face) for face in faces.tolist()} == {tuple(face) for face in np.asarray(body.faces).tolist()}
    joints = np.asarray(body.skinning_weights).argmax(1)
    toes = joints == body.joint_names.index("left_foot")
    assert set(np.flatnonzero(toes)) <= set(parts["left_foot"].vertices)
    index = joints == body.joint_names.index("right_index3")
    assert set(np.flatnonzero(index)) <= set(parts["right_hand"].vertices)
