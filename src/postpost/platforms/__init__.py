"""The platforms' connectors, in the order in which the platforms are listed everywhere."""

from postpost.platforms import bluesky, linkedin, mastodon, twitter
from postpost.platforms.base import Connector

CONNECTORS: tuple[Connector, ...] = (
    twitter.CONNECTOR,
    linkedin.CONNECTOR,
    bluesky.CONNECTOR,
    mastodon.CONNECTOR,
)

_BY_KEY = {connector.platform.key: connector for connector in CONNECTORS}


def connector(key: str) -> Connector | None:
    """Return the connector of a platform key, None for a platform that has none."""
    return _BY_KEY.get(key)
