"""A pair of hands for the viewer: finds points on the screen, drags them there, and presses keys."""

import time

import numpy as np
from scipy.spatial.transform import Rotation


class Robot:
    """Works a viewer in one browser page."""

    def __init__(self, page, opened):
        self.page, self.opened = page, opened
        page.goto(opened.address)
        page.wait_for_selector("canvas[data-engine]")
        self.until(lambda: self.client is not None and self.client.camera.image_width > 0)
        self.until(lambda: np.linalg.norm(self.client.camera.position) < 0.02)
        self.settle()

    @property
    def viewer(self):
        return self.opened.viewer

    @property
    def client(self):
        clients = list(self.viewer.server.get_clients().values())
        return clients[-1] if clients else None

    def until(self, is_so, seconds=60.0):
        end = time.monotonic() + seconds
        while not is_so():
            if time.monotonic() > end:
                raise TimeoutError("the viewer did not get there")
            self.page.wait_for_timeout(30)

    def settle(self):
        """Wait until the session is done, and the browser has drawn it."""
        self.page.wait_for_timeout(100)
        assert self.opened.session.wait()
        self.page.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
        self.page.wait_for_timeout(100)

    def press(self, key):
        self.page.keyboard.press(key)
        self.settle()

    def click(self, name):
        self.page.get_by_role("button", name=name, exact=True).first.click()
        self.settle()

    def says(self, text):
        """Whether the panel shows a text."""
        return self.page.get_by_text(text).count() > 0

    def on_screen(self, place):
        """Where a point of the scene is on the screen, pixels."""
        camera = self.client.camera
        width, height = self.page.viewport_size["width"], self.page.viewport_size["height"]
        turn = Rotation.from_quat(np.roll(camera.wxyz, -1)).as_matrix()
        x, y, z = turn.T @ (np.asarray(place, float) - camera.position)
        scale = height / 2 / np.tan(camera.fov / 2)
        return width / 2 + x / z * scale, height / 2 + y / z * scale

    def place(self, goals, rounds=3):
        """Drag handles to pixels; one that another hides comes to light when that one has been moved."""
        for _ in range(rounds):
            for name in [name for name in goals if name not in self.opened.session.placed]:
                self.drag(name, goals[name])

    def drag(self, name, pixel):
        """Drag a handle to where a pixel of the picture is."""
        handle = self.viewer.handles[name]
        scene = self.viewer.scene
        ray = np.append((np.asarray(pixel) - scene.principal_point) / scene.focal_length, 1.0)
        start, end = self.on_screen(handle.position), self.on_screen(ray * handle.position[2])
        mouse = self.page.mouse
        mouse.move(*start)
        self.page.wait_for_timeout(60)
        mouse.down()
        for share in (0.25, 0.5, 0.75, 1.0, 1.0):
            mouse.move(*(np.array(start) * (1 - share) + np.array(end) * share))
            self.page.wait_for_timeout(40)
        mouse.up()
        self.settle()
