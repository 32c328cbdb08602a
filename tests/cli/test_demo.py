import json
import subprocess
import tempfile
from pathlib import Path

from tests.cli.program import PROGRAM


def leftovers():
    return set(Path(tempfile.gettempdir()).glob("postpost-demo-*"))


def test_demo_when_run_then_one_group_is_partial_and_nothing_is_left_behind():
    before = leftovers()

    done = subprocess.run([*PROGRAM, "demo", "--json"], capture_output=True, text=True, timeout=90, check=False)

    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    statuses = {group["title"]: group["status"] for group in result["groups"]}
    assert (result["ok"], result["problems"]) == (True, [])
    assert list(statuses.values()).count("partially_published") == 1
    assert set(statuses.values()) == {"published", "partially_published"}
    assert [entry["status"] for entry in result["partial"]["posts"]] == ["published", "failed"]
    assert all(post["latencyMs"] >= 0 for group in result["groups"] for post in group["posts"])
    assert leftovers() <= before
