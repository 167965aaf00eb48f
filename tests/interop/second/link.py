"""The link: one WebSocket, and the login on it."""

import contextlib
import socket
import ssl
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from .encoding import FRAME, Malformed, choice, field, frame, optional, pack, read_frame
from .keys import SigningKey, Unproven, sha256

SUBPROTOCOL = "waxwing.v1"
FEATURES = {"dedupe_days": 8, "envelope": 327_680}
DEAD = 45


class Ended(Exception):
    """The link has ended, and why, if the broker has said."""

    def __init__(self, reason: str | None, detail: str = ""):
        super().__init__(f"{reason}: {detail}")
        self.reason = reason


@dataclass
class Broker:
    """Where it is, by what to know it, and which way to go there if not straight."""

    url: str
    pin: bytes | None = None
    by: tuple[str, int] | None = None

    def dial(self) -> connect:
        parts = urlsplit(self.url)
        secure = parts.scheme == "wss"
        place = self.by or (parts.hostname, parts.port or (443 if secure else 80))
        stream = socket.create_connection(place, timeout=10)
        if secure:
            stream = self._secured(stream, parts.hostname)
        # The stream is as secure as it must be by now: what is left is the WebSocket.
        return connect(
            f"ws://{parts.netloc}/v1/link",
            sock=stream,
            subprotocols=[SUBPROTOCOL],
            compression=None,
            max_size=FRAME,
            ping_interval=20,
            ping_timeout=25,
            open_timeout=10,
            close_timeout=5,
            proxy=None,
        )

    def _secured(self, stream: socket.socket, host: str) -> ssl.SSLSocket:
        context = ssl.create_default_context()
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.set_alpn_protocols(["http/1.1"])
        if self.pin:
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        secured = context.wrap_socket(stream, server_hostname=host)
        if self.pin:
            certificate = x509.load_der_x509_certificate(secured.getpeercert(binary_form=True))
            key = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
            if sha256(key) != self.pin:
                secured.close()
                raise Unproven("the broker has another key than the pin says")
        return secured


class Link:
    """Frames, one after the other."""

    def __init__(self, broker: Broker):
        self.broker = broker
        self._opened = contextlib.ExitStack()
        self.socket: ClientConnection = self._opened.enter_context(broker.dial())
        if self.socket.subprotocol != SUBPROTOCOL:
            raise Malformed("the broker does not speak this protocol")
        self.challenge = self.expect("challenge")
        self.offset = field(self.challenge, "clock", int) - now()

    def send(self, name: str, body: dict) -> None:
        try:
            self.socket.send(frame(name, body))
        except ConnectionClosed as error:
            raise Ended(None, str(error)) from error

    def receive(self, within: float = DEAD) -> tuple[str, dict]:
        try:
            data = self.socket.recv(timeout=within)
        except ConnectionClosed as error:
            raise Ended(None, str(error)) from error
        if not isinstance(data, bytes):
            raise Malformed("a text from a broker")
        name, body = read_frame(data)
        if name == "goaway":
            self.close()
            raise Ended(choice(body["reason"])[0], body["detail"])
        return name, body

    def expect(self, wanted: str) -> dict:
        name, body = self.receive(10)
        if name != wanted:
            raise Malformed(f"{name} came instead of {wanted}")
        return body

    def _hello(self, kind: str, fields: dict, key: SigningKey) -> dict:
        if 0 not in field(self.challenge, "versions", list):
            raise Ended("unsupported", "the broker does not serve this version")
        said = {"nonce": field(self.challenge, "nonce", bytes, 32), "url": self.broker.url}
        said |= {"version": 0, "features": FEATURES}
        self.send("hello", key.signed("login", pack({kind: said | fields})))
        return self._welcomed(self.expect("welcome"))

    def _welcomed(self, welcome: dict) -> dict:
        has = field(welcome, "features", dict)
        if any(has.get(name, 0) < least for name, least in FEATURES.items()):
            raise Ended("unsupported", "the broker lacks what this node needs")
        if field(welcome, "waits", bool):
            raise Ended("resume_wanted", "this node cannot wait")
        self.offset = field(welcome, "clock", int) - now()
        return welcome

    def enter(self, mesh: bytes, key: SigningKey) -> dict:
        return self._hello("entering", {"mesh": mesh, "key": key.public, "creation": None}, key)

    def log_in(self, fields: dict, key: SigningKey) -> dict:
        return self._hello("member", fields, key)

    def close(self) -> None:
        self._opened.close()


def now() -> int:
    return time.time_ns() // 1_000_000


def said_error(body: dict) -> Exception:
    code, _ = choice(body["code"])
    return Refusal(code, field(body, "detail", str), optional(body, "after", int))


class Refusal(Exception):
    """A request that the broker does not serve."""

    def __init__(self, code: str, detail: str, after: Any):
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.after = after
