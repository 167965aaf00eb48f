"""Records of spaces, as far as a node needs them to say that it is there."""

import os

from .encoding import Malformed, choice, pack, text_id, transcript, u64
from .keys import SigningKey, hkdf, hmac256, seal_box
from .link import now
from .node import Node
from .sealing import pad


class Space:
    """One space of a mesh, by its name, for those who have the mesh's state keys."""

    def __init__(self, mesh: bytes, state_keys: dict[int, bytes], name: str):
        first, self.epoch = state_keys[min(state_keys)], max(state_keys)
        self.mesh, self.name = mesh, name
        self._naming = hkdf(first, b"waxwing naming v1\0" + mesh)
        self.id = hmac256(self._naming, transcript("waxwing space id v1", name.encode()))
        newest = state_keys[self.epoch]
        self._record = hkdf(newest, b"waxwing record key v1\0" + mesh + self.id)
        self._nonce = hkdf(newest, b"waxwing record nonce v1\0" + mesh + self.id)

    def key(self, name: str) -> bytes:
        return hmac256(self._naming, transcript("waxwing key id v1", self.name.encode(), name.encode()))

    def own(self, key: str, value: bytes, writer: bytes, signing: SigningKey, said: dict) -> dict:
        """A change that puts the writer's own record, bound to its lease. `said`: its counter, log, store and time."""
        change = {"id": os.urandom(16), "key": self.key(key), "own": True, "if": "any", "ttl": None, "bound": 0}
        inside = {"v": 1, "mesh": self.mesh, "space": self.id, "key": change["key"], "epoch": self.epoch, "op": "put"}
        inside |= {"st": "own", "id": change["id"], "by": writer, "if": "any", "bound": 0, "name": key, "val": value}
        content = pad(pack(signing.signed("record", pack(inside | said))))
        bound = transcript(
            "waxwing record v1", self.mesh, self.id, change["key"], u64(self.epoch), b"\0", b"\1", writer
        )
        nonce = hmac256(self._nonce, os.urandom(32) + bound + content)[:24]
        box = seal_box(self._record, nonce, content, bound)
        return {"put": change | {"sealed": u64(self.epoch) + nonce + box}}


def presence(mesh: bytes, state_keys: dict[int, bytes], node: bytes, signing: SigningKey, said: dict) -> dict:
    """The frame's body by which a node says that it is online."""
    space = Space(mesh, state_keys, "presence")
    value = pack({"since": said["at"], "version": "a second node"})
    return {"space": space.id, "changes": [space.own(f"node:{text_id(node)}", value, node, signing, said)]}


def appear(node: Node) -> None:
    """Says that a node is there, for as long as its lease lasts. Once in its life: what it replaces has no version."""
    said = {"ver": 1, "ctr": 1, "log": node.log.head["seq"], "life": node.link.challenge["store"]}
    said |= {"at": now() + node.link.offset}
    answer = node._ask(
        "space.write", presence(node.mesh, node.state_keys, node.id, node.signing, said), "space.written"
    )
    node._keep_mark(answer)
    outcome, _ = choice(answer["outcomes"][0])
    if outcome != "applied":
        raise Malformed(f"the broker has not taken the record: {outcome}")
