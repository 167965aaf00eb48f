"""Keys: Ed25519 under a named domain, X-Wing, and as much of HPKE as sessions and state keys need."""

import hashlib
import hmac
import os

import nacl.bindings as sodium
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.hkdf import HKDF, HKDFExpand
from nacl.exceptions import CryptoError

from .encoding import Malformed, field, u64

MLKEM_KEY = 1184
MLKEM_CIPHERTEXT = 1088
SEALING_KEY = MLKEM_KEY + 32
ENC = MLKEM_CIPHERTEXT + 32


class Unproven(Exception):
    """A signature, a box or a code that does not hold."""


def sha256(*parts: bytes) -> bytes:
    return hashlib.sha256(b"".join(parts)).digest()


def hmac256(key: bytes, data: bytes) -> bytes:
    return hmac.digest(key, data, "sha256")


def hkdf(key: bytes, info: bytes) -> bytes:
    return HKDF(hashes.SHA256(), 32, None, info).derive(key)


class SigningKey:
    """An Ed25519 key pair, by its seed."""

    def __init__(self, seed: bytes | None = None):
        self.public, self._secret = sodium.crypto_sign_seed_keypair(seed or os.urandom(32))

    def sign(self, purpose: str, data: bytes) -> bytes:
        signed = sodium.crypto_sign(domain(purpose) + data, self._secret)
        return signed[:64]

    def signed(self, purpose: str, data: bytes) -> dict:
        return {"b": data, "s": self.sign(purpose, data)}


def domain(purpose: str) -> bytes:
    return f"waxwing {purpose} v1\0".encode()


def verify(key: bytes, purpose: str, data: bytes, signature: bytes) -> None:
    """Strictly, as libsodium does it: nothing of small order, nothing that is not reduced, no cofactor."""
    try:
        sodium.crypto_sign_open(signature + domain(purpose) + data, key)
    except (CryptoError, ValueError) as error:
        raise Unproven(f"the signature of a {purpose} does not hold") from error


def believed(value: object, key: bytes, purpose: str, most: int) -> bytes:
    """The bytes of a signed value, once its signature holds."""
    if not isinstance(value, dict):
        raise Malformed("no signed value")
    data, signature = field(value, "b", bytes), field(value, "s", bytes, 64)
    if len(data) > most:
        raise Malformed(f"{len(data)} signed bytes")
    verify(key, purpose, data, signature)
    return data


class SealingKey:
    """An X-Wing key pair, by its seed (draft-connolly-cfrg-xwing-kem)."""

    def __init__(self, seed: bytes | None = None):
        expanded = hashlib.shake_256(seed or os.urandom(32)).digest(96)
        self.mlkem = MLKEM768PrivateKey.from_seed_bytes(expanded[:64])
        self.point = X25519PrivateKey.from_private_bytes(expanded[64:])
        self._public_point = self.point.public_key().public_bytes_raw()
        self.public = self.mlkem.public_key().public_bytes_raw() + self._public_point

    def decapsulate(self, enc: bytes) -> bytes:
        if len(enc) != ENC:
            raise Malformed(f"an encapsulation of {len(enc)} bytes")
        secret = self.mlkem.decapsulate(enc[:MLKEM_CIPHERTEXT])
        point = enc[MLKEM_CIPHERTEXT:]
        return _combine(secret, _exchange(self.point, point), point, self._public_point)


def encapsulate(public: bytes) -> tuple[bytes, bytes]:
    """The shared secret and `enc`, for the holder of an X-Wing key."""
    if len(public) != SEALING_KEY:
        raise Malformed(f"a sealing key of {len(public)} bytes")
    try:
        secret, ciphertext = MLKEM768PublicKey.from_public_bytes(public[:MLKEM_KEY]).encapsulate()
    except ValueError as error:
        raise Malformed("no ML-KEM key") from error
    ours = X25519PrivateKey.generate()
    point = ours.public_key().public_bytes_raw()
    theirs = public[MLKEM_KEY:]
    return _combine(secret, _exchange(ours, theirs), point, theirs), ciphertext + point


def _exchange(ours: X25519PrivateKey, theirs: bytes) -> bytes:
    try:
        return ours.exchange(X25519PublicKey.from_public_bytes(theirs))
    except ValueError as error:
        raise Malformed("a point of low order") from error


def _combine(mlkem: bytes, point: bytes, ciphertext: bytes, public: bytes) -> bytes:
    return hashlib.sha3_256(mlkem + point + ciphertext + public + bytes.fromhex("5c2e2f2f5e5c")).digest()


class Context:
    """HPKE (RFC 9180) in base mode: KEM X-Wing, HKDF-SHA256, ChaCha20-Poly1305, after the key schedule."""

    SUITE = b"HPKE" + bytes.fromhex("647a00010003")

    def __init__(self, shared: bytes, info: bytes):
        laid = b"\0" + self._extract(b"", b"psk_id_hash", b"") + self._extract(b"", b"info_hash", info)
        secret = self._extract(shared, b"secret", b"")
        self._key = self._expand(secret, b"key", laid, 32)
        self._nonce = self._expand(secret, b"base_nonce", laid, 12)
        self._exporter = self._expand(secret, b"exp", laid, 32)

    def _extract(self, salt: bytes, label: bytes, key: bytes) -> bytes:
        return hmac256(salt or bytes(32), b"HPKE-v1" + self.SUITE + label + key)

    def _expand(self, key: bytes, label: bytes, info: bytes, size: int) -> bytes:
        labeled = size.to_bytes(2, "big") + b"HPKE-v1" + self.SUITE + label + info
        return HKDFExpand(hashes.SHA256(), size, labeled).derive(key)

    def export(self, context: str) -> bytes:
        return self._expand(self._exporter, b"sec", context.encode(), 32)

    def open(self, box: bytes) -> bytes:
        """The one box of a single shot, without associated data."""
        return ChaCha20Poly1305(self._key).decrypt(self._nonce, box, None)


def seal_box(key: bytes, nonce: bytes, text: bytes, data: bytes) -> bytes:
    """XChaCha20-Poly1305, the tag behind."""
    return sodium.crypto_aead_xchacha20poly1305_ietf_encrypt(text, data, nonce, key)


def open_box(key: bytes, nonce: bytes, box: bytes, data: bytes) -> bytes:
    try:
        return sodium.crypto_aead_xchacha20poly1305_ietf_decrypt(box, data, nonce, key)
    except (CryptoError, ValueError) as error:
        raise Unproven("a box that does not open") from error


def open_state_keys(key: SealingKey, box: bytes) -> dict[int, bytes]:
    """State keys by epoch, out of the box of a genesis, an invite or a slot."""
    info = b"waxwing state keys v1\0" + sha256(key.public)
    inside = Context(key.decapsulate(box[:ENC]), info).open(box[ENC:])
    if not inside or len(inside) % 40 or len(inside) > 40 * 1024:
        raise Malformed("no state keys")
    pairs = [(inside[at : at + 8], inside[at + 8 : at + 40]) for at in range(0, len(inside), 40)]
    found = {int.from_bytes(epoch, "big"): key for epoch, key in pairs}
    if [u64(epoch) for epoch in sorted(found)] != [epoch for epoch, _ in pairs]:
        raise Malformed("epochs that do not rise")
    return found


def node_id(first_signing_key: bytes) -> bytes:
    return sha256(b"waxwing node id v1\0", first_signing_key)[:16]
