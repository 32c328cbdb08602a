"""What a run is given: the claimed post, the verdict of its platform's rules, and the engine's tools."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from postpost.platforms.base import Account, Connector, Grant, Http
from postpost.publishing.steps import Journal
from postpost.publishing.timing import Timing
from postpost.values import Json


@dataclass(frozen=True, slots=True)
class Checked:
    """The verdict of the platform's rules on a post: its parts, or why it cannot be sent."""

    parts: tuple[str, ...] = ()
    problem: str | None = None
    items: Json = None


@dataclass(frozen=True, slots=True)
class ClaimedPost:
    """A platform post held under a lease, with everything that a run needs.

    `account` is None when the post's connection is gone, or when its credentials are `locked_away`: no key of ours
    opens them.
    """

    id: str
    group_id: str
    account_id: str
    platform: str
    platform_id: str
    content: str
    settings: Mapping[str, Json]
    tries: int
    failures: int
    lease_id: str
    lease_until: datetime
    steps: dict[str, Json]
    intent: dict[str, Json] | None
    parts: list[dict[str, Json]] | None
    connection_id: str | None
    account: Account | None
    token_expires_at: datetime | None
    refused: bool
    connected_at: datetime | None = None
    locked_away: bool = False


@dataclass(frozen=True, slots=True)
class Tools:
    """What a run borrows from the engine."""

    connector: Callable[[str], Connector | None]
    check: Callable[[ClaimedPost], Awaitable[Checked]]
    refresh: Callable[[ClaimedPost, Connector], Awaitable[Grant]]
    http: Http
    journal: Journal
    timing: Timing
