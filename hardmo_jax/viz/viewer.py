"""Labels in a browser: people in 3D over their picture, and points that are dragged.

What is shown comes in as values (`viz.shown`), what somebody does goes out by `ViewerActions`; nothing here knows of
stores or solvers. The server listens on this machine alone.
"""

import math
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any

import numpy as np

from hardmo_jax.array_types import Float
from hardmo_jax.viz.local_server import local_server
from hardmo_jax.viz.mesh_parts import MeshPart
from hardmo_jax.viz.shown import ShownHandle, ShownPerson, ShownScene, ViewerActions
from hardmo_jax.viz.viewer_cameras import ViewerCameras
from hardmo_jax.viz.viewer_panel import ViewerPanel

#: Colours of parts from right to wrong, of parts that nothing is known of, and of what a person made.
_RIGHT, _DOUBTFUL, _WRONG = (88, 160, 110), (214, 178, 72), (205, 78, 62)
_UNKNOWN, _BY_HAND, _GHOST = (150, 150, 155), (84, 130, 205), (176, 120, 226)
_HANDLE, _ASIDE, _PLACED, _SEEN = (250, 250, 250), (165, 165, 165), (84, 130, 205), (255, 90, 200)
_HANDLE_PIXELS, _KEYPOINT_PIXELS = 6.0, 4.0
_NEARER = 0.97


class Viewer:
    """A server with one scene, which all its browsers share."""

    def __init__(
        self,
        actions: ViewerActions,
        parts: Mapping[str, MeshPart],
        *,
        title: str,
        kinds: Sequence[str],
        num_pictures: int,
        port: int,
        is_dark: bool = True,
    ) -> None:
        """Start to serve.

        Args:
            actions: Told what somebody does.
            parts: Of the mesh of the body, by part.
            title: Of the page.
            kinds: What can be gone through.
            num_pictures: How many there are.
            port: On this machine; the next free one is taken if it is not.
            is_dark: Dark or light page.

        Raises:
            hardmo_jax.missing_packages.MissingPackageError: If viser is not installed.
            hardmo_jax.viz.local_server.LocalServerError: If it cannot be kept to this machine.
        """
        self._actions = actions
        self._parts = parts
        self.server: Any = local_server(port, label="hardmo_jax")
        """Of viser."""
        self.server.gui.configure_theme(dark_mode=is_dark, show_logo=False, show_share_button=False)
        self.server.scene.set_up_direction((0.0, -1.0, 0.0))
        self._meshes: dict[str, Any] = {}
        self._ghosts: dict[str, Any] = {}
        self.handles: dict[str, Any] = {}
        """Nodes of points that can be dragged, by their names."""
        self._others: dict[str, Any] = {}
        self._shown: Mapping[str, ShownHandle] = {}
        self._names: dict[str, Any] = {}
        self._picture_depth = 4.0
        self.scene: ShownScene | None = None
        """What is shown."""
        self._cameras = ViewerCameras(self.server, self._camera_changed)
        self._panel = ViewerPanel(
            self.server, actions, title=title, kinds=kinds, num_pictures=num_pictures, look=self._cameras.look,
            layers_changed=self._show_layers,
        )  # fmt: skip
        self.show_panel = self._panel.show_panel
        self.server.scene.on_click()(self._clicked)

    @property
    def port(self) -> int:
        """Port that it listens on."""
        return int(self.server.get_port())

    @property
    def is_playing(self) -> bool:
        """Whether pictures are to follow each other."""
        return self._panel.is_playing

    def close(self) -> None:
        """Stop to serve."""
        self.server.stop()

    def _clicked(self, event: Any) -> None:
        """Select the person whose joints come nearest to the ray, as seen from its origin."""
        if self.scene is None or self._panel.is_correcting:
            return
        origin, direction = np.asarray(event.ray_origin), np.asarray(event.ray_direction)
        best, label_id = 0.05, ""
        for person in self.scene.people:
            away = person.joints - origin
            along = np.maximum(away @ direction, 1e-3)
            angle = np.linalg.norm(away - along[:, None] * direction, axis=1) / along
            if angle.min() < best:
                best, label_id = float(angle.min()), person.label_id
        if label_id:
            self._actions.select_label(label_id)

    def show_scene(self, scene: ShownScene) -> None:
        """Show a picture and its people."""
        former, self.scene = self.scene, scene
        self._cameras.scene = scene
        with self.server.atomic():
            self._show_people(scene)
            if former is None or not _is_same_picture(former, scene):
                self._show_picture(scene)
            self._show_layers()
        is_other_camera = former is None or not np.array_equal(former.focal_length, scene.focal_length)
        if former is None or former.image_size != scene.image_size or is_other_camera:
            self._cameras.look_at_picture()
        elif former.focus != scene.focus:
            self._cameras.look_at_other()

    def _show_people(self, scene: ShownScene) -> None:
        wanted: set[str] = set()
        for at, person in enumerate(scene.people):
            for part, mesh in self._parts.items():
                name = f"/people/{at}/{part}"
                wanted.add(name)
                colour = _colour(person, part)
                self._mesh(self._meshes, name, person.vertices, mesh, colour, opacity=None)
                if person.ghost is not None:
                    ghost = f"/ghosts/{at}/{part}"
                    wanted.add(ghost)
                    self._mesh(self._ghosts, ghost, person.ghost, mesh, _GHOST, opacity=0.35)
        for group in (self._meshes, self._ghosts):
            for name in set(group) - wanted:
                group.pop(name).remove()
        selected = next((person for person in scene.people if person.label_id == scene.selected), None)
        if selected is None:
            self._drop("/axes")
        else:
            self._others["/axes"] = self.server.scene.add_batched_axes(
                "/axes", batched_wxyzs=selected.rotations, batched_positions=selected.joints,
                batched_scales=_lengths(selected.joints), axes_length=1.0, axes_radius=0.05,
            )  # fmt: skip

    def _mesh(
        self,
        group: dict[str, Any],
        name: str,
        vertices: np.ndarray,
        mesh: MeshPart,
        colour: tuple[int, int, int],
        opacity: float | None,
    ) -> None:
        own = np.ascontiguousarray(vertices[mesh.vertices], np.float32)
        if name in group:
            group[name].vertices = own
            group[name].color = colour
        else:
            group[name] = self.server.scene.add_mesh_simple(
                name, own, mesh.faces.astype(np.uint32), color=colour, opacity=opacity, cast_shadow=False,
                receive_shadow=False,
            )  # fmt: skip

    def _show_picture(self, scene: ShownScene) -> None:
        width, height = scene.image_size
        fx, fy = scene.focal_length
        self._picture_depth = depth = 1.02 * max(
            [float(person.vertices[:, 2].max()) for person in scene.people], default=4.0
        )
        if scene.image is None:
            self._drop("/picture")
        else:
            centre = (np.array([(width - 1) / 2, (height - 1) / 2]) - scene.principal_point) / scene.focal_length
            self._others["/picture"] = self.server.scene.add_image(
                "/picture", scene.image, render_width=width / fx * depth, render_height=height / fy * depth,
                format="jpeg", jpeg_quality=85, cast_shadow=False, receive_shadow=False,
                position=(float(centre[0]) * depth, float(centre[1]) * depth, depth),
            )  # fmt: skip
            self._panel.show_beside(scene.image)
        self._others["/camera"] = self.server.scene.add_camera_frustum(
            "/camera", fov=2 * math.atan(height / 2 / fy), aspect=width / height * fy / fx, scale=0.15, visible=False
        )
        points = np.concatenate(
            [(scene.keypoints_2d - scene.principal_point) / scene.focal_length, np.ones((len(scene.keypoints_2d), 1))],
            1,
        )
        self._drop("/seen")
        if len(points):
            self._others["/seen"] = self.server.scene.add_point_cloud(
                "/seen", (0.9 * depth * points).astype(np.float32), _SEEN, point_size=0.004 * depth,
                point_shape="circle",
            )  # fmt: skip

    def _drop(self, name: str) -> None:
        handle = self._others.pop(name, None)
        if handle is not None:
            handle.remove()

    def _show_layers(self) -> None:
        opacity, is_on = self._panel.opacity, self._panel.is_on
        self._cameras.holds = self._panel.is_correcting
        for mesh in list(self._meshes.values()):
            mesh.visible = is_on("Bodies")
            mesh.opacity = None if opacity >= 1 else opacity
        for mesh in list(self._ghosts.values()):
            mesh.visible = is_on("Before its last change")
        for name, layer in (
            ("/axes", "Joint axes"), ("/picture", "Picture in the scene"), ("/seen", "Keypoints seen"),
        ):  # fmt: skip
            if name in self._others:
                self._others[name].visible = is_on(layer)
        self._show_camera()

    def _camera_changed(self) -> None:
        self._show_camera()
        self._arrange_handles()

    def _show_camera(self) -> None:
        """The camera of the picture hides the picture from whoever looks through it."""
        frustum = self._others.get("/camera")
        if frustum is None:
            return
        is_shown = self._panel.is_on("Camera") and not self._cameras.anybody_is_through
        if frustum.visible != is_shown:
            frustum.visible = is_shown

    # Handles ---------------------------------------------------------------------------------------------

    def show_handles(self, handles: Mapping[str, ShownHandle]) -> None:
        """Show points that can be dragged, and only these.

        Args:
            handles: By the names of keypoints.
        """
        with self.server.atomic():
            for name in set(self.handles) - set(handles):
                self.handles.pop(name).remove()
            for name in set(self._names) - {name for name, handle in handles.items() if handle.is_in_focus}:
                self._names.pop(name).remove()
            self._shown = dict(handles)
            for name, handle in handles.items():
                if name not in self.handles:
                    self.handles[name] = node = self.server.scene.add_icosphere(
                        f"/handles/{name}", radius=handle.radius, cast_shadow=False, receive_shadow=False
                    )
                    node.on_drag(self._dragging(name))
                usual = _HANDLE if handle.is_in_focus else _ASIDE
                self.handles[name].color = _PLACED if handle.is_placed else usual
            self._arrange_handles()

    def _arrange_handles(self) -> None:
        """Put handles where their points are, as large on the screen as a finger needs and no larger.

        Before the picture those that are yet to be placed stand before those that are, on the same ray: of two points
        that lie behind each other both can be taken hold of.
        """
        clients = self._cameras.through()
        for name, shown in self._shown.items():
            node = self.handles.get(name)
            if node is None:
                continue
            place, radius = np.asarray(shown.place, np.float64), shown.radius
            if clients:
                tangent = math.tan(clients[-1].camera.fov / 2)
                pixel = float(place[2]) * tangent / max(clients[-1].camera.image_height / 2, 1)
                radius = min(max(_HANDLE_PIXELS * pixel, 0.25 * radius), 4 * radius)
                place = place if shown.is_placed else _NEARER * place
            if not np.allclose(node.position, place, atol=1e-6):
                node.position = tuple(place.tolist())
            if shown.is_in_focus:
                self._name(name, place)
            if abs(node.radius - radius) > 0.05 * radius:
                node.radius = radius
        seen = self._others.get("/seen")
        if seen is not None and clients:
            camera = clients[-1].camera
            pixel = self._picture_depth * math.tan(camera.fov / 2) / max(camera.image_height / 2, 1)
            if abs(seen.point_size - _KEYPOINT_PIXELS * pixel) > 0.05 * seen.point_size:
                seen.point_size = _KEYPOINT_PIXELS * pixel

    def _name(self, point: str, place: Float[np.ndarray, "3"]) -> None:
        """Write the name of a point beside it."""
        position = tuple(place.tolist())
        if point not in self._names:
            words = point.split("_", 1)[-1].replace("_", " ")
            self._names[point] = self.server.scene.add_label(f"/names/{point}", words, position=position)
        elif not np.allclose(self._names[point].position, place, atol=1e-6):
            self._names[point].position = position

    def _dragging(self, point: str) -> Callable[[Any], Coroutine[Any, Any, None]]:
        offset = np.zeros(3)

        # Viser runs what is `async` in the order of what is done; other callbacks go to a pool of threads.
        async def drag(event: Any) -> None:
            nonlocal offset
            scene, shown = self.scene, self._shown.get(point)
            if scene is None or shown is None:
                return
            is_through = self._cameras.is_through(event.client)
            if event.phase == "start":
                # From where the pointer took hold of the sphere to its middle: without it the point would jump. A
                # handle that stands nearer for another browser is not where its point is.
                middle = event.target.position if is_through else shown.place
                offset = np.asarray(middle) - np.asarray(event.start_position)
            place = np.asarray(event.end_position, np.float64) + offset
            if is_through:
                place = place[:2] / place[2] * scene.focal_length + scene.principal_point
            self._actions.drag(point, place, event.phase, scene.selected)

        return drag


def _is_same_picture(first: ShownScene, second: ShownScene) -> bool:
    """Whether two scenes have the same picture, camera and keypoints."""
    return (
        first.image is second.image
        and first.image_size == second.image_size
        and first.selected == second.selected
        and np.array_equal(first.keypoints_2d, second.keypoints_2d)
        and np.array_equal(first.focal_length, second.focal_length)
        and np.array_equal(first.principal_point, second.principal_point)
    )


def _lengths(joints: Float[np.ndarray, "J 3"]) -> Float[np.ndarray, "J"]:
    """How long the axes of joints are, metres: short where the next joint is near."""
    apart = np.linalg.norm(joints[:, None] - joints[None], axis=-1)
    np.fill_diagonal(apart, np.inf)
    return np.clip(0.5 * apart.min(1), 0.008, 0.06).astype(np.float32)


def _colour(person: ShownPerson, part: str) -> tuple[int, int, int]:
    """Of a part, by how likely it is wrong."""
    badness = person.badness.get(part)
    if person.is_by_hand and not badness:
        return _BY_HAND
    if badness is None:
        return _UNKNOWN
    first, second, share = (_RIGHT, _DOUBTFUL, 2 * badness) if badness < 0.5 else (_DOUBTFUL, _WRONG, 2 * badness - 1)
    mixed = np.array(first) * (1 - share) + np.array(second) * share
    red, green, blue = (int(value) for value in mixed.round())
    return red, green, blue
