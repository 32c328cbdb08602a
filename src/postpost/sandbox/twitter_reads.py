"""How the look-alike of X shows posts: fields by request, shortened links, timelines, and problem documents."""

import html
import re
from datetime import datetime
from typing import NoReturn

from twitter_text import extract_urls_with_indices

from postpost.sandbox.state import StoredPost
from postpost.sandbox.wire import Call, Json, RefusalError, Reply, json_reply, millis, pick

PROBLEMS = "https://api.twitter.com/2/problems/"
"""Problem types still name the old host."""

POST_FIELDS = frozenset(
    {
        "article",
        "attachments",
        "author_id",
        "card_uri",
        "community_id",
        "context_annotations",
        "conversation_id",
        "created_at",
        "display_text_range",
        "edit_controls",
        "edit_history_post_ids",
        "edit_history_tweet_ids",
        "entities",
        "geo",
        "id",
        "in_reply_to_user_id",
        "lang",
        "media_metadata",
        "note_post",
        "note_tweet",
        "possibly_sensitive",
        "public_metrics",
        "referenced_tweets",
        "reply_settings",
        "scopes",
        "source",
        "text",
        "withheld",
    }
)
"""Fields of a post that a read may ask for, in either dialect."""

MAYBE_URL = re.compile(r"\S\.\S")
"""A dot within a word: a text without one holds no link, in any of the forms X recognises."""


def problem(status: int, title: str, detail: str, kind: str | None = None) -> Reply:
    """Return a problem document."""
    problem_type = PROBLEMS + kind if kind else "about:blank"
    return json_reply(status, {"title": title, "detail": detail, "type": problem_type, "status": status})


def invalid(message: str) -> Reply:
    """Return a refusal of a malformed request."""
    detail = "One or more parameters to your request was invalid."
    data = {
        "errors": [{"parameters": {}, "message": message}],
        "title": "Invalid Request",
        "detail": detail,
        "type": PROBLEMS + "invalid-request",
    }
    return json_reply(400, data)


def refuse(message: str) -> NoReturn:
    """Refuse a malformed request. Raises RefusalError."""
    raise RefusalError(invalid(message))


def read_post(call: Call) -> Reply:
    """Show one post (X, GET /2/tweets/{id})."""
    fields, references, _ = _asked_fields(call)
    post = call.platform.find_post(call.params["id"])
    return missing(call.params["id"]) if post is None else json_reply(200, {"data": _show(post, fields, references)})


def read_timeline(call: Call) -> Reply:
    """List an account's posts, newest first (X, GET /2/users/{id}/tweets)."""
    fields, references, new_names = _asked_fields(call)
    query = call.query
    try:
        limit = pick(query, "max_results", 10, range(5, 101))
        since_id, until_id = int(query.get("since_id", 0)), int(query.get("until_id", 2**63))
        until_id = min(until_id, int(query.get("pagination_token", 2**63)))
        start, end = _time(query.get("start_time")), _time(query.get("end_time"))
    except ValueError as error:
        raise RefusalError(invalid(str(error))) from error
    found: list[StoredPost] = []
    for post in call.platform.account(call.params["id"]).newest_posts():
        if int(post.id) <= since_id or (start is not None and post.created_at < start) or len(found) > limit:
            break
        skipped = "replies" in query.get("exclude", "") and post.reply_to is not None
        if int(post.id) < until_id and (end is None or post.created_at < end) and not skipped:
            found.append(post)
    meta: dict[str, Json] = {"result_count": min(len(found), limit)}
    if len(found) > limit:
        found.pop()
        meta["next_token"] = found[-1].id
    if not found:
        return json_reply(200, {"meta": meta})
    meta |= {"newest_id": found[0].id, "oldest_id": found[-1].id}
    answer: dict[str, Json] = {"data": [_show(post, fields, references) for post in found], "meta": meta}
    parents = [parent for post in found if post.reply_to and (parent := call.platform.find_post(post.reply_to))]
    if references and parents:
        included = [_show(parent, fields, "") for parent in parents]
        answer["includes"] = {"posts" if new_names else "tweets": included}
    return json_reply(200, answer)


def _asked_fields(call: Call) -> tuple[set[str], str, bool]:
    """Return the fields to show, the name under which to show references ("" for not at all), and the dialect."""
    query = call.query
    new_names = "post.fields" in query
    asked = {name for name in (query.get("post.fields") or query.get("tweet.fields") or "").split(",") if name}
    if unknown := asked - POST_FIELDS:
        parameter = "post.fields" if new_names else "tweet.fields"
        refuse(f"The `{parameter}` query parameter value [{sorted(unknown)[0]}] is not allowed.")
    expansions = query.get("expansions", "").split(",")
    if "author_id" in expansions:
        asked.add("author_id")
    if "referenced_posts" in expansions:
        return asked, "referenced_posts", True
    references = "referenced_tweets" if "referenced_tweets" in asked or "referenced_tweets.id" in expansions else ""
    return asked, references, new_names


def _time(text: str | None) -> datetime | None:
    if text is None:
        return None
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("a time must say its zone")
    return moment


def shown_text(post: StoredPost) -> tuple[str, list[Json]]:
    """Return the text as the API gives it back, and its links: X shortens every link and escapes &, < and >."""
    links: list[Json] = []
    parts: list[str] = []
    done = 0
    urls = extract_urls_with_indices(post.text) if MAYBE_URL.search(post.text) else ()
    for number, found in enumerate(urls):
        start, end = found["indices"]
        parts.append(html.escape(post.text[done:start], quote=False))
        short = f"https://t.co/{(int(post.id) * 16 + number) % 62**10:010x}"
        written = found["url"]
        expanded = written if written.lower().startswith("http") else f"http://{written}"
        at = sum(map(len, parts))
        links.append(
            {
                "start": at,
                "end": at + len(short),
                "url": short,
                "expanded_url": expanded,
                "display_url": expanded.partition("//")[2],
            }
        )
        parts.append(short)
        done = end
    parts.append(html.escape(post.text[done:], quote=False))
    return "".join(parts), links


def _show(post: StoredPost, fields: set[str], references: str) -> dict[str, Json]:
    text, links = shown_text(post)
    everything: dict[str, Json] = {
        "created_at": millis(post.created_at),
        "author_id": post.account,
        "conversation_id": post.detail,
        "edit_history_tweet_ids": [post.id],
        "edit_history_post_ids": [post.id],
        "lang": "en",
        "possibly_sensitive": False,
        "public_metrics": {"like_count": 0, "reply_count": 0, "retweet_count": 0, "quote_count": 0},
        "reply_settings": "everyone",
    }
    if links:
        everything["entities"] = {"urls": links}
    if post.media:
        everything["attachments"] = {"media_keys": [f"3_{media}" for media in post.media]}
    shown = {"id": post.id, "text": text} | {name: everything[name] for name in fields & everything.keys()}
    if references and post.reply_to:
        shown[references] = [{"type": "replied_to", "id": post.reply_to}]
    return shown


def missing(value: str) -> Reply:
    """Return that there is no such post."""
    error = {
        "value": value,
        "detail": f"Could not find tweet with id: [{value}].",
        "title": "Not Found Error",
        "resource_type": "tweet",
        "parameter": "id",
        "resource_id": value,
        "type": PROBLEMS + "resource-not-found",
    }
    return json_reply(404, {"errors": [error], **error, "status": 404})
