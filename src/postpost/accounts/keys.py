"""The form of API keys: how they are made, split and checked (spec rest-api.md 2.1)."""

import hashlib
import hmac
import secrets
import string

_BASE_36 = string.digits + string.ascii_lowercase
_ID_BYTES = 8
_SECRET_BYTES = 20


def new_key(now_ms: int) -> tuple[str, str, bytes]:
    """Make a key at `now_ms` (milliseconds since 1970): the key, its prefix and the digest to store.

    The key itself is shown once and stored nowhere. Its secret has 160 random bits, so that a plain SHA-256 is
    enough: no dictionary helps to guess it.
    """
    prefix = f"sk_{_base_36(now_ms)}_{secrets.token_hex(_ID_BYTES)}"
    key = f"{prefix}.{secrets.token_hex(_SECRET_BYTES)}"
    return key, prefix, digest_of(key)


def split(key: str) -> str | None:
    """Return the prefix of a key, the part before the first dot, to find its record by.

    None when there is nothing before a dot, or what no record can have: a lone surrogate or U+0000, which the
    database would refuse as text.
    """
    prefix, dot, _ = key.partition(".")
    if not dot or not prefix.isascii() or "\0" in prefix:
        return None
    return prefix or None


def verify(key: str, digest: bytes) -> bool:
    """Say whether this is the key whose digest is stored; takes the same time whatever is wrong with it."""
    return hmac.compare_digest(digest_of(key), digest)


def digest_of(key: str) -> bytes:
    """Return the SHA-256 of the whole key, 32 bytes."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()


def _base_36(number: int) -> str:
    digits = ""
    while number:
        number, digit = divmod(number, 36)
        digits = _BASE_36[digit] + digits
    return digits or "0"
