"""The node: joins, keeps the log, sends, receives, settles. One thread; whoever waits reads what comes meanwhile."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from dataclasses import field as made
from typing import Any

from . import membership, sealing
from .encoding import Malformed, choice, field, optional
from .invite import Token, parse
from .keys import SealingKey, SigningKey, Unproven, hmac256, node_id, open_state_keys
from .link import Broker, Ended, Link, now, said_error

# What is waited for may also be another process: how often that is looked at while nothing comes.
LOOK = 0.05
WEEK = 7 * 24 * 3_600_000
PRIORITIES = {"now": 0, "next": 1, "low": 2}
AGAIN = {"unknown_session", "unknown_prekey", "bad_seal", "unknown_sender", "log_mismatch"}


@dataclass
class Sent:
    """A row of the outbox."""

    to: bytes
    wire_id: bytes
    priority: int
    expires: int
    content: dict
    seal: int = 0
    state: str = "queued"
    nacks: list[str] = made(default_factory=list)
    receipts: int = 0
    session: bytes = b""


@dataclass
class Outgoing:
    """A session to another node, and its opening until a receipt shows that it has arrived."""

    session: sealing.Session
    opening: dict | None


@dataclass
class Lane:
    """What of a lane was shown, and what waits for a lower counter."""

    next: int = 1
    held: dict[int, dict] = made(default_factory=dict)


@dataclass
class Node:
    name: str
    broker: Broker
    mesh: bytes
    signing: SigningKey = made(default_factory=SigningKey)
    sealing_key: SealingKey = made(default_factory=SealingKey)
    state_keys: dict[int, bytes] = made(default_factory=dict)
    entries: list[dict] = made(default_factory=list)
    log: membership.Log | None = None
    link: Link | None = None
    login: int = 0
    through: int = 0
    rows: int = 0
    mark: dict | None = None
    outbox: dict[bytes, Sent] = made(default_factory=dict)
    inbox: list[dict] = made(default_factory=list)
    receipts: dict[tuple[bytes, str], tuple[bytes, bytes]] = made(default_factory=dict)
    prekeys: dict[int, SealingKey] = made(default_factory=dict)
    outgoing: dict[bytes, Outgoing] = made(default_factory=dict)
    incoming: dict[bytes, tuple[bytes, bytes, sealing.Session]] = made(default_factory=dict)
    counters: dict[tuple[bytes, int], int] = made(default_factory=dict)
    lanes: dict[tuple[bytes, int], Lane] = made(default_factory=dict)  # By the sender's signing key, and priority.
    opened: int = 0
    refused: list[str] = made(default_factory=list)
    mute: bool = False
    forge: bool = False
    _request: int = 0
    _delivering: list[dict] = made(default_factory=list)
    _secret: bytes = made(default_factory=lambda: os.urandom(32))

    @property
    def id(self) -> bytes:
        return node_id(self.signing.public)

    # Entering and logging in.

    @classmethod
    def join(cls, name: str, token_text: str, by: tuple[str, int] | None = None) -> "Node":
        """Enters the mesh of an invite token. `by` is another way to the broker than its URL."""
        token = parse(token_text)
        node = cls(name, Broker(token.url, token.pin, by), token.mesh)
        node.link = Link(node.broker)
        node.link.enter(token.mesh, token.signing)
        node._read_log()
        node._enter(token)
        node.link.close()
        return node

    def _enter(self, token: Token) -> None:
        box = self.log.invites[token.signing.public].state_keys
        self.state_keys = open_state_keys(token.sealing, box)
        member = {"name": self.name, "signing": self.signing.public}
        member |= {"sealing": self.sealing_key.public, "host": os.urandom(32)}
        entry = membership.join(self.log, member, token.signing, self.signing, self._broker_clock())
        self._extend(self._ask("log.append", {"entry": entry}, "log"))
        if self.log.member(self.id) is None:
            raise Malformed("the log has not taken the join")

    def connect(self) -> dict:
        """Logs in as a member, says that the welcome is kept, and publishes a prekey."""
        self.link = Link(self.broker)
        fields: dict[str, Any] = {"mesh": self.mesh, "node": self.id, "head": self.log.head, "mark": self.mark}
        fields["progress"] = {"login": self.login, "through": self.through, "rows": self.rows}
        welcome = self.link.log_in(fields, self.signing)
        self.login, self.through = field(welcome, "login", int), 0
        if field(welcome, "head", dict)["seq"] < self.log.head["seq"]:
            raise Malformed("log_rollback")
        self.link.send("settle", {"through": 0, "items": []})
        self._read_log()
        self.publish_prekey()
        return welcome

    def disconnect(self) -> None:
        self.link.close()

    def publish_prekey(self) -> int:
        number = max([now(), *(known + 1 for known in self.prekeys)])
        prekey = sealing.Prekey(self.id, number, now())
        self.prekeys[number] = prekey.secret
        self._ask("prekey.put", {"prekey": self.signing.signed("prekey", prekey.data)}, "done")
        return number

    def _broker_clock(self) -> int:
        return now() + self.link.offset

    # The log.

    def _read_log(self) -> None:
        while True:
            after = len(self.entries)
            answer = self._ask("log.get", {"after": after}, "log")
            self._extend(answer)
            if answer["head"] is None or self.log.head["seq"] >= answer["head"]["seq"]:
                return

    def _extend(self, body: dict) -> None:
        self._keep_mark(body)
        for entry in field(body, "entries", list):
            log = self.log or membership.Log(self.mesh)
            data = field(entry, "b", bytes)
            if membership.entry_hash(data) in log.hashes:
                continue
            log.apply(entry)
            self.log = log
            self.entries.append(entry)

    # Requests, and what comes without being asked for.

    def _ask(self, name: str, body: dict, wanted: str) -> dict:
        self._request += 1
        request = self._request
        self.link.send(name, {"req": request} | body)
        while True:
            came, answer = self.link.receive()
            if answer.get("req") != request:
                self._handle(came, answer)
            elif came == "error":
                raise said_error(answer)
            elif came == wanted:
                return answer
            else:
                raise Malformed(f"{came} came instead of {wanted}")

    def until(self, done: Callable[[], Any], what: str, within: float = 20) -> Any:
        """Reads what comes until it is so."""
        end = time.monotonic() + within
        while not (found := done()):
            left = end - time.monotonic()
            if left <= 0:
                raise AssertionError(f"not within {within} s: {what}")
            try:
                self._handle(*self.link.receive(min(left, LOOK)))
            except TimeoutError:
                continue
        return found

    def _handle(self, name: str, body: dict) -> None:
        if name == "deliver":
            self._delivering.append(body)
            if len(self._delivering) == 1:
                self._deliver_all()
        elif name == "log":
            self._extend(body)
        elif name not in ("mesh.notice", "done"):
            raise Malformed(f"{name} was not asked for")

    def _keep_mark(self, body: dict) -> None:
        mark = optional(body, "mark", dict)
        if mark is not None:
            self.mark = mark

    # Sending.

    def send(self, to: str, body: bytes, /, **more: Any) -> Sent:
        """Puts a message into the outbox and hands it over. `more` is any field of the message inside, and `priority`."""
        row = self.row(to, body, **more)
        self.hand_over(row, self.seal(row))
        return row

    def row(self, to: str, body: bytes, /, **more: Any) -> Sent:
        node, priority = self.log.named(to), PRIORITIES[more.pop("priority", "next")]
        self.rows += 1
        lane = (node, priority)
        if more.get("ctr") != 0:
            self.counters[lane] = self.counters.get(lane, 0) + 1
        client_id = more.pop("id", None) or os.urandom(16).hex()
        content = {
            "id": client_id,
            "ctr": self.counters.get(lane),
            "sec": hmac256(self._secret, node + client_id.encode())[:16],
        }
        content |= {"kind": "message", "ct": "text/plain", "body": body, "meta": b"", "at": now()} | more
        wire_id = hmac256(self._secret, client_id.encode())[:16]
        row = Sent(node, wire_id, priority, self._broker_clock() + WEEK, content)
        self.outbox[wire_id] = row
        return row

    def seal(self, row: Sent) -> bytes:
        going = self.outgoing.get(row.to)
        if going is None or going.session.not_after <= now() or going.session.log != self.log.head:
            going = self.outgoing[row.to] = Outgoing(*self._open_session(row.to))
        row.session = going.session.id
        return going.session.seal(self._header(row), row.content, going.opening)

    def _header(self, row: Sent) -> sealing.Header:
        return sealing.Header(self.mesh, self.id, row.to, row.wire_id, row.priority, row.expires)

    def _open_session(self, to: bytes) -> tuple[sealing.Session, dict]:
        end = time.monotonic() + 10
        while (found := self._ask("prekey.get", {"nodes": [to]}, "prekey")["prekeys"][0])["prekey"] is None:
            if time.monotonic() > end:
                raise Malformed("no prekey of that node")
            time.sleep(LOOK)
        if found["node"] != to:
            raise Malformed("the prekey of another node")
        prekey = sealing.read_prekey(found["prekey"], to, self.log.member(to).signing)
        return sealing.open_session((self.mesh, self.id, to), prekey, self.log.head, now(), self.signing)

    def hand_over(self, row: Sent, envelope: bytes) -> str:
        """What the broker says of it."""
        fingerprint = hmac256(self._secret, row.wire_id + row.content["body"])
        item = {"to": row.to, "id": row.wire_id, "fp": fingerprint, "pri": row.priority, "exp": row.expires}
        item |= {"seal": row.seal, "first": True, "env": envelope}
        answer = self._ask("send", {"rows": self.rows, "items": [item]}, "sent")
        self._keep_mark(answer)
        outcome, _ = choice(answer["outcomes"][0])
        if outcome in ("accepted", "duplicate") and row.state == "queued":
            row.state = "accepted"
        return outcome

    def seal_anew(self, row: Sent) -> str:
        self.outgoing.pop(row.to, None)
        row.seal += 1
        return self.hand_over(row, self.seal(row))

    # Receiving.

    def _deliver_all(self) -> None:
        """One frame after the other: what comes while one asks the broker for the log waits here."""
        try:
            while self._delivering:
                self._deliver(self._delivering[0])
                self._delivering.pop(0)
        except BaseException:
            self._delivering.clear()
            raise

    def _deliver(self, body: dict) -> None:
        items, through = [], self.through
        for delivery in field(body, "items", list):
            kind, fields = choice(delivery)
            if field(fields, "n", int) != through + 1:
                raise Malformed("a delivery out of turn")
            through += 1
            if kind == "notice":
                self._notice(fields)
            else:
                items.append(self._settled(fields))
        self.through = through
        if through and not self.mute:
            self.link.send("settle", {"through": through, "items": items})

    def _settled(self, fields: dict) -> dict:
        try:
            return {"receipt": self._receive(fields)}
        except sealing.Nacked as nacked:
            self.refused.append(nacked.reason)
            sender, wire_id = field(fields, "from", bytes, 16), field(fields, "id", bytes, 16)
            return sealing.nack(self.signing, sender, wire_id, fields["seal"], nacked.reason, self.log.head)

    def _receive(self, fields: dict) -> bytes:
        """The receipt, once the message is kept."""
        sender, wire_id = field(fields, "from", bytes, 16), field(fields, "id", bytes, 16)
        header = sealing.Header(self.mesh, sender, self.id, wire_id, fields["pri"], fields["exp"])
        content = self._open(header, field(fields, "env", bytes))
        self.opened += 1
        known = self.receipts.get((sender, content["id"]))
        late = self._broker_clock() > header.expires + (0 if content["kind"] in sealing.LIVE else 300_000)
        if known is None and late:
            raise sealing.Nacked("expired_here")
        if known is None:
            self.receipts[sender, content["id"]] = known = (content["sec"], wire_id)
            self._keep(sender, header.priority, content)
        proof = sealing.receipt(*known)
        return bytes([proof[0] ^ 1]) + proof[1:] if self.forge else proof

    def _open(self, header: sealing.Header, envelope: bytes) -> dict:
        fields = sealing.read_envelope(envelope)
        if fields["s"] not in self.incoming:
            self.incoming[fields["s"]] = self._accept(header.sender, fields)
        owner, key, session = self.incoming[fields["s"]]
        member = self.log.member(header.sender)
        if owner != header.sender or member is None or member.signing != key:
            raise sealing.Nacked("unknown_sender")
        try:
            content = session.open(header, fields)
        except (Unproven, Malformed) as error:
            raise sealing.Nacked("bad_seal") from error
        return sealing.read_message(content)

    def _accept(self, sender: bytes, envelope: dict) -> tuple[bytes, bytes, sealing.Session]:
        """The checks of an opening, in their order."""
        data = sealing.opening_of(envelope)
        opening = sealing.read_opening(data)
        place = opening["log"]
        if place["seq"] > self.log.head["seq"]:
            self._read_log()
        member = self.log.member(sender)
        if member is None or not sealing.is_signed(envelope["o"], member.signing):
            raise sealing.Nacked("unknown_sender")
        if (opening["from"], opening["to"]) != (sender, self.id):
            raise sealing.Nacked("bad_seal")
        stands = self.log.hash_at(place["seq"])
        if stands != place["hash"]:
            raise sealing.Nacked("log_mismatch" if stands else "unknown_sender")
        secret = self.prekeys.get(opening["prekey"])
        if secret is None:
            raise sealing.Nacked("unknown_prekey")
        return sender, member.signing, sealing.accept_session(data, opening, self.mesh, secret)

    def _keep(self, sender: bytes, priority: int, content: dict) -> None:
        """Shows it when every lower counter of its lane was shown or is declared void. Live mail has no place in it."""
        member = self.log.member(sender)
        shown = content | {"sender": member.name, "node": sender}
        if content["kind"] in sealing.LIVE:
            self.inbox.append(shown)
            return
        lane = self.lanes.setdefault((member.signing, priority), Lane())
        lane.held[content["ctr"]] = shown
        void = {number for first, last in content.get("void") or [] for number in range(first, last + 1)}
        for number in void - set(lane.held):
            lane.held[number] = {}
        while lane.next in lane.held:
            item = lane.held.pop(lane.next)
            lane.next += 1
            if item:
                self.inbox.append(item)

    def _notice(self, fields: dict) -> None:
        row = self.outbox.get(field(fields, "id", bytes, 16))
        kind, data = choice(fields["kind"])
        if row is None:
            return
        if kind == "delivered":
            row.receipts += 1
            if data["receipt"] == sealing.receipt(row.content["sec"], row.wire_id):
                row.state = "delivered"
                going = self.outgoing.get(row.to)
                if going and going.session.id == row.session:
                    going.opening = None
        elif kind == "nack":
            member = self.log.member(row.to)
            seal, reason = sealing.read_nack(data["nack"], member.signing, self.id, row.wire_id)
            if seal >= row.seal:
                row.nacks.append(reason)
                row.seal = seal
        elif row.state != "delivered":
            row.state = kind


__all__ = ["AGAIN", "Ended", "Node", "Sent"]
