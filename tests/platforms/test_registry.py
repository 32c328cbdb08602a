"""The connectors' registry: its order, and how a connector is found."""

import re

from postpost.platforms import CONNECTORS, connector
from postpost.platforms.limits import PLATFORMS


def test_connectors_when_listed_then_stand_in_the_order_of_the_platforms() -> None:
    order = [limits.key for limits in PLATFORMS]
    listed = [entry.platform.key for entry in CONNECTORS]
    assert listed == sorted(listed, key=order.index)


def test_connector_when_key_is_known_then_is_that_platforms() -> None:
    assert [connector(entry.platform.key) for entry in CONNECTORS] == list(CONNECTORS)


def test_connector_when_key_is_unknown_then_there_is_none() -> None:
    assert connector("pinterest") is None


def test_platforms_when_described_then_addresses_have_no_final_slash() -> None:
    assert all(re.fullmatch(r"https://[a-z.]+", entry.platform.base_url) for entry in CONNECTORS)
