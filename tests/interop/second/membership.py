"""The membership log: who reads it runs these rules over it, and believes nobody's word about who is a member."""

import unicodedata
from dataclasses import dataclass
from dataclasses import field as made
from typing import Any

from .encoding import Malformed, choice, field, optional, pack, unpack_map
from .keys import ENC, SEALING_KEY, Unproven, node_id, sha256, verify

ENTRY = 65_536
NAME = set("abcdefghijklmnopqrstuvwxyz0123456789-")
FIELDS = {"mesh", "seq", "prev", "at", "signers", "body"}


class Refused(Exception):
    """An entry that breaks a rule."""


@dataclass
class Member:
    name: str
    signing: bytes
    sealing: bytes
    role: str
    invite: bytes | None
    live: bool = True


@dataclass
class Invite:
    role: str
    uses: int
    expires: int
    name: str | None
    maker: bytes | None
    state_keys: bytes
    revoked: bool = False


def is_name(text: str) -> bool:
    return 1 <= len(text) <= 63 and set(text) <= NAME and text[0] != "-"


def entry_hash(data: bytes) -> bytes:
    return sha256(b"waxwing entry v1\0", data)


def _only(fields: dict, allowed: set[str]) -> dict:
    if not set(fields) <= allowed:
        raise Malformed(f"unknown fields: {set(fields) - allowed}")
    return fields


def state_keys(body: dict) -> bytes:
    """A box of state keys, by its length."""
    box = field(body, "state_keys", bytes)
    keys, rest = divmod(len(box) - ENC - 16, 40)
    if rest or not 1 <= keys <= 1024:
        raise Malformed("no box of state keys")
    return box


@dataclass
class Log:
    """What the entries so far say. `apply` takes the next one, or refuses it and changes nothing."""

    mesh: bytes
    hashes: list[bytes] = made(default_factory=list)
    at: int = 0
    epoch: int = 1
    name: str = ""
    recovery: bytes = b""
    members: dict[bytes, Member] = made(default_factory=dict)
    invites: dict[bytes, Invite] = made(default_factory=dict)
    keys: set[bytes] = made(default_factory=set)

    @property
    def head(self) -> dict:
        return {"seq": len(self.hashes), "hash": self.hashes[-1]}

    def hash_at(self, seq: int) -> bytes | None:
        return self.hashes[seq - 1] if 1 <= seq <= len(self.hashes) else None

    def member(self, node: bytes) -> Member | None:
        found = self.members.get(node)
        return found if found and found.live else None

    def named(self, name: str) -> bytes:
        return next(node for node, member in self.members.items() if member.live and member.name == name)

    def apply(self, entry: Any) -> None:
        data, signatures = field(entry, "b", bytes), field(entry, "s", list)
        if len(data) > ENTRY:
            raise Malformed("an entry too long")
        fields = _only(unpack_map(data), FIELDS)
        self._stands_here(fields, data)
        signers = field(fields, "signers", list)
        if len(signers) not in (1, 2) or len(signatures) != len(signers):
            raise Refused("it has not as many signatures as signers")
        for signer, signature in zip(signers, signatures):
            verify(signer, "membership", data, signature)
        kind, body = choice(field(fields, "body", dict))
        at = field(fields, "at", int)
        getattr(self, f"_{kind}", self._unknown)(body, signers, at)
        self.hashes.append(entry_hash(data))
        self.at = at

    def _stands_here(self, fields: dict, data: bytes) -> None:
        first = not self.hashes
        mesh, prev = field(fields, "mesh", bytes, 16), field(fields, "prev", bytes, 32)
        if field(fields, "seq", int) != len(self.hashes) + 1 or field(fields, "at", int) < self.at:
            raise Refused("it does not follow")
        if mesh != (bytes(16) if first else self.mesh) or prev != (bytes(32) if first else self.hashes[-1]):
            raise Refused("it does not stand on the entry before")
        if first and entry_hash(data)[:16] != self.mesh:
            raise Refused("it is the genesis of another mesh")
        if first != ("genesis" in field(fields, "body", dict)):
            raise Refused("a genesis comes first, and nowhere else")

    def _unknown(self, *_: Any) -> None:
        raise Refused("an entry of an unknown kind")

    def _new_key(self, key: bytes) -> bytes:
        if key in self.keys:
            raise Refused("a key that has an owner")
        return key

    def _admin(self, signers: list[bytes]) -> bytes | None:
        """The node of an admin who signs alone; None for the recovery key."""
        if len(signers) != 1:
            raise Refused("a second signer")
        if signers[0] == self.recovery:
            return None
        for node, member in self.members.items():
            if member.live and member.role == "admin" and member.signing == signers[0]:
                return node
        raise Refused("no admin has signed")

    def _parsed(self, value: dict, role: str, invite: bytes | None) -> Member:
        fields = _only(value, {"name", "signing", "sealing", "host"})
        name = field(fields, "name", str)
        field(fields, "host", bytes, 32)
        if not is_name(name) or any(other.live and other.name == name for other in self.members.values()):
            raise Refused("a name that nobody may take")
        sealing = field(fields, "sealing", bytes, SEALING_KEY)
        return Member(name, self._new_key(field(fields, "signing", bytes, 32)), sealing, role, invite)

    def _admit(self, member: Member) -> None:
        self.members[node_id(member.signing)] = member
        self.keys.add(member.signing)

    def _genesis(self, body: dict, signers: list[bytes], _at: int) -> None:
        _only(body, {"name", "founder", "recovery", "state_keys"})
        founder = self._parsed(field(body, "founder", dict), "admin", None)
        self.name, self.recovery = field(body, "name", str), field(body, "recovery", bytes, 32)
        state_keys(body)
        if signers != [founder.signing] or self.recovery == founder.signing or not is_name(self.name):
            raise Refused("a genesis that the founder has not signed")
        self._admit(founder)
        self.keys.add(self.recovery)

    def _invite(self, body: dict, signers: list[bytes], at: int) -> None:
        _only(body, {"key", "sealing", "role", "uses", "expires", "name", "state_keys"})
        maker = self._admin(signers)
        key = self._new_key(field(body, "key", bytes, 32))
        field(body, "sealing", bytes, SEALING_KEY)
        role, uses, expires = field(body, "role", str), field(body, "uses", int), field(body, "expires", int)
        name = optional(body, "name", str)
        if role not in ("member", "admin") or uses < 1 or expires <= at or (name and not is_name(name)):
            raise Refused("an invite that admits nobody")
        self.invites[key] = Invite(role, uses, expires, name, maker, state_keys(body))
        self.keys.add(key)

    def _join(self, body: dict, signers: list[bytes], at: int) -> None:
        _only(body, {"member", "invite"})
        key = field(body, "invite", bytes, 32)
        invite = self.invites.get(key)
        if invite is None or invite.revoked or invite.uses < 1 or at >= invite.expires:
            raise Refused("an invite that does not admit")
        member = self._parsed(field(body, "member", dict), invite.role, key)
        if signers != [key, member.signing] or (invite.name and invite.name != member.name):
            raise Refused("a join that the invite does not allow")
        invite.uses -= 1
        self._admit(member)

    def _update(self, body: dict, signers: list[bytes], _at: int) -> None:
        _only(body, {"node", "signing", "sealing", "host"})
        member = self._present(field(body, "node", bytes, 16))
        signing, sealing = optional(body, "signing", bytes, 32), optional(body, "sealing", bytes, SEALING_KEY)
        if not (signing or sealing or optional(body, "host", bytes, 32)):
            raise Refused("an update of nothing")
        if signers != [member.signing] + ([self._new_key(signing)] if signing else []):
            raise Refused("an update by somebody else")
        member.signing, member.sealing = signing or member.signing, sealing or member.sealing
        self.keys.add(member.signing)

    def _grant(self, body: dict, signers: list[bytes], _at: int) -> None:
        _only(body, {"node", "role"})
        self._admin(signers)
        member, role = self._present(field(body, "node", bytes, 16)), field(body, "role", str)
        if role not in ("member", "admin") or role == member.role:
            raise Refused("a grant of no other role")
        if role == "member":
            self._not_last(member, signers)
        member.role = role

    def _revoke(self, body: dict, signers: list[bytes], _at: int) -> None:
        _only(body, {"target", "reason", "epoch"})
        self._admin(signers)
        kind, target = choice(field(body, "target", dict))
        reason = field(body, "reason", str)
        if len(reason.encode()) > 256 or any(unicodedata.category(sign) == "Cc" for sign in reason):
            raise Refused("a reason too long")
        epoch = optional(body, "epoch", dict)
        if kind == "node":
            member = self._present(target)
            self._not_last(member, signers)
            self._out(target, member)
        elif kind == "invite" and target in self.invites and not self.invites[target].revoked:
            self.invites[target].revoked = True
        else:
            raise Refused("there is nothing to revoke")
        if epoch is not None:
            self._begin(epoch)

    def _leave(self, body: dict, signers: list[bytes], _at: int) -> None:
        node = field(_only(body, {"node"}), "node", bytes, 16)
        member = self._present(node)
        if signers != [member.signing]:
            raise Refused("a leave by somebody else")
        self._not_last(member, signers)
        self._out(node, member)

    def _epoch(self, body: dict, signers: list[bytes], _at: int) -> None:
        self._admin(signers)
        self._begin(body)

    def _resume(self, body: dict, signers: list[bytes], _at: int) -> None:
        self._admin(signers)
        if field(_only(body, {"head"}), "head", dict) != self.head:
            raise Refused("a resume of another place")

    def _begin(self, epoch: dict) -> None:
        if field(_only(epoch, {"n", "keys"}), "n", int) != self.epoch + 1:
            raise Refused("an epoch out of turn")
        field(epoch, "keys", bytes, 32)
        self.epoch += 1

    def _present(self, node: bytes) -> Member:
        member = self.member(node)
        if member is None:
            raise Refused("no member")
        return member

    def _not_last(self, member: Member, signers: list[bytes]) -> None:
        admins = [other for other in self.members.values() if other.live and other.role == "admin"]
        if all(admin is member for admin in admins) and member.role == "admin" and signers != [self.recovery]:
            raise Refused("the last admin")

    def _out(self, node: bytes, member: Member) -> None:
        member.live = False
        for key, invite in self.invites.items():
            if invite.maker == node or key == member.invite:
                invite.revoked = True


def replay(mesh: bytes, entries: list) -> Log:
    """The log of a mesh from its beginning."""
    log = Log(mesh)
    for entry in entries:
        log.apply(entry)
    return log


def join(log: Log, member: dict, invite: Any, own: Any, at: int) -> dict:
    """The entry by which the holder of `own` enters, signed by the invite's key and its own."""
    body = {"join": {"member": member, "invite": invite.public}}
    head = log.head
    fields = {"mesh": log.mesh, "seq": head["seq"] + 1, "prev": head["hash"], "at": max(at, log.at)}
    data = pack(fields | {"signers": [invite.public, own.public], "body": body})
    return {"b": data, "s": [key.sign("membership", data) for key in (invite, own)]}


__all__ = ["Invite", "Log", "Member", "Refused", "Unproven", "join", "replay"]
