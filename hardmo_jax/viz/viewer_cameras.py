"""Where browsers look from: through the camera of the picture, close to a part, or from the side."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from hardmo_jax.array_types import Float
from hardmo_jax.viz.shown import ShownScene

#: Views, as buttons call them.
PICTURE, ZOOM, SIDE = "Picture (V)", "Zoom (X)", "Side"
VIEWS = (PICTURE, ZOOM, SIDE)
#: Camera farther than this from that of the picture has been moved, metres.
_AT_CAMERA = 1e-3
#: Cosine of an angle that is none.
_SAME_WAY = 0.99999
_MARGIN = 1.04
#: Tangent of half the widest angle that is looked at.
_WIDEST = 4.0
#: Width of the panel and what is beside it; windows up to this width have it below the scene.
_PANEL_PIXELS, _PHONE_PIXELS = 340.0, 770.0
_FREE_OF_PHONE = 0.55


class ViewerCameras:
    """The cameras of all browsers of a server."""

    def __init__(self, server: Any, changed: Callable[[], None]) -> None:
        """Follow the browsers of a server.

        Args:
            server: Of viser.
            changed: Told when one looks from elsewhere.
        """
        self._server = server
        self._changed = changed
        # Where browsers look that look through the camera of the picture.
        self._through: dict[int, np.ndarray] = {}
        # Browsers that were told to look from there and have not said yet that they do: what they say is old.
        self._told: set[int] = set()
        # What they were turned to last, until somebody goes elsewhere.
        self._view: dict[int, str] = {}
        self.holds = False
        """Whether who looks through the camera of the picture stays there: a slip of the hand must not lead away."""
        self.scene: ShownScene | None = None
        """What is looked at."""
        server.on_client_connect(self._welcome)
        server.on_client_disconnect(self._gone)

    def is_through(self, client: Any) -> bool:
        """Whether a browser looks through the camera of the picture."""
        return client.client_id in self._through

    def through(self) -> list[Any]:
        """Browsers that do."""
        return [client for client in self._server.get_clients().values() if self.is_through(client)]

    @property
    def anybody_is_through(self) -> bool:
        """Whether there is one."""
        return bool(self._through)

    def look_at_picture(self) -> None:
        """Turn the cameras of all browsers to the picture."""
        for client in self._server.get_clients().values():
            self.look(client, PICTURE)

    def look_at_other(self) -> None:
        """Turn those to the new one that look closely at what was looked at before."""
        for client in self._server.get_clients().values():
            view = self._view.get(client.client_id)
            if view in (ZOOM, SIDE):
                self.look(client, view)

    def _gone(self, client: Any) -> None:
        self._through.pop(client.client_id, None)
        self._told.discard(client.client_id)
        self._view.pop(client.client_id, None)
        self._changed()

    def _welcome(self, client: Any) -> None:
        self.look(client, PICTURE)

        async def moved(_: Any) -> None:
            self._moved(client)

        client.camera.on_update(moved)

    def _moved(self, client: Any) -> None:
        """Keep a browser that looks through the picture's camera there: it zooms and turns where others go and slide.

        Going about something with the mouse leaves it; then points are placed in space.
        """
        former = self._through.get(client.client_id)
        position = np.asarray(client.camera.position, np.float64)
        is_there = np.linalg.norm(position) < _AT_CAMERA
        if client.client_id in self._told and not is_there:
            return
        self._told.discard(client.client_id)
        if former is None and is_there:
            # A word that was under way when it was turned to the picture.
            self._through[client.client_id] = np.asarray(client.camera.look_at, np.float64)
        if former is not None and not is_there:
            towards = np.asarray(client.camera.look_at, np.float64) - position
            direction = former / np.linalg.norm(former)
            if direction @ towards / np.linalg.norm(towards) > _SAME_WAY:
                factor = float(np.linalg.norm(towards) / np.linalg.norm(former))
                aside = position - (position @ direction) * direction
                self._through[client.client_id] = look_at = former + aside
                tangent = min(factor * math.tan(client.camera.fov / 2), _WIDEST)
                self._turn(client, look_at, tangent)
            elif self.holds:
                self._turn(client, former, math.tan(client.camera.fov / 2))
            else:
                del self._through[client.client_id]
                self._view.pop(client.client_id, None)
        self._changed()

    def look(self, client: Any, name: str) -> None:
        """Turn the camera of a browser.

        Args:
            client: Of viser; None turns nothing.
            name: One of `VIEWS`.
        """
        scene = self.scene
        if scene is None or client is None:
            return
        width, height = scene.image_size
        aspect = float(client.camera.aspect) or 1.5
        target = np.asarray(scene.target, np.float64)
        with client.atomic():
            client.camera.up_direction = (0.0, -1.0, 0.0)
            client.camera.near = 0.02
            if name == SIDE:
                distance = max(3.0 * scene.target_radius, 1.2)
                self._through.pop(client.client_id, None)
                self._told.discard(client.client_id)
                self._view[client.client_id] = name
                client.camera.position = tuple(target + np.array([distance, -0.1 * distance, 0.0]))
                client.camera.look_at = tuple(target)
                client.camera.fov = math.radians(50)
                return
            # What the panel leaves free of the window: it lies at the right, on telephones below.
            window = float(client.camera.image_width)
            free = (1.0 - _PANEL_PIXELS / window, 1.0) if window > _PHONE_PIXELS else (1.0, _FREE_OF_PHONE)
            if name == ZOOM:
                corners = np.asarray(scene.close_up, np.float64)
            else:
                across, down = width - 0.5, height - 0.5
                pixels = np.array([[-0.5, -0.5], [across, -0.5], [-0.5, down], [across, down]])
                corners = np.concatenate([(pixels - scene.principal_point) / scene.focal_length, np.ones((4, 1))], 1)
            look_at, tangent = framed(corners * target[2] / corners[:, 2:], aspect, free)
            self._through[client.client_id] = look_at
            self._view[client.client_id] = name
            self._turn(client, look_at, tangent)
        self._changed()

    def _turn(self, client: Any, look_at: Float[np.ndarray, "3"], tangent: float) -> None:
        """Look through the camera of the picture."""
        if np.linalg.norm(client.camera.position) >= _AT_CAMERA:
            self._told.add(client.client_id)
        with client.atomic():
            client.camera.position = (0.0, 0.0, 0.0)
            client.camera.look_at = tuple(look_at)
            client.camera.fov = float(2 * math.atan(tangent))


def framed(
    corners: Float[np.ndarray, "C 3"], aspect: float, free: tuple[float, float]
) -> tuple[Float[np.ndarray, "3"], float]:
    """Where a camera at the origin looks, and the tangent of half its angle, to see some points beside a panel.

    Args:
        corners: Points that are to be seen.
        aspect: Width of the window over its height.
        free: Share of its width, from the left, and of its height, from the top, that no panel covers.
    """
    rays = corners / corners[:, 2:]
    middle = (rays.min(0) + rays.max(0)) / 2 * corners[:, 2].mean()
    tangent = 0.02
    while True:
        # Turned to the right or down, so that the middle of what is looked at lies in the middle of what is free.
        aside, below = (1.0 - free[0]) * tangent * aspect, (1.0 - free[1]) * tangent
        axes = level_axes(middle)
        look_at = np.linalg.norm(middle) * np.array([aside, below, 1.0]) @ axes
        seen = corners @ level_axes(look_at).T
        across = seen[:, 0] / seen[:, 2] / (tangent * aspect)
        down = seen[:, 1] / seen[:, 2] / tangent
        most = 1 / _MARGIN
        is_inside = (across >= -most) & (across <= (2 * free[0] - 1) * most)
        is_inside &= (down >= -most) & (down <= (2 * free[1] - 1) * most)
        if (is_inside & (seen[:, 2] > 0)).all() or tangent > _WIDEST:
            return look_at, tangent
        tangent *= 1.03


def level_axes(forward: Float[np.ndarray, "3"]) -> Float[np.ndarray, "3 3"]:
    """Rows right, down and forward of a level camera."""
    forward = forward / np.linalg.norm(forward)
    right = np.cross([0.0, 1.0, 0.0], forward)
    right /= np.linalg.norm(right)
    return np.stack([right, np.cross(forward, right), forward])
