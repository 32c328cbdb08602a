"""What the look-alikes remember: accounts, posts and what was lately done, in memory and bounded."""

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from postpost.sandbox.faults import Faults

Clock = Callable[[], datetime]
"""Returns the present time, aware."""

MAX_POSTS = 200_000
"""Posts kept over all platforms; the oldest go first."""

MAX_ACCOUNTS = 100_000
"""Accounts kept for each platform; the first ones go first, with their posts."""

MAX_MEMORIES = 200_000
"""Idempotency keys, recent texts and the like kept for each platform; the oldest go first."""

RATE_WINDOW = timedelta(minutes=15)
RATE_LIMIT = 1_000_000
"""Authorised calls of one account within a window. Far above the platforms' own: faults ask for refusals."""

LONG_AGO = datetime.min.replace(tzinfo=UTC)


def utc_now() -> datetime:
    """Return the present time."""
    return datetime.now(UTC)


@dataclass(slots=True)
class StoredPost:
    """A post that a platform accepted.

    `id` is the platform's own, and the id its API uses to name the post; `text` is what a reader sees; `detail`
    belongs to the platform's module.
    """

    id: str
    account: str
    text: str
    created_at: datetime
    reply_to: str | None = None
    media: tuple[str, ...] = ()
    detail: Any = None


@dataclass(slots=True)
class Account:
    """An account of a platform. It exists as soon as it is used.

    Tokens come in generations: `issued` is the latest one handed out, and tokens up to `dead_up_to` have expired.
    `uploads` are the ids of media that posts of the account may name.
    """

    name: str
    username: str
    posts: dict[str, StoredPost] = field(default_factory=dict)
    faults: Faults = field(default_factory=Faults)
    uploads: set[str] = field(default_factory=set)
    issued: int = 0
    dead_up_to: int = -1
    calls_left: int = RATE_LIMIT
    window_ends: datetime = LONG_AGO

    def next_generation(self) -> int:
        """Start a new generation of tokens, alive whatever became of earlier ones."""
        self.issued = max(self.issued, self.dead_up_to) + 1
        return self.issued

    def count_call(self, now: datetime) -> bool:
        """Count one authorised call; False when the window's limit was reached before it."""
        if now >= self.window_ends:
            self.window_ends = now + RATE_WINDOW
            self.calls_left = RATE_LIMIT
        if self.calls_left == 0:
            return False
        self.calls_left -= 1
        return True

    def newest_posts(self) -> Iterator[StoredPost]:
        """Iterate over the account's posts, newest first."""
        return reversed(self.posts.values())


class Memory:
    """Values under keys, each with the time it was kept; the oldest give way to new ones."""

    __slots__ = ("_kept", "_limit")

    def __init__(self, limit: int) -> None:
        self._kept: OrderedDict[tuple[str, ...], tuple[Any, datetime]] = OrderedDict()
        self._limit = limit

    def keep(self, key: tuple[str, ...], value: Any, now: datetime) -> None:
        """Remember `value`, in place of what was under the key."""
        self._kept[key] = (value, now)
        self._kept.move_to_end(key)
        if len(self._kept) > self._limit:
            self._kept.popitem(last=False)

    def recall(self, key: tuple[str, ...], *, since: datetime) -> Any:
        """Return the value kept under the key after `since`, or None."""
        found = self._kept.get(key)
        return found[0] if found is not None and found[1] > since else None

    def forget(self, key: tuple[str, ...]) -> None:
        """Drop the key if it is there."""
        self._kept.pop(key, None)


class PlatformState:
    """Everything one look-alike remembers. `usernames` leads from a handle to the account's name."""

    def __init__(self, key: str, username_of: Callable[[str], str], store: "State") -> None:
        self.key = key
        self._username_of = username_of
        self.clock = store.clock
        self.accounts: OrderedDict[str, Account] = OrderedDict()
        self.usernames: dict[str, str] = {}
        self.memory = Memory(store.max_memories)
        self._store = store
        self._last_number = 0

    def account(self, name: str) -> Account:
        """Return the account, which starts to exist now if it did not."""
        account = self.accounts.get(name)
        if account is None:
            account = Account(name, self._username_of(name))
            self.accounts[name] = account
            self.usernames.setdefault(account.username, name)
            if len(self.accounts) > self._store.max_accounts:
                _, gone = self.accounts.popitem(last=False)
                self._forget(gone)
        return account

    def rename(self, account: Account, username: str) -> None:
        """Give the account another handle."""
        if self.usernames.get(account.username) == account.name:
            del self.usernames[account.username]
        account.username = username
        self.usernames[username] = account.name

    def next_number(self, epoch_milliseconds: int, shift: int) -> int:
        """Return a number for an id: the time since the epoch, shifted left, and always above the last one."""
        elapsed = int(self.clock().timestamp() * 1000) - epoch_milliseconds
        self._last_number = max(self._last_number + 1, elapsed << shift)
        return self._last_number

    def find_post(self, post_id: str) -> StoredPost | None:
        """Return the post of that id, whoever wrote it."""
        return self._store.posts.get((self.key, post_id))

    def add_post(self, account: Account, post: StoredPost) -> None:
        """Keep a new post; the oldest of all platforms gives way when there are too many."""
        account.posts[post.id] = post
        self._store.add(self.key, post)

    def remove_post(self, post: StoredPost) -> None:
        """Forget a post."""
        self._store.posts.pop((self.key, post.id), None)
        owner = self.accounts.get(post.account)
        if owner is not None:
            owner.posts.pop(post.id, None)

    def _forget(self, account: Account) -> None:
        if self.usernames.get(account.username) == account.name:
            del self.usernames[account.username]
        for post_id in account.posts:
            self._store.posts.pop((self.key, post_id), None)


class State:
    """What all look-alikes of one sandbox remember together. `usernames` makes up handles, for each platform."""

    def __init__(
        self,
        usernames: Mapping[str, Callable[[str], str]],
        clock: Clock,
        *,
        max_posts: int = MAX_POSTS,
        max_accounts: int = MAX_ACCOUNTS,
        max_memories: int = MAX_MEMORIES,
    ) -> None:
        self.clock = clock
        self.max_posts = max_posts
        self.max_accounts = max_accounts
        self.max_memories = max_memories
        self.posts: OrderedDict[tuple[str, str], StoredPost] = OrderedDict()
        self.platforms = {key: PlatformState(key, username_of, self) for key, username_of in usernames.items()}

    def add(self, platform: str, post: StoredPost) -> None:
        """Keep a post of a platform within the bound on all of them."""
        self.posts[platform, post.id] = post
        if len(self.posts) > self.max_posts:
            (key, _), oldest = self.posts.popitem(last=False)
            owner = self.platforms[key].accounts.get(oldest.account)
            if owner is not None:
                owner.posts.pop(oldest.id, None)
