"""Pictures of high dynamic range (PQ and HLG, ITU-R BT.2100) brought to standard range, as screens and models know it.

The rule is one for both: light as a display of 1,000 cd/m2 shows it; white, which ITU-R BT.2408 puts at 203 cd/m2,
becomes the white of standard range, and what is brighter is pressed into the last fifth below it; colours of BT.2020
become those of BT.709; and the display's gamma of 2.4 (ITU-R BT.1886) is taken out. Shown without it such pictures are
grey and pale.
"""

import functools
from typing import Literal

import numpy as np
from jaxtyping import Float, UInt8, UInt16

Transfer = Literal["PQ", "HLG"]
#: Numbers of ITU-T H.273.
_TRANSFERS: dict[int, Transfer] = {16: "PQ", 18: "HLG"}
_BT2020 = 9
#: Luminance of white, and the peak of the display that HLG is meant for, cd/m2.
_WHITE, _PEAK = 203.0, 1000.0
#: Light from which it is pressed together, of white.
_KNEE = 0.8
_GAMMA, _SYSTEM_GAMMA = 2.4, 1.2
#: From linear BT.2020 to linear BT.709 (ITU-R BT.2087, inverted).
_TO_709 = np.array([[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]], np.float32)
#: Luminance of linear BT.2020.
_LUMINANCE = np.array([[0.2627, 0.6780, 0.0593]], np.float32)
#: Signals are told apart by 14 bits.
_BITS_LEFT_OUT = 2
#: Light beyond which all is the same, of white, and steps of its square root up to there.
_BRIGHTEST, _ROOTS = 16.0, 8192


def transfer_of(transfer: int) -> Transfer | None:
    """Which high dynamic range the transfer of a stream stands for (ITU-T H.273); None if none."""
    return _TRANSFERS.get(int(transfer))


def to_standard_range(
    signal: UInt16[np.ndarray, "H W 3"], transfer: Transfer, *, is_bt2020: bool = True
) -> UInt8[np.ndarray, "H W 3"]:
    """A picture as a screen of standard range shows it.

    Args:
        signal: RGB of full range, 0 to 65535.
        transfer: What its numbers mean.
        is_bt2020: Whether its colours are those of BT.2020; else BT.709.

    Returns:
        RGB, 0 to 255.
    """
    import cv2

    light = _light_of_signals(transfer).take(signal >> _BITS_LEFT_OUT)
    if transfer == "HLG":
        # Scene light, 1 at the peak; the display's is brighter where the scene is.
        luminance = np.maximum(cv2.transform(light, _LUMINANCE), 1e-6)
        light *= (_PEAK / _WHITE) * cv2.pow(luminance, _SYSTEM_GAMMA - 1).reshape(*light.shape[:2], 1)
    if is_bt2020:
        light = cv2.transform(light, _TO_709)
    root = np.sqrt(np.clip(light, 0, _BRIGHTEST) / _BRIGHTEST)
    return _shown_of_roots().take((root * (_ROOTS - 1) + 0.5).astype(np.uint16))


def is_bt2020(primaries: int) -> bool:
    """Whether colours are those of BT.2020; so they are if a stream of high dynamic range does not tell (2)."""
    return int(primaries) in (_BT2020, 2)


@functools.cache
def _light_of_signals(transfer: Transfer) -> Float[np.ndarray, "N"]:
    """Light of every signal: for PQ the display's, 1 at white; for HLG the scene's, 1 at the peak."""
    count = 65536 >> _BITS_LEFT_OUT
    value = np.arange(count) / (count - 1)
    if transfer == "PQ":
        # SMPTE ST 2084.
        powered = np.power(value, 32 / 2523)
        above = np.maximum(powered - 0.8359375, 0) / (18.8515625 - 18.6875 * powered)
        return (10_000 / _WHITE * np.power(above, 16384 / 2610)).astype(np.float32)
    # ITU-R BT.2100, table 5.
    high = (np.exp((value - 0.55991073) / 0.17883277) + 0.28466892) / 12
    return np.where(value <= 0.5, value**2 / 3, high).astype(np.float32)


@functools.cache
def _shown_of_roots() -> UInt8[np.ndarray, "N"]:
    """What a screen is told to show, by the square root of light of which the largest is `_BRIGHTEST` whites."""
    light = _BRIGHTEST * np.linspace(0, 1, _ROOTS) ** 2
    pressed = 1 - (1 - _KNEE) * np.exp((_KNEE - light) / (1 - _KNEE))
    return np.round(255 * np.power(np.where(light < _KNEE, light, pressed), 1 / _GAMMA)).astype(np.uint8)
