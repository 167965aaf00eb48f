"""Invite tokens."""

from dataclasses import dataclass

from .encoding import Malformed, base64url
from .keys import SealingKey, SigningKey, hkdf, sha256


@dataclass
class Token:
    url: str
    mesh: bytes
    signing: SigningKey
    sealing: SealingKey
    pin: bytes | None


def parse(text: str) -> Token:
    if not text.startswith("ww1_"):
        raise Malformed("no invite token")
    data = base64url(text[4:])
    if len(data) < 4 or sha256(b"waxwing token v1\0", data[:-4])[:4] != data[-4:]:
        raise Malformed("the checksum of the token is wrong")
    if data[0] != 1:
        raise Malformed("a token of another version")
    end = 3 + int.from_bytes(data[1:3], "big")
    url, rest = data[3:end].decode("ascii"), data[end:-4]
    mesh, seed, pinned, pin = rest[:16], rest[16:48], rest[48:49], rest[49:]
    if (pinned, len(pin)) not in [(b"\0", 0), (b"\1", 32)]:
        raise Malformed("a token of another length")
    return Token(
        url,
        mesh,
        SigningKey(hkdf(seed, b"waxwing invite signing v1\0")),
        SealingKey(hkdf(seed, b"waxwing invite sealing v1\0")),
        pin or None,
    )
