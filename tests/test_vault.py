import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from postpost.vault import KEY_FILE, Vault, VaultError, load_or_create_key

OLD, NEW = Fernet.generate_key().decode(), Fernet.generate_key().decode()
CREDENTIALS = {"access_token": "canary", "name": "Zoë"}


def test_decrypt_when_the_same_key_encrypted_then_the_credentials():
    vault = Vault([OLD])

    assert vault.decrypt(vault.encrypt(CREDENTIALS)) == CREDENTIALS


def test_encrypt_when_done_then_no_secret_is_readable():
    assert b"canary" not in Vault([OLD]).encrypt(CREDENTIALS)


def test_encrypt_when_repeated_then_the_result_differs():
    vault = Vault([OLD])

    assert vault.encrypt(CREDENTIALS) != vault.encrypt(CREDENTIALS)


def test_decrypt_when_a_later_key_encrypted_then_the_credentials():
    assert Vault([NEW, OLD]).decrypt(Vault([OLD]).encrypt(CREDENTIALS)) == CREDENTIALS


def test_encrypt_when_there_are_two_keys_then_the_first_is_used():
    stored = Vault([NEW, OLD]).encrypt(CREDENTIALS)

    assert Vault([NEW]).decrypt(stored) == CREDENTIALS


@pytest.mark.parametrize("stored", [Vault([OLD]).encrypt(CREDENTIALS), b"", b"nonsense"])
def test_decrypt_when_no_key_fits_then_an_error_without_a_secret(stored: bytes):
    with pytest.raises(VaultError) as caught:
        Vault([NEW]).decrypt(stored)

    assert "POSTPOST_SECRET_KEY" in str(caught.value)
    assert NEW not in str(caught.value)


def test_decrypt_when_a_byte_was_changed_then_an_error():
    stored = bytearray(Vault([OLD]).encrypt(CREDENTIALS))
    stored[40] ^= 1

    with pytest.raises(VaultError):
        Vault([OLD]).decrypt(bytes(stored))


def test_decrypt_when_it_holds_something_else_then_an_error():
    with pytest.raises(VaultError):
        Vault([OLD]).decrypt(Fernet(OLD).encrypt(b"[1]"))


@pytest.mark.parametrize("keys", [[], ["short"], [OLD, ""]])
def test_vault_when_a_key_is_none_then_an_error(keys: list[str]):
    with pytest.raises(VaultError):
        Vault(keys)


def test_key_file_when_missing_then_made_for_its_owner_alone(tmp_path: Path):
    home = tmp_path / "new" / "home"

    key = load_or_create_key(home)

    assert Vault([key]).decrypt(Vault([key]).encrypt(CREDENTIALS)) == CREDENTIALS
    assert stat.S_IMODE((home / KEY_FILE).stat().st_mode) == 0o600
    assert stat.S_IMODE(home.stat().st_mode) == 0o700


def test_key_file_when_it_exists_then_its_key(tmp_path: Path):
    assert load_or_create_key(tmp_path) == load_or_create_key(tmp_path)


def test_key_file_when_made_then_nothing_else_is_left_behind(tmp_path: Path):
    load_or_create_key(tmp_path)

    assert [path.name for path in tmp_path.iterdir()] == [KEY_FILE]


def test_key_file_when_many_start_at_once_then_all_have_the_same_key(tmp_path: Path):
    with ThreadPoolExecutor(16) as pool:
        keys = set(pool.map(load_or_create_key, [tmp_path] * 64))

    assert len(keys) == 1


@pytest.mark.parametrize("content", [b"", b"short\n", b"\xff\xfe"])
def test_key_file_when_it_holds_no_key_then_an_error_and_the_file_stays(tmp_path: Path, content: bytes):
    (tmp_path / KEY_FILE).write_bytes(content)

    with pytest.raises(VaultError, match="holds no key"):
        load_or_create_key(tmp_path)
    assert (tmp_path / KEY_FILE).read_bytes() == content
