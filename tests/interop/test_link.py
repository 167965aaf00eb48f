"""The broker's WebSocket and its login, by the `websockets` library and, in ws/, by npm's `ws`."""

import base64
import copy
import datetime
import ipaddress
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from product import Broker, RustNode
from relay import flipped
from second.encoding import FRAME, frame, pack, read_frame
from second.keys import SigningKey, Unproven, sha256
from second.link import SUBPROTOCOL, Ended, Link, Refusal
from second.link import Broker as Where
from second.node import Node
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

WS = os.environ.get("INTEROP_WS", str(Path(__file__).parent / "ws"))


def dial(broker, **options):
    defaults = {"subprotocols": [SUBPROTOCOL], "compression": None, "proxy": None, "close_timeout": 5}
    return connect(f"{broker.url}/v1/link", **defaults | options)


def farewell(socket) -> tuple[str | None, object]:
    """The reason of the last frame, and the broker's close frame."""
    reason = None
    try:
        while True:
            name, body = read_frame(socket.recv(timeout=10))
            reason = body["reason"] if name == "goaway" else reason
    except ConnectionClosed as closed:
        return reason, closed.rcvd


def answer(node) -> dict:
    """Of the request 77."""
    while True:
        _, body = node.link.receive(10)
        if body.get("req") == 77:
            return body


def test_the_subprotocol_is_agreed_on_and_compression_is_declined(broker):
    with dial(broker, compression="deflate") as socket:
        assert "permessage-deflate" in socket.request.headers["Sec-WebSocket-Extensions"]
        assert "Sec-WebSocket-Extensions" not in socket.response.headers
        assert (socket.subprotocol, socket.protocol.extensions) == (SUBPROTOCOL, [])
        assert read_frame(socket.recv(timeout=10))[0] == "challenge"


@pytest.mark.parametrize("offered", [None, ["waxwing.v2"], ["chat", "mqtt"]])
def test_without_the_subprotocol_there_is_no_link(broker, offered):
    with pytest.raises(InvalidStatus) as refused, dial(broker, subprotocols=offered):
        pass
    assert refused.value.response.status_code == 400


def test_pings_are_answered_with_what_was_in_them(broker):
    with dial(broker) as socket:
        for payload in (b"", b"x" * 125, b"\xff\x00"):
            assert socket.ping(payload).wait(10), payload
        socket.pong(b"nobody asked")
        assert socket.ping(b"still there").wait(10)


@pytest.mark.parametrize("piece", [1, 7, 1000])
def test_a_message_in_fragments_is_one_message(broker, joined, piece):
    node = joined()
    asked = frame("log.get", {"req": 77, "after": 0})
    node.link.socket.send([asked[at : at + piece] for at in range(0, len(asked), piece)])
    entries = answer(node)["entries"]
    assert [entry["b"] for entry in entries] == [entry["b"] for entry in node.entries]


def test_the_largest_message_is_read_whole_or_in_fragments(joined):
    node = joined()
    filled = frame("log.get", {"req": 77, "after": 2**60, "later": b""})
    largest = frame("log.get", {"req": 77, "after": 2**60, "later": bytes(FRAME - len(filled) - 3)})
    assert len(largest) == FRAME
    for sent in (largest, [largest[:1], largest[1:500_000], largest[500_000:]]):
        node.link.socket.send(sent)
        assert answer(node)["entries"] == []


@pytest.mark.parametrize("in_fragments", [False, True])
def test_a_message_that_is_too_large_ends_the_link_and_the_broker_says_why(joined, in_fragments):
    node = joined()
    large = bytes(FRAME + 1)
    try:
        node.link.socket.send([large[:FRAME], large[FRAME:]] if in_fragments else large)
    except ConnectionClosed:
        pass
    reason, close = farewell(node.link.socket)
    assert reason == "frame_too_large"
    assert close is not None and close.code == 1005, "a close, without a code"


@pytest.mark.parametrize("logged_in", [False, True])
def test_a_text_ends_the_link_and_the_broker_says_why(broker, joined, logged_in):
    socket = joined().link.socket if logged_in else None
    if socket is None:
        with dial(broker) as socket:
            socket.send("hello")
            assert farewell(socket)[0] == "protocol_violation"
    else:
        socket.send("hello")
        reason, close = farewell(socket)
        assert (reason, close.code) == ("protocol_violation", 1005)


@pytest.mark.parametrize("code", [1000, 1001, 4999])
def test_a_close_is_answered_with_a_close(broker, code):
    with dial(broker) as socket:
        socket.close(code, "bye")
        assert (socket.protocol.close_rcvd.code, socket.protocol.close_rcvd.reason) == (code, "bye")


def test_what_is_not_understood_is_said_and_the_link_goes_on(joined):
    node = joined()
    for sent, code in [
        (frame("later", {}), "unsupported"),
        (frame("log.get", {"req": 77}), "bad_frame"),
        (b"\xc1", "bad_frame"),
    ]:
        node.link.socket.send(sent)
        name, body = node.link.receive(10)
        while name != "error":
            name, body = node.link.receive(10)
        assert body["code"] == code
    with pytest.raises(Refusal) as refused:
        node._ask("log.append", {"entry": {"b": b"\xee", "s": [bytes(64)]}}, "log")
    assert refused.value.code == "bad_frame"


class Liar(Link):
    """A link whose hello says something else than is true."""

    lie: dict

    def log_in(self, fields, key):
        said = {"nonce": self.challenge["nonce"], "url": self.broker.url, "version": 0, "features": {}} | fields
        self.send("hello", key.signed("login", pack({"member": said | self.lie})))
        return self.expect("welcome")


@pytest.mark.parametrize(
    ("lie", "reason"),
    [
        ({"nonce": bytes(32)}, "unauthenticated"),
        ({"node": bytes(16)}, "unauthenticated"),
        ({"url": "ws://192.0.2.1:7900"}, "wrong_broker"),
        ({"version": 9}, "unsupported"),
        ({"features": {"teleport": 1}}, "unsupported"),
        ({"progress": {"login": 0, "through": 0, "rows": 0}}, "stale_state"),
        ({"progress": {"login": 2**62 + 1, "through": 0, "rows": 0}}, "protocol_violation"),
        ({"head": None}, "protocol_violation"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else value,
)
def test_a_login_that_says_what_is_not_true_is_refused_for_its_reason(joined, lie, reason):
    node = joined()
    link = Liar(node.broker)
    link.lie = lie
    fields = {"mesh": node.mesh, "node": node.id, "head": node.log.head, "mark": node.mark}
    fields["progress"] = {"login": node.login, "through": node.through, "rows": node.rows}
    with pytest.raises(Ended) as ended:
        link.log_in(fields, node.signing)
    assert ended.value.reason == reason
    node.publish_prekey()


def test_another_key_does_not_log_in_as_the_node(joined):
    node = joined()
    node.disconnect()
    own, node.signing = node.signing, SigningKey()
    identity = type(node).id
    try:
        type(node).id = property(lambda self: self.log.named(self.name))
        with pytest.raises(Ended) as ended:
            node.connect()
    finally:
        type(node).id = identity
    assert ended.value.reason == "unauthenticated"
    node.signing = own
    node.connect()


def test_of_two_copies_the_second_login_takes_over_and_the_older_state_is_refused(joined):
    node = joined()
    older = copy.copy(node)
    node.connect()
    with pytest.raises(Ended) as ended:
        older.until(lambda: False, "it is told")
    assert ended.value.reason == "replaced"
    with pytest.raises(Ended) as ended:
        older.connect()
    assert ended.value.reason == "stale_state"
    node.publish_prekey()


def test_a_token_lets_in_as_many_as_it_says(alpha):
    token = alpha.invite()
    Node.join(f"py-{os.urandom(4).hex()}", token)
    with pytest.raises(Exception, match="invite") as refused:
        Node.join(f"py-{os.urandom(4).hex()}", token)
    assert type(refused.value).__name__ in ("Refused", "Refusal")


def certificate(folder: Path) -> tuple[list[str], str]:
    """One that nobody vouches for, as flags of the broker; and its pin."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "waxwing")])
    begins = datetime.datetime.now(datetime.UTC) - datetime.timedelta(hours=1)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(begins)
        .not_valid_after(begins + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .sign(key, hashes.SHA256())
    )
    chain, secret = folder / "chain.pem", folder / "key.pem"
    chain.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    secret.touch(mode=0o600)
    secret.write_bytes(key.private_bytes(*form))
    public = key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    pin = base64.urlsafe_b64encode(sha256(public)).decode().rstrip("=")
    return ["--tls-cert", str(chain), "--tls-key", str(secret)], pin


def test_over_tls_the_broker_is_known_by_its_pin_and_another_is_told_nothing(tmp_path):
    tmp_path.chmod(0o700)
    flags, pin = certificate(tmp_path)
    broker = Broker(tmp_path, *flags)
    alpha = RustNode(tmp_path, "alpha", f"{broker.url}#pin={pin}")
    node = Node.join("gamma", alpha.invite())
    assert node.broker.url.startswith("wss://") and node.broker.pin
    node.connect()
    row = node.send("alpha", b"by TLS")
    node.until(lambda: row.state == "delivered", "it arrives")
    node.disconnect()
    for pin in (flipped(node.broker.pin), None):
        with pytest.raises((Unproven, OSError), match="pin|certificate"):
            Where(node.broker.url, pin).dial()
    node.connect()
    node.disconnect()
    alpha.process.stop()
    broker.stop()


def test_the_ws_library_of_npm_finds_the_same(broker, figures):
    done = subprocess.run(  # noqa: PLW1510
        [shutil.which("node"), "--test", "--test-reporter=tap", "cases.test.js"],
        cwd=WS,
        env={"PATH": os.environ["PATH"], "WAXWING_BROKER": broker.url},
        capture_output=True,
        text=True,
        timeout=60,
    )
    print(done.stdout, done.stderr)
    assert done.returncode == 0
    passed = int(re.search(r"^# pass (\d+)$", done.stdout, re.MULTILINE)[1])
    assert passed >= 12
    figures["cases of the link, by npm's ws"] = passed
