"""What of a text may be told: no home folder, and no user, password, token or key of an address or a command.

Who hides too much loses a word of a record, who hides too little gives away an account: what is unclear is hidden.
"""

import itertools
import os
import pathlib
import re
from collections.abc import Sequence

MASK = "***"

#: Words of a name whose value is nobody's business.
_SECRET_WORDS = frozenset(
    (
        "token", "tokens", "secret", "secrets", "password", "passwords", "passwd", "passphrase", "pwd", "pass",
        "credential", "credentials", "auth", "authorization", "signature", "sig", "jwt", "bearer", "cookie", "cookies",
        "session", "sessionid", "jsessionid", "phpsessid", "sid", "apikey", "accesskey", "secretkey", "privatekey",
        "hmac", "hdnts", "hdnea", "lsig",
    )
)  # fmt: skip
#: Before `key`, which by itself may be of a keyboard, a frame or a mapping.
_OF_KEYS = frozenset(("api", "access", "private", "secret", "auth", "account", "subscription", "stream", "encryption"))
#: Names that are secret as they are, in addresses and assignments.
_SECRET_NAMES = frozenset(("key", "user", "username", "login", "email", "googleaccessid", "awsaccesskeyid"))
_WORD = re.compile(r"[A-Z]?[a-z0-9]+|[A-Z]+(?![a-z])")
_PAIR = re.compile(r"""(?:%[0-9A-Fa-f]{2})?(?P<name>[A-Za-z_][\w.-]*)["']?\s*(?:=|%3[Dd]|:(?!//))\s*["']?""")
_VALUE = re.compile(r"""[^\s&;#,"'<>]*""")
#: An address up to the next one.
_URL = re.compile(r"""([A-Za-z][A-Za-z0-9+.-]*://)((?:(?![,;|]?[A-Za-z][A-Za-z0-9+.-]*://)[^\s"'<>])*)""")
_HEADER = re.compile(r"""(?i)(\bauthorization["']?\s*[:=]\s*["']?)[^,"'\n]+""")
#: What says by itself that it is a key: bearers, web tokens, and those of hubs and clouds.
_KEYS = re.compile(
    r"(?i:\bbearer\s+)[\w.~+/-]{12,}=*|\beyJ[\w-]{8,}\.[\w-]+\.[\w-]*|\bgh[pousr]_\w{20,}|\bgithub_pat_\w{20,}|\bhf_\w{20,}"
    r"|\bglpat-[\w-]{16,}|\bsk-[\w-]{20,}|\bxox[abeoprs]-[\w-]{10,}|\bAKIA[0-9A-Z]{16}\b|\bAIza[\w-]{30,}"
)


def is_secret_name(name: str) -> bool:
    """Whether the value of a setting of this name is nobody's business."""
    words = [word.lower() for word in _WORD.findall(name)]
    pairs = itertools.pairwise(words)
    return not _SECRET_WORDS.isdisjoint(words) or any(first in _OF_KEYS and second == "key" for first, second in pairs)


def public_text(text: str) -> str:
    """A text without home folder and credentials."""
    return without_credentials(_HEADER.sub(rf"\1{MASK}", without_home(text)))


def without_credentials(text: str) -> str:
    """An address without user, password, token and signature.

    The same again for what this gave once, and for addresses that differ in nothing else. Paths are left as they are:
    on a server, one that begins like the user's home folder is no home folder.
    """
    text = _URL.sub(lambda found: found[1] + _without_user(found[2]), text)
    return _KEYS.sub(MASK, _without_secret_values(text))


def public_command(command: Sequence[str]) -> list[str]:
    """A command line without home folder and credentials, given as `--token=x` or as `--token x`."""
    public, is_value = [], False
    for argument in map(str, command):
        if is_value and re.match(r"--?[\w.-]+=", argument) is None:
            public.append(MASK)
            is_value = False
            continue
        name, equals, _ = argument.partition("=")
        is_secret = name.startswith("-") and is_secret_name(name)
        public.append(f"{name}={MASK}" if is_secret and equals else public_text(argument))
        is_value = is_secret and not equals
    return public


def without_home(text: str) -> str:
    """A text in which the user's home folder is `~`, by its name and by the one of where it really lies."""
    try:
        home = str(pathlib.Path.home())
    except RuntimeError:
        return text
    for folder in dict.fromkeys((home, os.path.realpath(home))):
        if len(folder) > 1:
            text = re.sub(re.escape(folder) + r"(?=$|[/\\:\s'\"()\[\]{},;<>|&#?])", "~", text)
    return text


def _without_user(rest: str) -> str:
    """What stands behind `scheme://`, without user and password."""
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    user, at, host = authority.rpartition("@")
    # A password may hold what ends the name of a host. A colon that is before no port is one before a password.
    has_password = ":" in user if at else re.search(r":(?!\d*$)", authority) is not None and authority[:1] != "["
    if has_password and "@" in (path := re.split(r"[?#]", rest, maxsplit=1)[0]):
        return f"{MASK}@{rest[path.rindex('@') + 1 :]}"
    return f"{MASK}@{host}{rest[len(authority) :]}" if at else rest


def _without_secret_values(text: str) -> str:
    parts, position = [], 0
    while found := _PAIR.search(text, position):
        parts.append(text[position : found.end()])
        position = found.end()
        if is_secret_name(found["name"]) or found["name"].lower() in _SECRET_NAMES:
            value = _VALUE.match(text, position)
            if value is not None and value.end() > position:
                parts.append(MASK)
                position = value.end()
    return "".join(parts) + text[position:]
