"""docs/configuration.md says what postpost.config declares."""

import re
import tomllib
from pathlib import Path

from postpost.accounts.plans import BUILT_IN, ENTITLEMENT_KEYS, load_plans
from postpost.config import SETTINGS, variable_name, with_settings_table

PAGE = Path(__file__).parent.parent / "docs" / "configuration.md"

REFRESH = (
    "docs/configuration.md is out of date; refresh it with: python -c 'from pathlib import Path; "
    'from postpost.config import with_settings_table as t; p = Path("docs/configuration.md"); '
    "p.write_text(t(p.read_text()))'"
)


def test_configuration_page_when_settings_change_then_its_tables_follow():
    page = PAGE.read_text("utf-8")

    assert with_settings_table(page) == page, REFRESH


def test_configuration_page_when_read_then_it_has_every_setting_once_in_a_table():
    page = PAGE.read_text("utf-8")

    assert [name for name in SETTINGS if page.count(f"\n| `{variable_name(name)}` |") != 1] == []


def test_configuration_page_when_read_then_it_explains_every_entitlement():
    page = PAGE.read_text("utf-8")

    assert [key for key in ENTITLEMENT_KEYS if f"| `{key}` |" not in page] == []


def test_configuration_page_when_its_plans_file_is_loaded_then_it_is_valid(tmp_path: Path):
    [example] = re.findall(r"```toml\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    file = tmp_path / "plans.toml"
    file.write_text(example, "utf-8")

    assert set(load_plans(file)) == {*BUILT_IN, *tomllib.loads(example)}
