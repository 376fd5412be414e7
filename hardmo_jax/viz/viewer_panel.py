"""The panel of the viewer: words, buttons and keys.

Texts of files are escaped and never taken for markup: viser's markdown would run what is in braces.
"""

import html
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import numpy as np
from jaxtyping import UInt8

from hardmo_jax.skeleton import layouts
from hardmo_jax.viz.shown import ShownPanel, ShownTimeline, ViewerActions
from hardmo_jax.viz.viewer_cameras import PICTURE, VIEWS, ZOOM

_MODES = {"Points (C)": "points", "Fingers too": "fingers", "Off": "off"}
#: Longer side of the picture in the panel, pixels.
_BESIDE_PIXELS = 640
#: Bodies through which handles are seen.
_SEE_THROUGH = 0.55
_TIMELINE_COLOURS = {
    "body": "#9a9aa0", "left_foot": "#3f8ae0", "right_foot": "#f08a24", "left_hand": "#27b0a0", "right_hand": "#d24bb0",
}  # fmt: skip


class ViewerPanel:
    """Words, buttons and keys of a server of viser."""

    def __init__(
        self,
        server: Any,
        actions: ViewerActions,
        *,
        title: str,
        kinds: Sequence[str],
        num_pictures: int,
        look: Callable[[Any, str], None],
        layers_changed: Callable[[], None],
    ) -> None:
        """Put up the panel.

        Args:
            server: Of viser.
            actions: Told what somebody does.
            title: Of the page.
            kinds: What can be gone through.
            num_pictures: How many there are.
            look: Turns the camera of a browser to one of `viewer_cameras.VIEWS`.
            layers_changed: Told when other layers are to be seen.
        """
        self._server = server
        self._actions = actions
        self._look = look
        self._layers_changed = layers_changed
        self._label = ("", 0)
        self.is_correcting = False
        """Whether points can be dragged."""
        self._build(title, kinds, num_pictures)

    def _build(self, title: str, kinds: Sequence[str], num_pictures: int) -> None:
        gui, actions = self._server.gui, self._actions
        gui.add_html(f"<div style='padding:0 0.8em'><b>{html.escape(title)}</b></div>")
        self._message = gui.add_html("")
        # Not a dropdown: its field would keep the keyboard, and with it the keys.
        through = gui.add_button_group("Go through", tuple(kinds))
        through.on_click(_in_order(lambda event: actions.go_through(event.target.value)))
        self._case = gui.add_html("")
        self._step = gui.add_button_group(" ", ("Back (B)", "Next (N)"))
        self._step.on_click(_in_order(lambda event: actions.step(1 if event.target.value.startswith("Next") else -1)))
        self._picture = gui.add_slider("Picture", 0, max(num_pictures - 1, 1), 1, 0, disabled=num_pictures < 2)
        self._picture.on_update(_by_somebody(lambda event: actions.show_picture(int(event.target.value))))
        self._playing = gui.add_checkbox("Play", False)
        self._person = gui.add_dropdown("Person", ("-",))
        self._person.on_update(_by_somebody(lambda event: actions.select(event.target.value)))
        with gui.add_folder("What do you say?"):
            group = gui.add_button_group("The label", ("Accept (A)", "Reject (R)", "Clear"))
            words = {"Accept (A)": "accepted", "Reject (R)": "rejected", "Clear": "none"}
            group.on_click(_in_order(lambda event: actions.review(words[event.target.value], self._label)))
            for kind in ("foot", "hand"):
                marks = gui.add_button_group(f"{kind.capitalize()} wrong", ("Left", "Right", "None"))
                marks.on_click(_in_order(self._marking(kind)))
        with gui.add_folder("Correct by hand"):
            # Not checkboxes: one that has been clicked keeps the keyboard.
            modes = gui.add_button_group("Drag", ("Points (C)", "Fingers too", "Off"))
            modes.on_click(_in_order(lambda event: self._correct_by_hand(_MODES[event.target.value])))
            self._correction = gui.add_html("")
            self._undo = gui.add_button("Undo (Z)", disabled=True)
            self._undo.on_click(_in_order(lambda _: actions.undo()))
            self._save = gui.add_button("Save as mine (S)", disabled=True)
            self._save.on_click(_in_order(lambda _: actions.save()))
            self._discard = gui.add_button("Discard", disabled=True)
            self._discard.on_click(_in_order(lambda _: actions.discard()))
        self._facts = gui.add_html("")
        self._timeline: Any = None
        self._timeline_shown: ShownTimeline | None = None
        self._timeline_folder = gui.add_folder("The person over time: how likely wrong", visible=False)
        with gui.add_folder("View"):
            views = gui.add_button_group("Look from", VIEWS)
            views.on_click(_in_order(lambda event: self._look(event.client, event.target.value)))
            self._layers = {
                name: gui.add_checkbox(name, is_on)
                for name, is_on in (
                    ("Bodies", True), ("Before its last change", False), ("Joint axes", False),
                    ("Picture in the scene", True), ("Keypoints seen", False), ("Camera", True),
                )
            }  # fmt: skip
            for layer in self._layers.values():
                layer.on_update(lambda _: self._layers_changed())
            self._opacity = gui.add_slider("Solidity of bodies", 0.1, 1.0, 0.05, 0.9)
            self._opacity.on_update(lambda _: self._layers_changed())
        self._beside = gui.add_image(np.full((2, 3, 3), 40, np.uint8), label="Picture")
        for name, key, action in (
            ("Next", "N", lambda: actions.step(1)),
            ("Back", "B", lambda: actions.step(-1)),
            ("Accept", "A", lambda: actions.review("accepted", self._label)),
            ("Reject", "R", lambda: actions.review("rejected", self._label)),
            ("Undo", "Z", actions.undo),
            ("Save as mine", "S", actions.save),
            ("Drag points", "C", lambda: self._correct_by_hand("off" if self.is_correcting else "points")),
        ):
            gui.add_command(name, hotkey=key).on_trigger(_in_order(lambda _, action=action: action()))
        for name, key in ((PICTURE, "V"), (ZOOM, "X")):
            gui.add_command(name, hotkey=key).on_trigger(
                _in_order(lambda event, name=name: self._look(event.client, name))
            )

    @property
    def is_playing(self) -> bool:
        """Whether pictures are to follow each other."""
        return bool(self._playing.value)

    def is_on(self, layer: str) -> bool:
        """Whether a layer is to be seen."""
        return bool(self._layers[layer].value)

    @property
    def opacity(self) -> float:
        """Of bodies; less where handles are to be seen through them."""
        opacity = float(self._opacity.value)
        return min(opacity, _SEE_THROUGH) if self.is_correcting else opacity

    def show_beside(self, image: UInt8[np.ndarray, "H W 3"]) -> None:
        """Show the picture itself."""
        step = max(1, -(-max(image.shape[:2]) // _BESIDE_PIXELS))
        self._beside.image = np.ascontiguousarray(image[::step, ::step])

    def _marking(self, kind: str) -> Callable[[Any], None]:
        def mark(event: Any) -> None:
            if event.target.value == "None":
                for side in layouts.SIDES:
                    self._actions.mark(f"{side}_{kind}", None, self._label)
            else:
                self._actions.mark(f"{event.target.value.lower()}_{kind}", "wrong", self._label)

        return mark

    def _correct_by_hand(self, mode: str) -> None:
        self.is_correcting = mode != "off"
        self._actions.correct_by_hand(self.is_correcting, mode == "fingers")
        self._layers_changed()

    def show_panel(self, panel: ShownPanel) -> None:
        """Show words and settings."""
        self._label = panel.label
        with self._server.atomic():
            self._case.content = _lines([panel.case])
            self._picture.value = min(panel.picture, int(self._picture.max))
            if tuple(self._person.options) != (panel.people or ("-",)):
                self._person.options = panel.people or ("-",)
            self._person.value = panel.person or (panel.people or ("-",))[0]
            self._facts.content = _table(panel.facts) + _table(panel.parts, has_head=True)
            self._correction.content = _lines(panel.correction)
            colour = "#d0463a" if panel.is_wrong else "inherit"
            self._message.content = _lines([panel.message], colour=colour) if panel.message else ""
            self._show_timeline(panel.timeline)
            self._undo.disabled = not panel.can_undo
            self._save.disabled = self._discard.disabled = not panel.can_save

    def _show_timeline(self, timeline: ShownTimeline | None) -> None:
        if timeline is self._timeline_shown:
            return
        self._timeline_shown = timeline
        self._timeline_folder.visible = timeline is not None
        if timeline is None:
            return
        data = (timeline.pictures, *timeline.badness.values())
        ends = (float(timeline.pictures[0]), float(timeline.pictures[-1]))
        scales = {"x": {"time": False, "range": ends}, "y": {"range": (0.0, 1.0)}}
        if self._timeline is not None:
            self._timeline.data, self._timeline.scales = data, scales
            return
        series = [{"label": "picture"}] + [
            {"label": part.replace("_", " "), "stroke": _TIMELINE_COLOURS[part], "width": 1.5, "spanGaps": False}
            for part in timeline.badness
        ]
        with self._timeline_folder:
            self._timeline = self._server.gui.add_uplot(
                data, tuple(series), height=170, scales=scales, legend={"show": True},
            )  # fmt: skip


def _in_order(action: Callable[[Any], None]) -> Callable[[Any], Coroutine[Any, Any, None]]:
    """A callback that viser runs in the order of what is done: others go to a pool of threads."""

    async def callback(event: Any) -> None:
        action(event)

    return callback


def _by_somebody(action: Callable[[Any], None]) -> Callable[[Any], Coroutine[Any, Any, None]]:
    """The same for what a program fills in too: only what somebody does counts."""
    return _in_order(lambda event: None if event.client is None else action(event))


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
