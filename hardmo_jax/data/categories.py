"""Kinds of dance and martial arts that collected media are sorted by.

HardMo has 15 kinds of dance and 14 of martial arts. The names of 13 and 8 of them are those of its folders; the
others are not known and were filled up here with kinds that are as hard on hands and feet, which `is_recovered` tells.
"""

import dataclasses
import difflib
import re
from typing import Literal

Family = Literal["dance", "martial_arts"]


class CategoryError(ValueError):
    """No such category; the message names the nearest one."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Category:
    """A kind of motion."""

    name: str
    """Letters a to z and underscores; the name of its folder."""
    family: Family
    """Dance or martial arts."""
    meaning: str
    """In words."""
    is_recovered: bool
    """Whether HardMo has it under this name; else it is of our choice."""


def _of(family: Family, is_recovered: bool, **meanings: str) -> tuple[Category, ...]:
    return tuple(
        Category(name=name, family=family, meaning=meaning, is_recovered=is_recovered)
        for name, meaning in meanings.items()
    )


CATEGORIES: tuple[Category, ...] = (
    *_of(
        "dance",
        True,
        ballet="ballet",
        breaking="breaking (b-boying, b-girling)",
        chinese_dance="Chinese classical and folk dance",
        hip_hop="hip-hop",
        jazz="jazz dance",
        k_pop="choreographies of Korean pop",
        locking="locking",
        pole_dance="pole dance",
        popping="popping",
        zhaiwu="house dance",
        cha_cha="cha-cha-cha",
        rumba="rumba",
        tango="tango",
    ),
    *_of(
        "dance",
        False,
        waltz="waltz",
        contemporary="contemporary dance",
    ),
    *_of(
        "martial_arts",
        True,
        changquan="long fist",
        bagua="eight-trigram palm (baguazhang)",
        bajiquan="eight-extremes fist",
        daoshu="sabre",
        jianshu="straight sword",
        qiangshu="spear",
        taijiquan="tai chi",
        xingyi="form-intention fist (xingyiquan)",
    ),
    *_of(
        "martial_arts",
        False,
        nanquan="southern fist",
        gunshu="staff",
        wing_chun="wing chun (yongchun)",
        sanda="Chinese kick-boxing",
        taekwondo="taekwondo",
        karate="karate",
    ),
)

_BY_NAME = {category.name: category for category in CATEGORIES}


def category_named(name: str) -> Category:
    """The category of a name, whatever its case, hyphens and spaces.

    Raises:
        CategoryError: If there is none.
    """
    plain = re.sub(r"[\s\-]+", "_", name.strip().casefold())
    if plain in _BY_NAME:
        return _BY_NAME[plain]
    near = difflib.get_close_matches(plain, _BY_NAME, n=1, cutoff=0.4)
    hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(_BY_NAME)}"
    raise CategoryError(f"unknown category {name[:60]!r}; {hint}")
