"""`postpost keys`: make, list and revoke API keys."""

from typing import Annotated

import typer

from postpost.accounts import keys as key_form
from postpost.accounts import operating, service
from postpost.accounts.operating import AccountView, KeyView
from postpost.cli import options
from postpost.cli.output import CommandError, hint, print_json, say, show
from postpost.cli.running import open_services, run

app = typer.Typer(help="Make, list and revoke API keys.", no_args_is_help=True)

MAX_NAME = 100


def _read_name(text: str) -> str:
    name = options.read_text(text)
    if len(name) > MAX_NAME:
        raise typer.BadParameter(f"at most {MAX_NAME} characters.")
    return name


@app.command(
    epilog=options.examples("postpost keys create", "postpost keys create --account ann@example.com --name backup")
)
def create(
    account: options.Account = None,
    name: Annotated[
        str, typer.Option("--name", parser=_read_name, metavar="NAME", help="What the key is for.")
    ] = "Default",
    as_json: options.AsJson = False,
) -> None:
    """Make an API key; it is shown this once and stored nowhere."""
    owner, key, usable = run(_create(account, name))
    if as_json:
        print_json({"accountId": owner.account_id, "name": name, "keyPrefix": key_form.split(key), "apiKey": key})
    else:
        say(key)
        hint(f"This is the only time that the key of {owner.email} is shown.")
    if not usable:
        hint("The account's plan has no API access: requests with this key are refused until it has.")


async def _create(text: str | None, name: str) -> tuple[AccountView, str, bool]:
    async with open_services() as services:
        account = await options.choose_account(services.database, text)
        plan = await operating.active_plan(services.database, services.accounts, account)
        key = await service.create_key(services.database, account.account_id, name)
        return account, key, plan is not None and plan.entitlements.api_access


@app.command("list", epilog=options.examples("postpost keys list", "postpost keys list --account ann@example.com"))
def list_(account: options.Account = None, as_json: options.AsJson = False) -> None:
    """List an account's active keys, newest first."""
    owner, keys = run(_list(account))
    if as_json:
        print_json({"accountId": owner.account_id, "apiKeys": keys})
        return
    show(
        ("id", "name", "prefix", "made", "last used"),
        [(key.key_id, key.name, key.key_prefix, key.created_at, key.last_used_at) for key in keys],
        none=f"{owner.email} has no active key. Next step: postpost keys create --account {owner.account_id}",
    )


async def _list(text: str | None) -> tuple[AccountView, list[KeyView]]:
    async with open_services() as services:
        account = await options.choose_account(services.database, text)
        return account, await operating.list_keys(services.database, account.account_id)


@app.command(epilog=options.examples("postpost keys revoke sk_mdz0k3o1_0123456789abcdef --account ann@example.com"))
def revoke(
    key: Annotated[str, typer.Argument(metavar="KEY", help="Its id, its prefix or the key itself.")],
    account: options.Account = None,
    as_json: options.AsJson = False,
) -> None:
    """Revoke a key, at once and for every process."""
    named = key_form.split(key) or key
    owner = run(_revoke(account, named))
    if as_json:
        print_json({"accountId": owner.account_id, "key": named, "revoked": True})
    else:
        say(f"Revoked {named}.")


async def _revoke(text: str | None, key: str) -> AccountView:
    async with open_services() as services:
        account = await options.choose_account(services.database, text)
        if not await operating.revoke_key(services.database, account.account_id, key):
            raise CommandError(
                f"{account.email} has no active key {key!r}",
                f"`postpost keys list --account {account.account_id}` shows those it has.",
            )
        return account
