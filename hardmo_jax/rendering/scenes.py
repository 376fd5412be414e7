"""Pictures of dressed people before made-up backgrounds, by chance: skins, clothes, light, shadow, lens and noise.

What is drawn and what is made of it are apart (`draw_look`, `paint_person`), so that a picture can be made again. All
is of flat colours on the body's own surface: no garment has folds, nobody has a face. Numbers are those of NumPy's
generator alone; nothing under a licence goes in.
"""

import colorsys
import dataclasses
from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from hardmo_jax.rendering.scene import Light, Mesh, Renderer, View, vertex_normals

Colour = tuple[float, float, float]
BackgroundKind = Literal["plain", "gradient", "clouds", "shapes", "room"]
_BACKGROUNDS: tuple[BackgroundKind, ...] = get_args(BackgroundKind)
#: Parts of a suit by the joint that moves them; what is left are fingers. Neighbours differ in brightness.
_SUIT_OF = {
    "collar": "upper arm", "shoulder": "upper arm", "elbow": "forearm", "wrist": "palm", "hip": "thigh", "knee": "shin",
    "ankle": "foot", "foot": "toes", "eye": "palm",
}  # fmt: skip
_SUIT_ORDER = ("upper arm", "forearm", "palm", "fingers", "thumb", "thigh", "shin", "foot", "toes")
#: What covers a vertex, in the order of colours.
CLOTHES = ("skin", "hair", "shirt", "stripes", "trousers", "shoes", "gloves")
_SKINS = (
    (0.95, 0.81, 0.72), (0.90, 0.72, 0.60), (0.83, 0.63, 0.50), (0.72, 0.52, 0.40), (0.58, 0.41, 0.30),
    (0.45, 0.31, 0.23), (0.33, 0.22, 0.17),
)  # fmt: skip
_HAIRS = ((0.10, 0.08, 0.07), (0.25, 0.16, 0.10), (0.45, 0.30, 0.16), (0.72, 0.58, 0.35), (0.60, 0.60, 0.60))
#: Ends of sleeves and of trousers, as shares of upper and lower limb: 0 is shoulder or hip, 1 elbow or knee, 2 wrist or
#: ankle.
_SLEEVES, _LEGS = (0.0, 0.45, 1.0, 1.5, 1.95), (0.35, 0.8, 1.4, 1.95)


@dataclasses.dataclass(frozen=True, kw_only=True)
class DressableBody:
    """A body's surface, and where on it each vertex lies."""

    faces: Int[np.ndarray, "F 3"]
    joint_of: tuple[str, ...]
    """Joint that moves each of the V vertices most."""
    along: Float[np.ndarray, "V"]
    """Where it lies between that joint (0) and the next one (1)."""
    height: Float[np.ndarray, "V"]
    """Above the floor at rest, metres."""
    front: Float[np.ndarray, "V"]
    """Before the joint at rest, metres."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Look:
    """Everything about a picture but the person's pose and the camera."""

    colours: tuple[Colour, ...]
    """Of `CLOTHES`."""
    sleeves: float
    """End of the sleeves, see `_SLEEVES`."""
    legs: float
    """End of the trousers."""
    has_shoes: bool
    has_gloves: bool
    stripe: float
    """Height of stripes of the shirt, metres; 0 is none."""
    light: Light
    background: BackgroundKind
    background_seed: int
    shadow: float
    """Share of the light that the shadow on the floor takes."""
    softness: float
    """Of the shadow's edge, shares of the picture's height."""
    blur: float
    """Of the lens, pixels."""
    noise: float
    """Of the sensor, standard deviation in [0, 1]."""
    gain: Colour
    """Of red, green and blue."""


def draw_look(rng: np.random.Generator) -> Look:
    """A look by chance: all skins, clothes of any length and any colour but the skin's, light from anywhere above."""
    skin, hair = (
        np.clip(np.array(some[rng.integers(len(some))]) * _tint(rng.uniform(-1, 1, 3), 0.1, 0.03), 0, 1)
        for some in (_SKINS, _HAIRS)
    )
    cloth = rng.uniform(0.04, 0.96, (len(CLOTHES) - 2, 3)) ** rng.uniform(0.6, 1.6, (len(CLOTHES) - 2, 1))
    # No new draws, which would change all that follows; the opposite of the skin where that is like it again.
    for other in (np.clip((cloth + 0.5) % 1, 0.04, 0.96), 1 - skin):
        cloth = np.where(_is_like_skin(cloth, skin)[:, None], other, cloth)
    turn, rise = rng.uniform(-np.pi, np.pi), np.radians(rng.uniform(25, 80))
    direction = np.array([np.cos(rise) * np.sin(turn), -np.sin(rise), -np.cos(rise) * np.cos(turn)])
    key = rng.uniform(0.25, 0.85)
    ambient = rng.uniform(0.15, 0.45)
    return Look(
        colours=tuple((float(c[0]), float(c[1]), float(c[2])) for c in (skin, hair, *cloth)),
        sleeves=float(rng.choice(_SLEEVES)),
        legs=float(rng.choice(_LEGS)),
        has_shoes=bool(rng.random() < 0.55),
        has_gloves=bool(rng.random() < 0.08),
        stripe=float(rng.uniform(0.03, 0.12)) if rng.random() < 0.35 else 0.0,
        light=Light(
            direction=direction, key=key, head=float(rng.uniform(0.1, 0.45)), sky=ambient,
            ground=ambient * float(rng.uniform(0.3, 0.8)),
        ),
        background=_BACKGROUNDS[rng.integers(len(_BACKGROUNDS))],
        background_seed=int(rng.integers(1 << 31)),
        shadow=float(rng.uniform(0.2, 0.7)),
        softness=float(rng.uniform(0.002, 0.02)),
        blur=float(rng.choice((0.0, rng.uniform(0.3, 1.0)))),
        noise=float(rng.uniform(0.0, 0.03)),
        gain=tuple(_tint(rng.uniform(-1, 1, 3), 0.08, 0.06).tolist()),
    )  # fmt: skip


def _tint(drawn: Float[np.ndarray, "3"], brightness: float, warmth: float) -> Float[np.ndarray, "3"]:
    """Factors of red, green and blue: brighter or darker, warmer or colder, and hardly greener, as nobody's skin is.

    Args:
        drawn: In [-1, 1]: of brightness, warmth and green.
        brightness: Most, as a share.
        warmth: Most of red over blue, as a share.
    """
    warm = warmth * drawn[1]
    return (1 + brightness * drawn[0]) * np.array([1 + warm, 1 + 0.02 * drawn[2], 1 - warm])


def _is_like_skin(cloth: Float[np.ndarray, "N 3"], skin: Float[np.ndarray, "3"]) -> Bool[np.ndarray, "N"]:
    """Whether who wears it looks naked: of the skin's colour, or of its hue and not much brighter or darker."""
    is_near = np.linalg.norm(cloth - skin, axis=-1) < 0.3
    bright, own = cloth.sum(-1), skin.sum()
    has_hue = np.linalg.norm(cloth / bright[:, None] - skin / own, axis=-1) < 0.1
    return is_near | (has_hue & (bright < 2.2 * own) & (own < 2.2 * bright))


def paint_person(
    renderer: Renderer,
    look: Look,
    body: DressableBody,
    vertices: Float[np.ndarray, "V 3"],
    view: View,
    *,
    up: Float[np.ndarray, "3"] | None = None,
) -> UInt8[np.ndarray, "H W 3"]:
    """A picture of one person.

    Args:
        renderer: Of meshes.
        look: Drawn by `draw_look`.
        body: Of the person.
        vertices: Posed, camera frame, metres.
        view: Camera and size.
        up: Away from the floor, unit vector of the camera frame; the lowest vertex touches it. None casts no shadow.

    Returns:
        Red, green, blue.
    """
    picture = _background(look, view)
    if up is not None and look.shadow:
        picture *= 1 - look.shadow * _shadow(renderer, look, body, vertices, view, np.asarray(up))[..., None]
    drawn = renderer.render(_dressed(look, body, vertices), view, look.light)
    cover = drawn[..., 3:].astype(np.float32) / 255
    picture = picture * (1 - cover) + cover * drawn[..., :3].astype(np.float32) / 255
    return _photographed(look, picture)


def paint_suit(
    renderer: Renderer,
    rng: np.random.Generator,
    body: DressableBody,
    vertices: Float[np.ndarray, "V 3"],
    view: View,
) -> UInt8[np.ndarray, "H W 3"]:
    """A picture of one person in a suit on which every part of the body has the same colour always, before one grey.

    For networks that have minutes to learn in: what is where can be told by colours, left from right and front from
    back too.

    Args:
        renderer: Of meshes.
        rng: Of the light and the grey.
        body: Of the person.
        vertices: Posed, camera frame, metres.
        view: Camera and size.

    Returns:
        Red, green, blue.
    """
    turn, rise = rng.uniform(-np.pi, np.pi), np.radians(rng.uniform(40, 80))
    direction = np.array([np.cos(rise) * np.sin(turn), -np.sin(rise), -np.cos(rise) * np.cos(turn)])
    light = Light(direction=direction, key=0.25, head=0.25, sky=0.55, ground=0.45)
    grey = float(rng.uniform(0.0, 0.25))
    of_face = np.array(suit_parts(body))[body.faces[:, 0]]
    normals = vertex_normals(vertices, body.faces)
    meshes = [
        Mesh(vertices_camera=vertices, faces=body.faces[of_face == part], colour=_suit_colour(part), normals=normals)
        for part in sorted(set(of_face.tolist()))
    ]
    drawn = renderer.render(meshes, view, light)
    cover = drawn[..., 3:].astype(np.float32) / 255
    picture = grey * (1 - cover) + cover * drawn[..., :3].astype(np.float32) / 255
    return np.clip(picture * 255 + 0.5, 0, 255).astype(np.uint8)


def suit_parts(body: DressableBody) -> list[str]:
    """Part of the suit that covers each vertex: its side, then what it is."""
    names = []
    for joint, front in zip(body.joint_of, body.front, strict=True):
        side, _, rest = joint.rpartition("_") if joint.startswith(("left_", "right_")) else ("", "", joint)
        if side:
            names.append(f"{side} {_SUIT_OF.get(rest, _finger_of(rest))}")
        else:
            names.append(f"{'front' if front > 0 else 'back'} {'head' if rest in ('head', 'jaw', 'neck') else 'trunk'}")
    return names


def _finger_of(joint: str) -> str:
    """Part of the suit of a joint of the hand."""
    return joint.rstrip("123") if joint.startswith("thumb") else "fingers" if joint[-1:] in "123" else "trunk"


def _suit_colour(part: str) -> Colour:
    """Colour of a part: hues of the left are warm, those of the right cold."""
    side, _, name = part.partition(" ")
    if name in ("trunk", "head"):
        shade = 0.95 if side == "front" else 0.45
        return (shade, shade, shade) if name == "trunk" else (shade, shade, 0.2)
    place = _SUIT_ORDER.index(name) / len(_SUIT_ORDER)
    hue = (0.95 + 0.35 * place if side == "left" else 0.40 + 0.45 * place) % 1.0
    value = 1.0 if _SUIT_ORDER.index(name) % 2 == 0 else 0.6
    return colorsys.hsv_to_rgb(hue, 0.9, value)


def clothes_of(look: Look, body: DressableBody) -> Int[np.ndarray, "V"]:
    """What covers each vertex, as places in `CLOTHES`."""
    covered, names = np.zeros(len(body.along), int), np.array(body.joint_of)
    is_striped = np.zeros(len(covered), bool)
    if look.stripe:
        is_striped = (body.height / look.stripe).astype(int) % 2 == 1
    for joint in np.unique(names):
        own = names == joint
        ends, inside, outside = _end_of_cloth(look, str(joint), body.front[own])
        cloth = np.where(body.along[own] < ends, CLOTHES.index(inside), CLOTHES.index(outside))
        covered[own] = np.where((cloth == CLOTHES.index("shirt")) & is_striped[own], CLOTHES.index("stripes"), cloth)
    return covered


def _end_of_cloth(look: Look, joint: str, front: Float[np.ndarray, "N"]) -> tuple[np.ndarray | float, str, str]:
    """Where along a limb a cloth ends, what is before and what is behind."""
    name = joint.removeprefix("left_").removeprefix("right_")
    if name in ("head", "jaw"):
        return np.where(front < 0, 0.1, 0.75), "skin", "hair"
    if name in ("ankle", "foot"):
        return np.inf, "shoes" if look.has_shoes else "skin", "skin"
    if name in ("hip", "knee"):
        return look.legs - (name == "knee"), "trousers", "skin"
    if name in ("shoulder", "elbow"):
        return look.sleeves - (name == "elbow"), "shirt", "skin"
    if name == "pelvis":
        return np.inf, "trousers", "skin"
    if name.startswith("spine") or name == "collar":
        return np.inf, "shirt", "skin"
    return np.inf, "skin" if name == "neck" or not look.has_gloves else "gloves", "skin"


def _dressed(look: Look, body: DressableBody, vertices: Float[np.ndarray, "V 3"]) -> list[Mesh]:
    cloth_of, normals = clothes_of(look, body), vertex_normals(vertices, body.faces)
    of_face = cloth_of[body.faces[:, 0]]
    return [
        Mesh(vertices_camera=vertices, faces=body.faces[of_face == cloth], colour=colour, normals=normals)
        for cloth, colour in enumerate(look.colours)
        if (of_face == cloth).any()
    ]


def _shadow(
    renderer: Renderer,
    look: Look,
    body: DressableBody,
    vertices: Float[np.ndarray, "V 3"],
    view: View,
    up: Float[np.ndarray, "3"],
) -> Float[np.ndarray, "H W"]:
    """Share of the light that is missing on the floor: the body laid along the light onto the plane below its lowest
    vertex, with a soft edge."""
    import cv2

    above = vertices @ up
    above = above - above.min()
    towards = np.asarray(look.light.direction, np.float64)
    # A light from below the floor, where the camera looks up steeply, casts it straight down.
    rise = towards @ up
    towards = towards / rise if rise > 0.2 else up
    laid = vertices - above[:, None] * towards
    is_before = bool((laid[:, 2] > 0.1).all())
    if not is_before:
        return np.zeros((view.height, view.width), np.float32)
    cover = renderer.render([Mesh(vertices_camera=laid, faces=body.faces)], view)[..., 3].astype(np.float32) / 255
    return np.asarray(cv2.GaussianBlur(cover, (0, 0), max(look.softness * view.height, 0.3)))


def _background(look: Look, view: View) -> Float[np.ndarray, "H W 3"]:
    """Behind the person, red, green, blue in [0, 1]."""
    import cv2

    rng = np.random.default_rng(look.background_seed)
    high, wide = view.height, view.width
    first, second = rng.uniform(0.05, 0.95, (2, 3)).astype(np.float32)
    if look.background == "plain":
        return np.broadcast_to(first, (high, wide, 3)).copy()
    if look.background == "gradient":
        share = np.linspace(0, 1, high, dtype=np.float32)[:, None, None]
        return np.broadcast_to(first * (1 - share) + second * share, (high, wide, 3)).copy()
    if look.background == "clouds":
        total = np.zeros((high, wide, 3), np.float32)
        for cells in (3, 6, 12, 24):
            coarse = rng.uniform(0, 1, (cells, cells, 3)).astype(np.float32)
            total += np.asarray(cv2.resize(coarse, (wide, high), interpolation=cv2.INTER_CUBIC)) * (2.0 / cells)
        return np.clip(first + total - total.mean(), 0, 1)
    canvas = np.broadcast_to(first, (high, wide, 3)).copy()
    if look.background == "room":
        edge = int(high * rng.uniform(0.45, 0.8))
        canvas[edge:] = second
        for line in np.linspace(0, wide, int(rng.integers(3, 12))):
            slope = float(rng.uniform(-0.05, 0.05)) * wide + 1.6 * (line - wide / 2)
            start, end = (int(line), edge), (int(line + slope), high)
            cv2.line(canvas, start, end, (second * 0.8).tolist(), max(high // 200, 1))
        for _ in range(int(rng.integers(0, 4))):
            _rectangle(canvas, rng, top=0, bottom=edge)
        return canvas
    for _ in range(int(rng.integers(4, 16))):
        if rng.random() < 0.5:
            _rectangle(canvas, rng, top=0, bottom=high)
        else:
            middle = (int(rng.integers(wide)), int(rng.integers(high)))
            axes = tuple(int(axis) for axis in rng.integers(1, max(high // 3, 2), 2))
            colour = rng.uniform(0, 1, 3).tolist()
            cv2.ellipse(canvas, middle, (axes[0], axes[1]), float(rng.uniform(0, 180)), 0, 360, colour, -1)
    return canvas


def _rectangle(canvas: Float[np.ndarray, "H W 3"], rng: np.random.Generator, *, top: int, bottom: int) -> None:
    import cv2

    wide = canvas.shape[1]
    columns, rows = np.sort(rng.integers(0, wide, 2)), np.sort(rng.integers(top, max(bottom, top + 1), 2))
    colour = rng.uniform(0, 1, 3).tolist()
    cv2.rectangle(canvas, (int(columns[0]), int(rows[0])), (int(columns[1]), int(rows[1])), colour, -1)


def _photographed(look: Look, picture: Float[np.ndarray, "H W 3"]) -> UInt8[np.ndarray, "H W 3"]:
    import cv2

    picture = picture.astype(np.float32) * np.asarray(look.gain, np.float32)
    if look.blur:
        picture = np.asarray(cv2.GaussianBlur(picture, (0, 0), look.blur))
    if look.noise:
        rng = np.random.default_rng([look.background_seed, 1])
        picture = picture + rng.normal(0, look.noise, picture.shape).astype(np.float32)
    return np.clip(picture * 255 + 0.5, 0, 255).astype(np.uint8)


def contact_sheet(pictures: Sequence[UInt8[np.ndarray, "H W 3"]], columns: int) -> UInt8[np.ndarray, "rows cols 3"]:
    """Pictures of one size side by side, in rows of so many; the last row is filled with black."""
    high, wide = pictures[0].shape[:2]
    rows = -(-len(pictures) // columns)
    sheet = np.zeros((rows * high, columns * wide, 3), np.uint8)
    for number, picture in enumerate(pictures):
        row, column = divmod(number, columns)
        sheet[row * high : (row + 1) * high, column * wide : (column + 1) * wide] = picture
    return sheet
