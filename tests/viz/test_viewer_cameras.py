"""Cameras of browsers: told to look through the picture's camera they stay there, until somebody goes elsewhere."""

import asyncio
import contextlib
import dataclasses
import types

import numpy as np
import pytest

from hardmo_jax.viz.shown import ShownScene
from hardmo_jax.viz.viewer_cameras import PICTURE, SIDE, ZOOM, ViewerCameras


class Server:
    """As much of viser as cameras need."""

    def __init__(self):
        self.clients = {}

    def on_client_connect(self, callback):
        self.connected = callback

    def on_client_disconnect(self, callback):
        self.gone = callback

    def get_clients(self):
        return self.clients

    def connect(self, number=1, width=1280, height=800):
        """A browser that stands where viser puts it."""
        camera = types.SimpleNamespace(
            position=(3.0, 3.0, 3.0), look_at=(0.0, 0.0, 0.0), up_direction=(0, -1, 0), fov=1.0, near=0.1,
            aspect=width / height, image_width=width, image_height=height, updates=[],
        )  # fmt: skip
        camera.on_update = camera.updates.append
        client = types.SimpleNamespace(client_id=number, camera=camera, atomic=contextlib.nullcontext)
        self.clients[number] = client
        self.connected(client)
        return client


def says(client, position, look_at):
    """What a browser tells of its camera."""
    client.camera.position, client.camera.look_at = position, look_at
    for update in client.camera.updates:
        asyncio.run(update(None))


@pytest.fixture
def cameras():
    found = ViewerCameras(Server(), lambda: None)
    found.scene = ShownScene(
        image=None, image_size=(640, 480), focal_length=np.full(2, 600.0),
        principal_point=np.array([320.0, 240.0]),
        people=(), selected="", keypoints_2d=np.zeros((0, 2)), target=np.array([0.2, 0.1, 4.0]), target_radius=1.0,
        close_up=np.array([[0.0, 0.0, 4.0], [0.4, 0.2, 4.1]]), focus="a/left_foot",
    )  # fmt: skip
    return found


def test_what_a_browser_says_from_before_it_was_told_does_not_lead_it_away(cameras):
    client = cameras._server.connect()
    assert cameras.is_through(client)
    asked = client.camera.look_at
    says(client, (3.0, 3.0, 3.0), (0.0, 0.0, 0.0))
    assert cameras.is_through(client)
    says(client, (0.0, 0.0, 0.0), asked)
    assert cameras.is_through(client)


def test_going_about_something_leaves_the_picture_and_a_button_comes_back(cameras):
    client = cameras._server.connect()
    asked = client.camera.look_at
    says(client, (0.0, 0.0, 0.0), asked)
    says(client, (0.5, 0.0, 0.2), asked)
    assert not cameras.is_through(client)
    assert cameras.through() == []
    cameras.look(client, ZOOM)
    assert cameras.is_through(client)
    cameras.look(client, SIDE)
    assert not cameras.is_through(client)
    assert client.camera.position[0] > 1
    # A word that was under way when it was turned back, from the picture and then from elsewhere.
    cameras.look(client, PICTURE)
    says(client, (0.0, 0.0, 0.0), client.camera.look_at)
    says(client, (0.4, 0.0, 0.3), (0.2, 0.1, 4.0))
    cameras.look(client, PICTURE)
    del cameras._through[1]
    says(client, (0.0, 0.0, 0.0), client.camera.look_at)
    assert cameras.is_through(client)
    cameras.look(client, PICTURE)
    assert np.linalg.norm(client.camera.position) == 0


def test_going_nearer_becomes_a_smaller_angle_and_sliding_a_turn(cameras):
    client = cameras._server.connect()
    says(client, (0.0, 0.0, 0.0), client.camera.look_at)
    before = np.tan(client.camera.fov / 2)
    towards = np.array(client.camera.look_at)
    says(client, tuple(0.5 * towards), tuple(towards))
    assert np.linalg.norm(client.camera.position) == 0
    assert np.tan(client.camera.fov / 2) == pytest.approx(0.5 * before)
    np.testing.assert_allclose(np.array(client.camera.look_at), towards)
    says(client, (0.0, 0.0, 0.0), tuple(towards))
    aside = np.cross(towards, [0.0, 1.0, 0.0])
    aside *= 0.3 / np.linalg.norm(aside)
    says(client, tuple(aside), tuple(towards + aside))
    assert cameras.is_through(client)
    np.testing.assert_allclose(np.array(client.camera.look_at), towards + aside, atol=1e-9)


def test_a_slip_of_the_hand_does_not_lead_away_while_points_are_dragged(cameras):
    client = cameras._server.connect()
    asked = client.camera.look_at
    says(client, (0.0, 0.0, 0.0), asked)
    cameras.holds = True
    says(client, (0.5, 0.0, 0.2), asked)
    assert cameras.is_through(client)
    assert np.linalg.norm(client.camera.position) == 0
    np.testing.assert_allclose(client.camera.look_at, asked)


def test_who_looks_closely_looks_closely_at_the_next_one(cameras):
    client, other = cameras._server.connect(1), cameras._server.connect(2)
    cameras.look(client, ZOOM)
    before, picture = client.camera.look_at, other.camera.look_at
    cameras.scene = dataclasses.replace(
        cameras.scene, close_up=np.array([[1.0, 0.5, 3.0], [1.2, 0.7, 3.0]]), focus="a/right_foot"
    )
    cameras.look_at_other()
    assert np.linalg.norm(np.array(client.camera.look_at) - before) > 0.3
    assert other.camera.look_at == picture


def test_a_browser_that_is_gone_is_forgotten(cameras):
    client = cameras._server.connect()
    del cameras._server.clients[1]
    cameras._server.gone(client)
    assert not cameras.anybody_is_through
