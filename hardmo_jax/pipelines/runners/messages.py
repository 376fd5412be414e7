"""Messages between a runner and the processes it starts: plain JSON and bytes, over a pipe."""

import json
import struct
from typing import IO, Any

_SIZES = struct.Struct("<IQ")
#: Of a take; a longer one means that the pipe is out of step.
_MAX_PAYLOAD = 8 << 30


class MessageError(ValueError):
    """What came through a pipe is no message: the process behind it is gone or out of step."""


def send_message(stream: IO[bytes], header: dict[str, Any], payload: bytes = b"") -> None:
    """Write a message, whole."""
    head = json.dumps(header, allow_nan=False).encode()
    stream.write(_SIZES.pack(len(head), len(payload)))
    stream.write(head)
    stream.write(payload)
    stream.flush()


def receive_message(stream: IO[bytes]) -> tuple[dict[str, Any], bytes] | None:
    """The next message; None at the end of the pipe.

    Raises:
        MessageError: If the pipe ends within one, or holds something else.
    """
    sizes = stream.read(_SIZES.size)
    if not sizes:
        return None
    if len(sizes) < _SIZES.size:
        raise MessageError("the pipe ends within a message")
    head_bytes, payload_bytes = _SIZES.unpack(sizes)
    if payload_bytes > _MAX_PAYLOAD:
        raise MessageError(f"a message of {payload_bytes} bytes is none")
    head, payload = stream.read(head_bytes), stream.read(payload_bytes)
    if len(head) < head_bytes or len(payload) < payload_bytes:
        raise MessageError("the pipe ends within a message")
    try:
        header = json.loads(head)
    except ValueError as error:
        raise MessageError(f"a message is damaged ({error})") from error
    if not isinstance(header, dict):
        raise MessageError("a message has no header")
    return header, payload
