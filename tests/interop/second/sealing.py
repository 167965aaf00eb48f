"""Sealing: prekeys, sessions, envelopes, the message inside, receipts, nacks."""

import json
import os
import re
import unicodedata
from dataclasses import dataclass

from .encoding import Malformed, field, optional, pack, transcript, u32, u64, unpack_map
from .keys import (
    ENC,
    SEALING_KEY,
    Context,
    SealingKey,
    SigningKey,
    Unproven,
    believed,
    encapsulate,
    hmac256,
    open_box,
    seal_box,
    sha256,
)

ENVELOPE = 327_680
BODY = 262_144
META = 16_384
META_LEVELS = 64
SIGNED = 2_048
NACK = 512
KINDS = {"message", "read"}
LIVE = {"request", "progress", "reply", "refusal", "cancel"}


class Nacked(Exception):
    """What the sender is told, signed."""

    def __init__(self, reason: str):
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True)
class Header:
    """What of a delivery is bound to its envelope."""

    mesh: bytes
    sender: bytes
    recipient: bytes
    wire_id: bytes
    priority: int
    expires: int

    def bind(self, session: bytes) -> bytes:
        ends = (session, self.mesh, self.sender, self.recipient, self.wire_id)
        return transcript("waxwing envelope v1", *ends, bytes([self.priority]), u64(self.expires))


class Prekey:
    """A short-lived sealing key of this node, and its secret."""

    def __init__(self, node: bytes, number: int, now: int, seed: bytes | None = None):
        self.number, self.secret = number, SealingKey(seed)
        self.data = pack({"node": node, "id": number, "key": self.secret.public, "created": now})


def read_prekey(value: object, node: bytes, signing: bytes) -> tuple[int, bytes]:
    """Number and key of another node's prekey, if it is one."""
    fields = unpack_map(believed(value, signing, "prekey", SIGNED))
    if field(fields, "node", bytes, 16) != node:
        raise Malformed("another node's prekey")
    return field(fields, "id", int), field(fields, "key", bytes, SEALING_KEY)


class Session:
    """What an opening makes at both ends: an id and two keys."""

    def __init__(self, data: bytes, fields: dict, shared: bytes):
        log = field(fields, "log", dict)
        info = transcript(
            "waxwing session v1",
            bytes([fields["v"]]),
            *(fields[name] for name in ("mesh", "from", "to")),
            *(u64(fields[name]) for name in ("prekey", "created", "not_after")),
            u64(field(log, "seq", int)),
            field(log, "hash", bytes, 32),
        )
        context = Context(shared, info)
        self.id = sha256(data)[:16]
        self.not_after = fields["not_after"]
        self.log = log
        self._message = context.export("waxwing message key v1")
        self._nonce = context.export("waxwing nonce key v1")

    def seal(self, header: Header, content: dict, opening: dict | None) -> bytes:
        bound, padded = header.bind(self.id), pad(pack(content))
        nonce = hmac256(self._nonce, os.urandom(32) + bound + padded)[:24]
        fields = {"s": self.id} | ({"o": opening} if opening else {})
        return pack(fields | {"n": nonce, "b": seal_box(self._message, nonce, padded, bound)})

    def open(self, header: Header, fields: dict) -> bytes:
        nonce, box = field(fields, "n", bytes, 24), field(fields, "b", bytes)
        return unpad(open_box(self._message, nonce, box, header.bind(self.id)))


def open_session(ends: tuple[bytes, bytes, bytes], prekey: tuple[int, bytes], log: dict, now: int, signing: SigningKey):
    """A session to a prekey, and the opening that tells the other end."""
    mesh, sender, recipient = ends
    number, key = prekey
    shared, enc = encapsulate(key)
    fields = {"v": 1, "mesh": mesh, "from": sender, "to": recipient, "prekey": number, "enc": enc}
    fields |= {"created": now, "not_after": now + 3_600_000, "log": log}
    data = pack(fields)
    return Session(data, fields, shared), signing.signed("opening", data)


def read_envelope(data: bytes) -> dict:
    if len(data) > ENVELOPE:
        raise Nacked("too_large")
    try:
        fields = unpack_map(data)
        field(fields, "s", bytes, 16)
        field(fields, "n", bytes, 24)
        field(fields, "b", bytes)
    except Malformed as error:
        raise Nacked("bad_seal") from error
    return fields


def opening_of(envelope: dict) -> bytes:
    """The signed bytes of an envelope's opening, if that is the one of its session. The signature comes later."""
    try:
        opening = optional(envelope, "o", dict)
        data = opening and field(opening, "b", bytes)
    except Malformed as error:
        raise Nacked("bad_seal") from error
    if not data or sha256(data)[:16] != envelope["s"]:
        raise Nacked("unknown_session")
    return data


def is_signed(opening: dict, key: bytes) -> bool:
    try:
        believed(opening, key, "opening", SIGNED)
    except (Unproven, Malformed):
        return False
    return True


OPENING = {"v": int, "mesh": bytes, "from": bytes, "to": bytes, "prekey": int, "enc": bytes, "created": int}
OPENING |= {"not_after": int, "log": dict}


def read_opening(data: bytes) -> dict:
    try:
        fields = unpack_map(data)
        for name, kind in OPENING.items():
            field(fields, name, kind)
        field(fields["log"], "seq", int)
        field(fields["log"], "hash", bytes, 32)
    except Malformed as error:
        raise Nacked("bad_seal") from error
    return fields


def accept_session(data: bytes, fields: dict, mesh: bytes, secret: SealingKey) -> Session:
    if fields["v"] != 1 or fields["mesh"] != mesh or len(fields["enc"]) != ENC:
        raise Nacked("bad_seal")
    try:
        return Session(data, fields, secret.decapsulate(fields["enc"]))
    except Malformed as error:
        raise Nacked("bad_seal") from error


def padme(length: int) -> int:
    exponent = length.bit_length() - 1
    zeros = exponent - exponent.bit_length()
    mask = (1 << max(zeros, 0)) - 1
    return (length + mask) & ~mask


def pad(content: bytes) -> bytes:
    laid = u32(len(content)) + content
    return laid.ljust(padme(len(laid)), b"\0")


def unpad(padded: bytes) -> bytes:
    length = int.from_bytes(padded[:4], "big")
    content = padded[4 : 4 + length]
    if len(padded) < 4 or pad(content) != padded:
        raise Malformed("padded in another way")
    return content


ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
APP = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")


def read_message(content: bytes) -> dict:
    """The message inside: its fields, or the nack that follows from them."""
    try:
        fields = unpack_map(content)
        _of_this_version(fields)
    except (Malformed, ValueError, RecursionError) as error:
        raise Nacked("unsupported_version") from error
    if len(fields["body"]) > BODY or len(fields["meta"]) > META:
        raise Nacked("too_large")
    return fields


def _of_this_version(fields: dict) -> None:
    kind, counter, meta = field(fields, "kind", str), field(fields, "ctr", int), field(fields, "meta", bytes)
    field(fields, "sec", bytes, 16)
    field(fields, "body", bytes)
    field(fields, "at", int)
    content_type, thread = field(fields, "ct", str).encode(), optional(fields, "th", str)
    ids = [field(fields, "id", str), optional(fields, "re", str)]
    apps = [optional(fields, "from", str), optional(fields, "to", str)]
    void = optional(fields, "void", list) or []
    answers, addressed = kind not in ("message", "request"), kind == "request"
    rules = [
        kind in KINDS | LIVE,
        (kind in LIVE) == (counter == 0),
        all(ID.fullmatch(one) for one in ids if one is not None),
        all(APP.fullmatch(one) for one in apps if one is not None),
        not answers or ids[1] is not None,
        not addressed or apps[1] is not None,
        kind in ("read", "cancel") or 1 <= len(content_type) <= 255,
        not any(unicodedata.category(sign) == "Cc" for sign in content_type.decode()),
        thread is None or 1 <= len(thread.encode()) <= 128,
        not meta or _is_metadata(json.loads(meta.decode())),
        len(void) <= 64 and all(1 <= first <= last < counter for first, last in void),
    ]
    if not all(rules):
        raise Malformed("no message of this version")


def _is_metadata(value: object) -> bool:
    return isinstance(value, dict) and _levels(value) <= META_LEVELS


def _levels(value: object) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if inner is None else 1 + max(map(_levels, inner), default=0)


def receipt(secret: bytes, wire_id: bytes) -> bytes:
    return hmac256(secret, wire_id)[:16]


def nack(signing: SigningKey, sender: bytes, wire_id: bytes, seal: int, reason: str, log: dict) -> dict:
    said = log if reason in ("log_mismatch", "unknown_sender") else None
    fields = {"to": sender, "id": wire_id, "seal": seal, "reason": reason, "log": said}
    return {"nack": signing.signed("nack", pack(fields))}


def read_nack(value: object, signing: bytes, own: bytes, wire_id: bytes) -> tuple[int, str]:
    """The seal that a recipient has refused, and why."""
    fields = unpack_map(believed(value, signing, "nack", NACK))
    if field(fields, "to", bytes, 16) != own or field(fields, "id", bytes, 16) != wire_id:
        raise Malformed("a nack of another message")
    return field(fields, "seal", int), field(fields, "reason", str)
