"""The vault: platform credentials are encrypted here before they reach the database, and decrypted after."""

import contextlib
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
from cryptography.fernet import Fernet, InvalidToken, MultiFernet

KEY_FILE = "secret.key"
"""Name of the key file in the home directory; used when the operator sets no key."""


class VaultError(Exception):
    """A key cannot be used, or no key that we have opens what is stored; the message names neither."""


class Vault:
    """Encrypts credentials with the first of its keys and decrypts what any of them encrypted.

    To change the key, a new one is put in front and the old one is kept: it opens what it has encrypted.
    """

    def __init__(self, keys: Sequence[str]) -> None:
        if not keys:
            raise VaultError("the vault needs a key")
        try:
            self._box = MultiFernet([Fernet(key) for key in keys])
        except ValueError as error:
            raise VaultError("a key of the vault is no Fernet key") from error

    def encrypt(self, credentials: Mapping[str, str]) -> bytes:
        """Return the credentials as they are stored: authenticated, and different every time."""
        return self._box.encrypt(msgspec.json.encode(dict(credentials)))

    def decrypt(self, stored: bytes) -> dict[str, str]:
        """Return the credentials; raises VaultError when none of the keys fits or the bytes were changed."""
        try:
            return msgspec.json.decode(self._box.decrypt(stored), type=dict[str, str])
        except (InvalidToken, msgspec.DecodeError) as error:
            raise VaultError("stored credentials cannot be opened with the keys in POSTPOST_SECRET_KEY") from error


def load_or_create_key(home: Path) -> str:
    """Return the key in the home directory's key file, which is made, readable by its owner alone, when missing.

    Of several processes that start at once exactly one makes the key, and all return it. Raises VaultError when the
    file holds no key, and OSError when it can be neither read nor made.
    """
    path = home / KEY_FILE
    try:
        key = path.read_text("ascii").strip()
    except FileNotFoundError:
        key = _create_key(path)
    except UnicodeDecodeError as error:
        raise VaultError(f"{path} holds no key") from error
    try:
        Fernet(key)
    except ValueError as error:
        raise VaultError(f"{path} holds no key") from error
    return key


def _create_key(path: Path) -> str:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # mkstemp makes the file with mode 0600. Linking the finished file is atomic and fails if another process was first.
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".secret-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(Fernet.generate_key() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):  # Another process was first; its key is the key.
            path.hardlink_to(temporary)
    finally:
        Path(temporary).unlink()
    return path.read_text("ascii").strip()
