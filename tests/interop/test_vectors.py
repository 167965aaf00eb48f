"""The second implementation makes of the product's vectors what the product makes of them."""

import base64

import pytest
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, MLKEM768X25519PublicKey, Suite
from second import invite, keys, membership, sealing
from second.encoding import base64url, pack, unpack_map
from second.keys import SealingKey, SigningKey

h = bytes.fromhex


def node(text: str) -> bytes:
    return base64.b32decode(text.upper() + "======")


def test_x_wing_has_the_drafts_keys_and_secrets(vectors):
    for vector in vectors("x_wing")["vectors"]:
        key = SealingKey(h(vector["seed"]))
        assert key.public == h(vector["pk"])
        assert key.decapsulate(h(vector["ct"])) == h(vector["ss"])
        secret, enc = keys.encapsulate(key.public)
        assert key.decapsulate(enc) == secret


def test_hpke_opens_what_a_library_has_sealed():
    key, info = SealingKey(), b"what it is for"
    public = MLKEM768X25519PublicKey(key.mlkem.public_key(), key.point.public_key())
    sealed = Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA256, AEAD.CHACHA20_POLY1305).encrypt(b"text", public, info)
    assert keys.Context(key.decapsulate(sealed[: keys.ENC]), info).open(sealed[keys.ENC :]) == b"text"


def test_a_token_gives_the_keys_of_its_invite(vectors):
    vector = vectors("token")
    for kind, pin in [("pinned", bytes([6] * 32)), ("public", None)]:
        token = invite.parse(vector[kind])
        assert (token.mesh, token.pin) == (node(vector["mesh"]), pin)
        assert token.signing.public == h(vector["signing"])
        assert token.sealing.public == h(vector["sealing"])


def test_a_token_with_a_wrong_letter_is_refused(vectors):
    token = vectors("token")["pinned"]
    for at in range(4, len(token)):
        other = token[:at] + ("A" if token[at] != "A" else "B") + token[at + 1 :]
        if base64url(other[4:]) != base64url(token[4:]):
            with pytest.raises(Exception, match="token"):
                invite.parse(other)


def test_the_log_is_verified_entry_by_entry(vectors):
    vector = vectors("membership")
    log = membership.Log(node(vector["mesh"]))
    for entry in vector["entries"]:
        log.apply({"b": h(entry["bytes"]), "s": [h(signature) for signature in entry["signatures"]]})
        assert log.hashes[-1] == h(entry["hash"]), entry["name"]


def test_a_log_with_a_flipped_bit_is_refused(vectors):
    vector = vectors("membership")
    entries = [(h(entry["bytes"]), [h(sign) for sign in entry["signatures"]]) for entry in vector["entries"]]
    for broken in range(len(entries)):
        log = membership.Log(node(vector["mesh"]))
        for data, signatures in entries[:broken]:
            log.apply({"b": data, "s": signatures})
        data, signatures = entries[broken]
        for other in [
            {"b": data[:-1] + bytes([data[-1] ^ 1]), "s": signatures},
            {"b": data, "s": signatures[::-1] + [bytes(64)]},
        ]:
            with pytest.raises((keys.Unproven, membership.Refused, membership.Malformed)):
                log.apply(other)


def test_state_keys_open(vectors):
    vector = vectors("state_keys")
    found = keys.open_state_keys(SealingKey(h(vector["recipient_seed"])), h(vector["sealed"]))
    assert found == {entry["epoch"]: h(entry["key"]) for entry in vector["keys"]}


def conversation(vectors):
    vector = vectors("conversation")
    mesh = node(vector["mesh"])
    opening = h(vector["opening"]["bytes"])
    secret = SealingKey(h(vector["prekey"]["seed"]))
    session = sealing.accept_session(opening, sealing.read_opening(opening), mesh, secret)
    header = vector["header"]
    ends = (mesh, node(vector["sender"]["node"]), node(vector["recipient"]["node"]))
    return vector, session, sealing.Header(*ends, h(header["id"]), 1, header["expires"])


def test_a_conversation_opens_and_is_receipted(vectors):
    vector, session, header = conversation(vectors)
    assert session.id == h(vector["session"]["id"])
    sender = SigningKey(h(vector["sender"]["seed"]))
    assert keys.node_id(sender.public) == header.sender
    for name in ("first_envelope", "later_envelope"):
        fields = sealing.read_envelope(h(vector[name]))
        assert ("o" in fields) == (name == "first_envelope")
        message = sealing.read_message(session.open(header, fields))
        assert message["sec"] == h(vector["receipt_secret"])
        assert sealing.receipt(message["sec"], header.wire_id) == h(vector["receipt"])
    assert sealing.is_signed(unpack_map(h(vector["first_envelope"]))["o"], sender.public)


def test_a_prekey_and_nacks_are_believed_by_their_signatures(vectors):
    vector, _, header = conversation(vectors)
    signed = {"b": h(vector["prekey"]["signed"]["bytes"]), "s": h(vector["prekey"]["signed"]["signature"])}
    recipient = SigningKey(h(vector["recipient"]["seed"]))
    number, key = sealing.read_prekey(signed, header.recipient, recipient.public)
    assert (number, key) == (vector["prekey"]["number"], SealingKey(h(vector["prekey"]["seed"])).public)
    for nack in vectors("nacks")["nacks"]:
        signed = {"b": h(nack["signed"]["bytes"]), "s": h(nack["signed"]["signature"])}
        seal, reason = sealing.read_nack(signed, recipient.public, header.sender, header.wire_id)
        assert (seal, reason) == (2, {"without a log": "unknown_session", "with a log": "log_mismatch"}[nack["name"]])


def test_live_mail_opens_and_has_no_place_in_a_lane(vectors):
    vector, session, header = conversation(vectors)
    for live in vector["live"]:
        fields = sealing.read_envelope(h(live["envelope"]))
        message = sealing.read_message(session.open(header, fields))
        assert (message["kind"], message["ctr"]) == (live["kind"], 0)


def test_no_bit_of_an_envelope_can_be_flipped(vectors):
    vector, session, header = conversation(vectors)
    fields = sealing.read_envelope(h(vector["later_envelope"]))
    for name in ("n", "b"):
        for bit in range(0, len(fields[name]) * 8, 7):
            changed = bytearray(fields[name])
            changed[bit // 8] ^= 1 << bit % 8
            with pytest.raises(keys.Unproven):
                session.open(header, fields | {name: bytes(changed)})


@pytest.mark.parametrize("length", [0, 1, 5, 9, 100, 255, 256, 1_000, 65_536, 262_144])
def test_padding_comes_off_and_only_in_one_way(length):
    content = pack(bytes(length))
    padded = sealing.pad(content)
    assert sealing.unpad(padded) == content
    others = [padded + b"\0", padded[:-1], padded[:3], b"\xff" + padded[1:]]
    if len(padded) > 4 + len(content):
        others.append(padded[:-1] + b"\1")
    for other in others:
        with pytest.raises(sealing.Malformed):
            sealing.unpad(other)
