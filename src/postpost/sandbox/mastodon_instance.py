"""The Mastodon look-alike's instance: limits, client registration, OAuth, and how parameters are read."""

import hashlib
from collections.abc import Mapping

import msgspec

from postpost.sandbox.tokens import renew, revoke, write_access
from postpost.sandbox.wire import FORM_TYPE, JSON_TYPE, UNREADABLE, Call, Json, RefusalError, Reply, json_reply

MAX_CHARACTERS = 500
URL_CHARACTERS = 23
MAX_MEDIA = 4
SCOPES = "read write push"


def error(status: int, message: str) -> Reply:
    """Return an error as Mastodon words it."""
    return json_reply(status, {"error": message})


def invalid(message: str) -> RefusalError:
    """Return a refusal of invalid content, to be raised."""
    return RefusalError(error(422, f"Validation failed: {message}"))


def read_fields(call: Call) -> dict[str, Json]:
    """Return the parameters of a JSON or form body; Rails takes a body of another type as empty."""
    if call.media_type == JSON_TYPE:
        try:
            given = msgspec.json.decode(call.body or b"{}")
        except UNREADABLE as problem:
            raise RefusalError(error(400, "Error occurred while parsing request parameters")) from problem
        return given if isinstance(given, dict) else {}
    fields: dict[str, Json] = {}
    if call.media_type == FORM_TYPE:
        pairs = call.form_pairs()
        fields.update((name, value) for name, value in pairs if not name.endswith("[]"))
        for listed in {name for name, _ in pairs if name.endswith("[]")}:
            fields[listed.removesuffix("[]")] = [value for name, value in pairs if name == listed]
    return fields


def string(given: Mapping[str, Json], name: str) -> str:
    """Return a text parameter, "" when it is missing. Numbers become text, as they do in Rails."""
    value = given.get(name)
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise invalid(f"{name} has the wrong type")
    return str(value)


_CONFIGURATION = {
    "statuses": {
        "max_characters": MAX_CHARACTERS,
        "max_media_attachments": MAX_MEDIA,
        "characters_reserved_per_url": URL_CHARACTERS,
    },
    "media_attachments": {
        "supported_mime_types": ["image/jpeg", "image/png", "image/gif", "image/webp", "video/mp4", "video/quicktime"],
        "description_limit": 1500,
        "image_size_limit": 16_777_216,
        "image_matrix_limit": 33_177_600,
        "video_size_limit": 103_809_024,
        "video_frame_rate_limit": 120,
        "video_matrix_limit": 8_294_400,
    },
}


def read_instance(call: Call) -> Reply:
    """Describe the instance (Mastodon, GET /api/v2/instance)."""
    answer = {
        "domain": call.header("host") or "localhost",
        "title": "PostPost sandbox",
        "version": "4.5.0",
        "source_url": "https://github.com/mastodon/mastodon",
        "description": "A look-alike for trying things out",
        "languages": ["en"],
        "configuration": _CONFIGURATION,
        "registrations": {"enabled": False, "approval_required": False, "message": None},
        "api_versions": {"mastodon": 7},
        "rules": [],
    }
    return json_reply(200, answer)


def read_instance_v1(call: Call) -> Reply:
    """Describe the instance in the older shape (Mastodon, GET /api/v1/instance)."""
    answer = {
        "uri": call.header("host") or "localhost",
        "title": "PostPost sandbox",
        "version": "4.5.0",
        "short_description": "A look-alike for trying things out",
        "languages": ["en"],
        "registrations": False,
        "configuration": _CONFIGURATION,
    }
    return json_reply(200, answer)


def register_app(call: Call) -> Reply:
    """Register a client (Mastodon, POST /api/v1/apps); the same name and address give the same client."""
    given = read_fields(call)
    name, redirect = string(given, "client_name"), given.get("redirect_uris")
    if not name or not redirect:
        raise invalid("Name and redirect URI can't be blank")
    redirects = redirect if isinstance(redirect, list) else str(redirect).split()
    client = hashlib.sha256(repr((name, redirects)).encode()).hexdigest()
    answer = {
        "id": str(int(client[:10], 16)),
        "name": name,
        "website": string(given, "website") or None,
        "scopes": (string(given, "scopes") or "read").split(),
        "redirect_uris": redirects,
        "redirect_uri": "\n".join(map(str, redirects)),
        "client_id": client[:43],
        "client_secret": f"secret-{client[:36]}",
        "client_secret_expires_at": 0,
    }
    return json_reply(200, answer)


def issue_token(call: Call) -> Reply:
    """Exchange an authorization code (Mastodon, POST /oauth/token)."""
    given = read_fields(call)
    if not string(given, "client_id") or not string(given, "client_secret"):
        return __oauth_error(401, "invalid_client", "Client authentication failed")
    if string(given, "grant_type") != "authorization_code":
        return __oauth_error(400, "unsupported_grant_type", "The authorization grant type is not supported")
    texts = {name: value for name, value in given.items() if isinstance(value, str)}
    named = renew(call.platform, texts) if texts.get("redirect_uri") else None
    if named is None:
        return __oauth_error(400, "invalid_grant", "The provided authorization grant is invalid, expired or revoked")
    created = int(call.now.timestamp())
    answer = {"access_token": write_access(named), "token_type": "Bearer", "scope": SCOPES, "created_at": created}
    return json_reply(200, answer)


def revoke_token(call: Call) -> Reply:
    """Kill a token; a later authorization code gives another one (Mastodon, POST /oauth/revoke)."""
    given = read_fields(call)
    if not string(given, "client_id") or not string(given, "client_secret"):
        return __oauth_error(403, "unauthorized_client", "You are not authorized to revoke this token")
    revoke(call.platform, string(given, "token"))
    return json_reply(200, {})


def __oauth_error(status: int, error: str, description: str) -> Reply:
    return json_reply(status, {"error": error, "error_description": description})
