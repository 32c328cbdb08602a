"""One post for all four platforms, from the API to the sandbox."""

import pytest

from tests.factories import FOUR, now

pytestmark = pytest.mark.anyio


async def test_post_for_four_platforms_when_due_now_then_published_everywhere(system):
    await system.connect(*FOUR)
    group = await system.create(*FOUR, content="Hello world", at=now())
    entries = await system.ended(group)
    assert [entry["status"] for entry in entries] == ["published"] * 4
    for platform_id in FOUR:
        assert len(await system.posted(platform_id)) == 1
    assert await system.status(group) == "published"
