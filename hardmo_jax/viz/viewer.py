"""Labels in a browser: people in 3D over their picture, words about them, and points that are dragged.

What is shown comes in as values (`ShownScene`, `ShownPanel`), what somebody does goes out by `ViewerActions`; nothing
here knows of stores or solvers. Texts of files are escaped and never taken for markup: viser's markdown runs scripts.
The server listens on this machine alone.
"""

import contextlib
import dataclasses
import html
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import UInt8

from hardmo_jax.array_types import Float
from hardmo_jax.skeleton import layouts
from hardmo_jax.viz.local_server import local_server
from hardmo_jax.viz.mesh_parts import MeshPart

#: Colours of parts from right to wrong, of parts that nothing is known of, and of what a person made.
_RIGHT, _DOUBTFUL, _WRONG = (88, 160, 110), (214, 178, 72), (205, 78, 62)
_UNKNOWN, _BY_HAND, _GHOST = (150, 150, 155), (84, 130, 205), (176, 120, 226)
_HANDLE, _PLACED, _SEEN = (245, 245, 245), (84, 130, 205), (255, 90, 200)
#: Camera farther than this from that of the picture has been moved, metres.
_AT_CAMERA = 1e-3
#: Cosine of an angle that is none.
_SAME_WAY = 0.99999
_HANDLE_PIXELS, _KEYPOINT_PIXELS = 6.0, 4.0
_NEARER = 0.97
_MODES = {"Points (C)": "points", "Fingers too": "fingers", "Off": "off"}
_MARGIN = 1.04
#: Tangent of half the widest angle that is looked at.
_WIDEST = 4.0
#: Width of the panel and what is beside it; windows up to this width have it below the scene.
_PANEL_PIXELS, _PHONE_PIXELS = 340.0, 770.0
_FREE_OF_PHONE = 0.55


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class ShownPerson:
    """One person of a picture."""

    label_id: str
    vertices: Float[np.ndarray, "V 3"]
    """Camera frame, metres."""
    ghost: Float[np.ndarray, "V 3"] | None
    """The label before its last change."""
    badness: Mapping[str, float | None]
    """By part, how likely it is wrong; None where nothing is known."""
    is_by_hand: bool
    """Whether a person made the label."""
    joints: Float[np.ndarray, "J 3"]
    """Camera frame, metres."""
    rotations: Float[np.ndarray, "J 4"]
    """Axes of the joints in the camera frame, quaternions (w, x, y, z)."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class ShownScene:
    """A picture and its people, in the frame of its camera."""

    image: UInt8[np.ndarray, "H W 3"] | None
    """None where there is none."""
    image_size: tuple[int, int]
    """Width and height that cameras and keypoints are of, pixels."""
    focal_length: Float[np.ndarray, "2"]
    principal_point: Float[np.ndarray, "2"]
    people: tuple[ShownPerson, ...]
    selected: str
    """Label of the person that words and handles are of; empty without anybody."""
    keypoints_2d: Float[np.ndarray, "P 2"]
    """Where a detector saw points of the selected person, pixels."""
    target: Float[np.ndarray, "3"]
    """What is looked at from elsewhere, and zoomed to."""
    target_radius: float
    """Size of that, metres."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class ShownHandle:
    """A point that can be dragged."""

    place: Float[np.ndarray, "3"]
    """Camera frame, metres."""
    is_placed: bool
    """Whether somebody put it there."""
    radius: float
    """Metres."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ShownPanel:
    """Words and settings beside the scene."""

    case: str
    """What is gone through, and which of how many is shown."""
    picture: int
    """Index of the picture."""
    people: tuple[str, ...]
    """Names of the people in it."""
    person: str
    """The selected one."""
    facts: tuple[tuple[str, str], ...]
    """Name and value, a line each."""
    parts: tuple[tuple[str, ...], ...]
    """Table of parts; the first row is its head."""
    correction: tuple[str, ...]
    """Lines on the correction."""
    message: str
    """What just happened, or went wrong."""
    is_wrong: bool
    """Whether that is a mishap."""
    can_undo: bool
    can_save: bool


@runtime_checkable
class ViewerActions(Protocol):
    """What somebody does in the viewer. Called from the threads of the server."""

    def go_through(self, kind: str) -> None:
        """Choose what is gone through."""

    def step(self, count: int) -> None:
        """Go on or back."""

    def show_picture(self, index: int) -> None:
        """Show a picture."""

    def select(self, name: str) -> None:
        """Select a person of the picture by the name in the panel."""

    def select_label(self, label_id: str) -> None:
        """Select a person of the picture by their label."""

    def review(self, word: str) -> None:
        """Accept, reject, or take it back (`none`)."""

    def mark(self, part: str, word: str | None) -> None:
        """Say that a part is wrong or right; None takes it back."""

    def correct_by_hand(self, is_on: bool, with_fingers: bool) -> None:
        """Show handles, or hide them."""

    def drag(self, point: str, place: np.ndarray, phase: str) -> None:
        """Put a point at pixels (two numbers) or in space (three); phases are `start`, `update` and `end`."""

    def undo(self) -> None:
        """Take back the last drag."""

    def save(self) -> None:
        """Keep the correction."""

    def discard(self) -> None:
        """Drop it."""


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
        self._picture_depth = 4.0
        # Where browsers look that look through the camera of the picture.
        self._through: dict[int, np.ndarray] = {}
        self.scene: ShownScene | None = None
        """What is shown."""
        self._is_filling = self._is_correcting = False
        self._build(title, kinds, num_pictures)
        self.server.on_client_connect(self._welcome)
        self.server.on_client_disconnect(lambda client: self._through.pop(client.client_id, None))
        self.server.scene.on_click()(self._clicked)

    @property
    def port(self) -> int:
        """Port that it listens on."""
        return int(self.server.get_port())

    def close(self) -> None:
        """Stop to serve."""
        self.server.stop()

    # The panel -------------------------------------------------------------------------------------------

    def _build(self, title: str, kinds: Sequence[str], num_pictures: int) -> None:
        gui, actions = self.server.gui, self._actions
        gui.add_html(f"<div style='padding:0 0.8em'><b>{html.escape(title)}</b></div>")
        self._message = gui.add_html("")
        # Not a dropdown: its field would keep the keyboard, and with it the keys.
        through = gui.add_button_group("Go through", tuple(kinds))
        through.on_click(lambda event: actions.go_through(event.target.value))
        self._case = gui.add_html("")
        self._step = gui.add_button_group(" ", ("Back (B)", "Next (N)"))
        self._step.on_click(lambda event: actions.step(1 if event.target.value.startswith("Next") else -1))
        self._picture = gui.add_slider("Picture", 0, max(num_pictures - 1, 1), 1, 0, disabled=num_pictures < 2)
        self._picture.on_update(self._unless_filling(lambda event: actions.show_picture(int(event.target.value))))
        self._playing = gui.add_checkbox("Play", False)
        self._person = gui.add_dropdown("Person", ("-",))
        self._person.on_update(self._unless_filling(lambda event: actions.select(event.target.value)))
        with gui.add_folder("What do you say?"):
            group = gui.add_button_group("The label", ("Accept (A)", "Reject (R)", "Clear"))
            words = {"Accept (A)": "accepted", "Reject (R)": "rejected", "Clear": "none"}
            group.on_click(lambda event: actions.review(words[event.target.value]))
            for kind in ("foot", "hand"):
                marks = gui.add_button_group(f"{kind.capitalize()} wrong", ("Left", "Right", "None"))
                marks.on_click(self._marking(kind))
        with gui.add_folder("Correct by hand"):
            # Not checkboxes: one that has been clicked keeps the keyboard.
            modes = gui.add_button_group("Drag", ("Points (C)", "Fingers too", "Off"))
            modes.on_click(lambda event: self._correct_by_hand(_MODES[event.target.value]))
            self._correction = gui.add_html("")
            self._undo = gui.add_button("Undo (Z)", disabled=True)
            self._undo.on_click(lambda _: actions.undo())
            self._save = gui.add_button("Save as mine (S)", disabled=True)
            self._save.on_click(lambda _: actions.save())
            self._discard = gui.add_button("Discard", disabled=True)
            self._discard.on_click(lambda _: actions.discard())
        self._facts = gui.add_html("")
        with gui.add_folder("View"):
            views = gui.add_button_group("Look from", ("Picture (V)", "Zoom (X)", "Side"))
            views.on_click(lambda event: self._look(event.client, event.target.value))
            self._layers = {
                name: gui.add_checkbox(name, is_on)
                for name, is_on in (
                    ("Bodies", True), ("Before its last change", False), ("Joint axes", False),
                    ("Picture in the scene", True), ("Keypoints seen", False), ("Camera", True),
                )
            }  # fmt: skip
            for layer in self._layers.values():
                layer.on_update(lambda _: self._show_layers())
            self._opacity = gui.add_slider("Solidity of bodies", 0.1, 1.0, 0.05, 0.9)
            self._opacity.on_update(lambda _: self._show_layers())
        self._beside = gui.add_image(np.full((2, 3, 3), 40, np.uint8), label="Picture")
        for name, key, action in (
            ("Next", "N", lambda: actions.step(1)),
            ("Back", "B", lambda: actions.step(-1)),
            ("Accept", "A", lambda: actions.review("accepted")),
            ("Reject", "R", lambda: actions.review("rejected")),
            ("Undo", "Z", actions.undo),
            ("Save as mine", "S", actions.save),
            ("Drag points", "C", lambda: self._correct_by_hand("off" if self._is_correcting else "points")),
        ):
            gui.add_command(name, hotkey=key).on_trigger(lambda _, action=action: action())
        for name, key in (("Picture (V)", "V"), ("Zoom (X)", "X")):
            gui.add_command(name, hotkey=key).on_trigger(lambda event, name=name: self._look(event.client, name))

    @property
    def is_playing(self) -> bool:
        """Whether pictures are to follow each other."""
        return bool(self._playing.value)

    @property
    def is_solid_only(self) -> bool:
        """Whether former versions need not be computed."""
        return not self._layers["Before its last change"].value

    def _marking(self, kind: str) -> Callable[[Any], None]:
        def mark(event: Any) -> None:
            if event.target.value == "None":
                for side in layouts.SIDES:
                    self._actions.mark(f"{side}_{kind}", None)
            else:
                self._actions.mark(f"{event.target.value.lower()}_{kind}", "wrong")

        return mark

    def _correct_by_hand(self, mode: str) -> None:
        self._is_correcting = mode != "off"
        self._actions.correct_by_hand(self._is_correcting, mode == "fingers")
        self._show_layers()

    def _unless_filling(self, action: Callable[[Any], None]) -> Callable[[Any], None]:
        """Only what somebody does counts, not what the program fills in."""
        return lambda event: None if self._is_filling or event.client is None else action(event)

    @contextlib.contextmanager
    def _filling(self) -> Iterator[None]:
        self._is_filling = True
        try:
            with self.server.atomic():
                yield
        finally:
            self._is_filling = False

    def show_panel(self, panel: ShownPanel) -> None:
        """Show words and settings."""
        with self._filling():
            self._case.content = _lines([panel.case])
            self._picture.value = min(panel.picture, int(self._picture.max))
            if tuple(self._person.options) != (panel.people or ("-",)):
                self._person.options = panel.people or ("-",)
            self._person.value = panel.person or (panel.people or ("-",))[0]
            self._facts.content = _table(panel.facts) + _table(panel.parts, has_head=True)
            self._correction.content = _lines(panel.correction)
            colour = "#d0463a" if panel.is_wrong else "inherit"
            self._message.content = _lines([panel.message], colour=colour) if panel.message else ""
            self._undo.disabled = not panel.can_undo
            self._save.disabled = self._discard.disabled = not panel.can_save

    # The scene -------------------------------------------------------------------------------------------

    def _clicked(self, event: Any) -> None:
        """Select the person whose joints come nearest to the ray, as seen from its origin."""
        if self.scene is None or self._is_correcting:
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
        with self.server.atomic():
            self._show_people(scene)
            if former is None or not _is_same_picture(former, scene):
                self._show_picture(scene)
            self._show_layers()
        is_other_camera = former is None or not np.array_equal(former.focal_length, scene.focal_length)
        if former is None or former.image_size != scene.image_size or is_other_camera:
            for client in self.server.get_clients().values():
                self._look_at_picture(client)

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
            step = max(1, math.ceil(max(scene.image.shape[:2]) / 640))
            self._beside.image = np.ascontiguousarray(scene.image[::step, ::step])
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
        opacity = float(self._opacity.value)
        if self._is_correcting:
            opacity = min(opacity, 0.55)
        on = {name: bool(layer.value) for name, layer in self._layers.items()}
        for mesh in self._meshes.values():
            mesh.visible = on["Bodies"]
            mesh.opacity = None if opacity >= 1 else opacity
        for mesh in self._ghosts.values():
            mesh.visible = on["Before its last change"]
        for name, layer in (
            ("/axes", "Joint axes"), ("/picture", "Picture in the scene"), ("/seen", "Keypoints seen"),
        ):  # fmt: skip
            if name in self._others:
                self._others[name].visible = on[layer]
        self._show_camera()

    # Handles ---------------------------------------------------------------------------------------------

    def show_handles(self, handles: Mapping[str, ShownHandle]) -> None:
        """Show points that can be dragged, and only these.

        Args:
            handles: By the names of keypoints.
        """
        with self.server.atomic():
            for name in set(self.handles) - set(handles):
                self.handles.pop(name).remove()
            self._shown = dict(handles)
            for name, handle in handles.items():
                if name not in self.handles:
                    self.handles[name] = node = self.server.scene.add_icosphere(
                        f"/handles/{name}", radius=handle.radius, cast_shadow=False, receive_shadow=False
                    )
                    node.on_drag(self._dragging(name))
                self.handles[name].color = _PLACED if handle.is_placed else _HANDLE
            self._arrange_handles()

    def _arrange_handles(self) -> None:
        """Put handles where their points are, as large on the screen as a finger needs and no larger.

        Before the picture those that are yet to be placed stand before those that are, on the same ray: of two points
        that lie behind each other both can be taken hold of.
        """
        clients = [client for client in self.server.get_clients().values() if client.client_id in self._through]
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
            if abs(node.radius - radius) > 0.05 * radius:
                node.radius = radius
        seen = self._others.get("/seen")
        if seen is not None and clients:
            camera = clients[-1].camera
            pixel = self._picture_depth * math.tan(camera.fov / 2) / max(camera.image_height / 2, 1)
            if abs(seen.point_size - _KEYPOINT_PIXELS * pixel) > 0.05 * seen.point_size:
                seen.point_size = _KEYPOINT_PIXELS * pixel

    def _dragging(self, point: str) -> Callable[[Any], None]:
        offset = np.zeros(3)

        def drag(event: Any) -> None:
            nonlocal offset
            scene = self.scene
            if scene is None:
                return
            if event.phase == "start":
                # From where the pointer took hold of the sphere to its middle: without it the point would jump.
                offset = np.asarray(event.target.position) - np.asarray(event.start_position)
            place = np.asarray(event.end_position, np.float64) + offset
            if event.client.client_id in self._through:
                place = place[:2] / place[2] * scene.focal_length + scene.principal_point
            self._actions.drag(point, place, event.phase)

        return drag

    # Cameras ---------------------------------------------------------------------------------------------

    def _welcome(self, client: Any) -> None:
        self._look_at_picture(client)
        client.camera.on_update(lambda _: self._camera_moved(client))

    def _camera_moved(self, client: Any) -> None:
        """Keep a browser that looks through the picture's camera there: it zooms and turns where others go and slide.

        Going about something with the mouse leaves it; then points are placed in space.
        """
        former = self._through.get(client.client_id)
        position = np.asarray(client.camera.position, np.float64)
        if former is not None and np.linalg.norm(position) >= _AT_CAMERA:
            towards = np.asarray(client.camera.look_at, np.float64) - position
            direction = former / np.linalg.norm(former)
            if direction @ towards / np.linalg.norm(towards) > _SAME_WAY:
                factor = float(np.linalg.norm(towards) / np.linalg.norm(former))
                aside = position - (position @ direction) * direction
                self._through[client.client_id] = look_at = former + aside
                tangent = min(factor * math.tan(client.camera.fov / 2), _WIDEST)
                with client.atomic():
                    client.camera.position = (0.0, 0.0, 0.0)
                    client.camera.look_at = tuple(look_at)
                    client.camera.fov = 2 * math.atan(tangent)
            else:
                del self._through[client.client_id]
        self._show_camera()
        self._arrange_handles()

    def _look_at_picture(self, client: Any) -> None:
        self._look(client, "Picture (V)")

    def _show_camera(self) -> None:
        """The camera of the picture hides the picture from whoever looks through it."""
        frustum = self._others.get("/camera")
        if frustum is None:
            return
        is_shown = bool(self._layers["Camera"].value) and not self._through
        if frustum.visible != is_shown:
            frustum.visible = is_shown

    def _look(self, client: Any, name: str) -> None:
        """Turn the camera of a browser."""
        scene = self.scene
        if scene is None or client is None:
            return
        width, height = scene.image_size
        aspect = float(client.camera.aspect) or 1.5
        target = np.asarray(scene.target, np.float64)
        with client.atomic():
            client.camera.up_direction = (0.0, -1.0, 0.0)
            client.camera.near = 0.02
            if name.startswith("Side"):
                distance = max(3.0 * scene.target_radius, 1.2)
                self._through.pop(client.client_id, None)
                client.camera.position = tuple(target + np.array([distance, -0.1 * distance, 0.0]))
                client.camera.look_at = tuple(target)
                client.camera.fov = math.radians(50)
                return
            # What the panel leaves free of the window: it lies at the right, on telephones below.
            window = float(client.camera.image_width)
            free = (1.0 - _PANEL_PIXELS / window, 1.0) if window > _PHONE_PIXELS else (1.0, _FREE_OF_PHONE)
            if name.startswith("Zoom"):
                size = 1.6 * scene.target_radius
                corners = target + size * np.array([[-1, -1, 0], [1, -1, 0], [-1, 1, 0], [1, 1, 0]])
            else:
                pixels = np.array([[-0.5, -0.5], [width, -0.5], [-0.5, height], [width, height]])
                corners = np.concatenate([(pixels - scene.principal_point) / scene.focal_length, np.ones((4, 1))], 1)
            look_at, tangent = _framed(corners * target[2] / corners[:, 2:], aspect, free)
            self._through[client.client_id] = look_at
            client.camera.position = (0.0, 0.0, 0.0)
            client.camera.look_at = tuple(look_at)
            client.camera.fov = float(2 * math.atan(tangent))
        self._show_camera()


def _framed(
    corners: Float[np.ndarray, "4 3"], aspect: float, free: tuple[float, float]
) -> tuple[Float[np.ndarray, "3"], float]:
    """Where a camera at the origin looks, and the tangent of half its angle, to see corners beside a panel.

    Args:
        corners: Of what is to be seen, at one depth.
        aspect: Width of the window over its height.
        free: Share of its width, from the left, and of its height, from the top, that no panel covers.
    """
    middle = corners.mean(0)
    tangent = 0.02
    while True:
        # Turned to the right or down, so that the middle of what is looked at lies in the middle of what is free.
        aside, below = (1.0 - free[0]) * tangent * aspect, (1.0 - free[1]) * tangent
        axes = _axes(middle)
        look_at = np.linalg.norm(middle) * np.array([aside, below, 1.0]) @ axes
        seen = corners @ _axes(look_at).T
        across = seen[:, 0] / seen[:, 2] / (tangent * aspect)
        down = seen[:, 1] / seen[:, 2] / tangent
        most = 1 / _MARGIN
        is_inside = (across >= -most) & (across <= (2 * free[0] - 1) * most)
        is_inside &= (down >= -most) & (down <= (2 * free[1] - 1) * most)
        if (is_inside & (seen[:, 2] > 0)).all() or tangent > _WIDEST:
            return look_at, tangent
        tangent *= 1.03


def _axes(forward: Float[np.ndarray, "3"]) -> Float[np.ndarray, "3 3"]:
    """Rows right, down and forward of a level camera."""
    forward = forward / np.linalg.norm(forward)
    right = np.cross([0.0, 1.0, 0.0], forward)
    right /= np.linalg.norm(right)
    return np.stack([right, np.cross(forward, right), forward])


def _is_same_picture(first: ShownScene, second: ShownScene) -> bool:
    """Whether two scenes have the same picture, camera and keypoints."""
    return (
        first.image is second.image
        and first.image_size == second.image_size
        and first.selected == second.selected
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


def _lines(lines: Sequence[str], *, colour: str = "inherit") -> str:
    told = "".join(f"<div>{html.escape(line)}</div>" for line in lines)
    return f"<div style='padding:0 0.8em;font-size:0.85em;overflow-wrap:anywhere;color:{colour}'>{told}</div>"


def _table(rows: Sequence[Sequence[str]], *, has_head: bool = False) -> str:
    told = []
    for at, row in enumerate(rows):
        tag = "th" if has_head and at == 0 else "td"
        wrap = "normal" if has_head else "anywhere"
        style = f"text-align:left;padding:0 0.5em 0 0;overflow-wrap:{wrap};vertical-align:top"
        cells = (f"<{tag} style='{style}'>{html.escape(cell)}</{tag}>" for cell in row)
        told.append(f"<tr>{''.join(cells)}</tr>")
    return f"<table style='margin:0.2em 0.8em;font-size:0.8em'>{''.join(told)}</table>" if told else ""
