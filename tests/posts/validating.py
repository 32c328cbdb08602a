"""Shared by the validation tests: the validator as clients see it, and plain media."""

from functools import partial

import msgspec

from postpost.posts.validation import Target, check
from postpost.posts.validation_media import MediaFacts

MIB = 1 << 20

image = partial(MediaFacts, type="image")
video = partial(MediaFacts, type="video")
JPEG = image(mime_type="image/jpeg")
MP4 = video(mime_type="video/mp4")


def validate(*keys, content="", media=(), settings=None, facts=None, chains=False, public=True):
    """Return the validation object as clients get it."""
    targets = [Target(key, facts or {}) for key in keys]
    found = check(targets, content, settings, media, threads_reply_chains=chains, public_media=public)
    return msgspec.json.decode(msgspec.json.encode(found))


def messages(found):
    return [item["message"] for item in found["errors"] + found["warnings"]]
