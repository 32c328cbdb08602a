"""The pages of the sandbox: what was posted, for people to look at."""

import re
from collections.abc import Iterable, Mapping
from importlib import resources
from itertools import islice
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from postpost.sandbox.state import Account, State, StoredPost
from postpost.sandbox.wire import LookAlike, Reply

MAX_SHOWN_POSTS = 200
MAX_SHOWN_ACCOUNTS = 500

_HEADERS = {
    "content-security-policy": "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
}
_LINK = re.compile(r"https?://[^\s<>\"]*[^\s<>\".,;:!?')\]}]")

STYLE = Reply(
    200,
    (resources.files("postpost.sandbox") / "templates" / "style.css").read_bytes(),
    _HEADERS,
    "text/css; charset=utf-8",
)


def link_text(text: str) -> Markup:
    """Return a post's text as HTML: escaped, with its web addresses as links that search engines ignore."""
    parts = Markup()
    done = 0
    for found in _LINK.finditer(text):
        parts += text[done : found.start()]
        parts += Markup('<a href="{0}" rel="nofollow noopener noreferrer">{0}</a>').format(found.group())
        done = found.end()
    return parts + text[done:]


def threads(posts: Iterable[StoredPost]) -> list[list[StoredPost]]:
    """Group posts that answer each other, the newest group first, each group from its beginning.

    `posts` are given newest first. A post whose parent is not among them begins a group.
    """
    groups: dict[str, list[StoredPost]] = {}
    group_of: dict[str, list[StoredPost]] = {}
    for post in reversed(list(posts)):
        group = group_of.get(post.reply_to) if post.reply_to else None
        if group is None:
            group = groups.setdefault(post.id, [])
        group.append(post)
        group_of[post.id] = group
    return sorted(groups.values(), key=lambda group: group[-1].created_at, reverse=True)


def _path(segment: str) -> str:
    return quote(segment, safe="")


_environment = Environment(
    loader=PackageLoader("postpost.sandbox"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_environment.filters["link_text"] = link_text
_environment.filters["path"] = _path


def _page(template: str, **values: object) -> Reply:
    html = _environment.get_template(template).render(values)
    return Reply(200, html.encode(), _HEADERS, "text/html; charset=utf-8")


def show_index(state: State, platforms: Mapping[str, LookAlike]) -> Reply:
    """Return the page of all platforms with their numbers of accounts and posts."""
    rows = [
        (platform, len(accounts), sum(len(account.posts) for account in accounts.values()))
        for platform in platforms.values()
        for accounts in (state.platforms[platform.key].accounts,)
    ]
    return _page("index.html", rows=rows)


def show_platform(state: State, platform: LookAlike) -> Reply:
    """Return the page of a platform: its accounts, and the latest posts of all of them."""
    accounts = state.platforms[platform.key].accounts
    latest = (post for (key, _), post in reversed(state.posts.items()) if key == platform.key)
    return _page(
        "platform.html",
        platform=platform,
        accounts=list(islice(reversed(accounts.values()), MAX_SHOWN_ACCOUNTS)),
        account_count=len(accounts),
        threads=threads(islice(latest, MAX_SHOWN_POSTS)),
        usernames={name: account.username for name, account in accounts.items()},
    )


def show_account(platform: LookAlike, account: Account) -> Reply:
    """Return the page of an account: its latest posts, and the faults that wait for it."""
    return _page(
        "account.html",
        platform=platform,
        account=account,
        threads=threads(islice(account.newest_posts(), MAX_SHOWN_POSTS)),
        faults=account.faults.waiting(),
        usernames={account.name: account.username},
        limit=MAX_SHOWN_POSTS,
    )
