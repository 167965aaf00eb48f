"""Bytes: frames, signed values, transcripts, numbers, names. "Words and notation" and "Encoding" in the text."""

import base64
import struct
from typing import Any

import msgpack

FRAME = 1_048_576
DEPTH = 16


class Malformed(Exception):
    """Bytes that are not what they should be."""


def u32(number: int) -> bytes:
    return struct.pack(">I", number)


def u64(number: int) -> bytes:
    return struct.pack(">Q", number)


def transcript(label: str, *fields: bytes) -> bytes:
    """What both ends build, and nobody sends."""
    laid = label.encode() + bytes(4)
    for field in fields:
        laid += u32(len(field)) + field
    return laid


def pack(value: Any) -> bytes:
    return msgpack.packb(value, use_bin_type=True)


def _fields(pairs: list) -> dict:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise Malformed("a field comes twice")
    return found


def _depth(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + max((_depth(item) for item in value.values()), default=0)
    if isinstance(value, list):
        return 1 + max((_depth(item) for item in value), default=0)
    return 0


def unpack(data: bytes) -> Any:
    """Exactly one value."""
    try:
        value = msgpack.unpackb(data, raw=False, object_pairs_hook=_fields, strict_map_key=True)
    except (ValueError, msgpack.UnpackException) as error:
        raise Malformed(str(error)) from error
    if _depth(value) > DEPTH:
        raise Malformed("nested too deeply")
    return value


def unpack_map(data: bytes) -> dict:
    value = unpack(data)
    if not isinstance(value, dict):
        raise Malformed("no map")
    return value


def choice(value: Any) -> tuple[str, Any]:
    """One of several: a name alone, or a name and what belongs to it."""
    if isinstance(value, str):
        return value, None
    if isinstance(value, dict) and len(value) == 1:
        return next(iter(value.items()))
    raise Malformed("no choice")


def field(fields: dict, name: str, kind: type, size: int | None = None) -> Any:
    """A field that must be there, of this type, and if it says so of this many bytes."""
    value = fields.get(name)
    if type(value) is not kind or (kind is int and value < 0):
        raise Malformed(f"{name} is no {kind.__name__}")
    if size is not None and len(value) != size:
        raise Malformed(f"{name} has {len(value)} bytes")
    return value


def optional(fields: dict, name: str, kind: type, size: int | None = None) -> Any:
    return None if fields.get(name) is None else field(fields, name, kind, size)


def frame(name: str, body: dict) -> bytes:
    data = pack({name: body})
    if len(data) > FRAME:
        raise Malformed(f"a frame of {len(data)} bytes")
    return data


def read_frame(data: bytes) -> tuple[str, dict]:
    name, body = choice(unpack(data))
    if not isinstance(body, dict):
        raise Malformed(f"{name} has no body")
    return name, body


def text_id(node: bytes) -> str:
    """A mesh's or node's id as people see it."""
    return base64.b32encode(node).decode().rstrip("=").lower()


def base64url(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
