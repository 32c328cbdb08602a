"""`postpost accounts`: make, change, list, show and delete accounts."""

from collections.abc import Mapping
from typing import Annotated

import msgspec
import typer

from postpost.accounts import operating
from postpost.accounts.operating import AccountView
from postpost.accounts.plans import ENTITLEMENT_KEYS, ActivePlan, check_plan_key, load_plans, parse_override
from postpost.accounts.service import NewAccount
from postpost.cli import options
from postpost.cli.output import CommandError, console, facts, hint, print_json, say, show, state
from postpost.cli.running import open_services, run
from postpost.config import ConfigError, Settings
from postpost.connections import service as connections
from postpost.database.pool import Database
from postpost.platforms.base import Json

app = typer.Typer(help="Make, change and list accounts.", no_args_is_help=True)

MAX_SEATS = 1_000_000

Which = Annotated[
    str | None,
    typer.Argument(metavar="ID|EMAIL", help="The account; --account names it as well.", show_default=False),
]
Email = Annotated[str, typer.Option("--email", parser=options.read_email, metavar="EMAIL", help="E-mail address.")]
NewEmail = Annotated[
    str | None, typer.Option("--email", parser=options.read_email, metavar="EMAIL", help="E-mail address.")
]
Name = Annotated[
    str | None, typer.Option("--display-name", parser=options.read_text, metavar="NAME", help="Name that people see.")
]
PlanKey = Annotated[
    str | None, typer.Option("--plan", metavar="NAME|none", help="Plan; `none` is the operator's default plan.")
]
Entitlement = Annotated[
    list[str] | None,
    typer.Option("--entitlement", metavar="KEY=VALUE", help="Single entitlement over the plan's; may be repeated."),
]
NoEntitlement = Annotated[
    list[str] | None,
    typer.Option("--no-entitlement", metavar="KEY", help="Take a single entitlement away again; may be repeated."),
]
Seats = Annotated[str | None, typer.Option("--seats", metavar="N|none", help="Connected accounts that are paid for.")]
Workspaces = Annotated[
    bool | None,
    typer.Option("--workspaces/--no-workspaces", metavar=options.FLAG, help="Whether it may have managed users."),
]
Admin = Annotated[
    bool | None, typer.Option("--admin/--no-admin", metavar=options.FLAG, help="Whether it has admin rights.")
]
Active = Annotated[
    bool | None,
    typer.Option(
        "--active/--inactive",
        metavar=options.FLAG,
        help="Whether it may do anything; --inactive makes its scheduled posts drafts.",
    ),
]
Hold = Annotated[str | None, typer.Option("--hold", parser=options.read_text, metavar="REASON", help="Put it on hold.")]
HoldUntil = Annotated[
    str | None, typer.Option("--hold-until", metavar="TIME", help="When the hold ends; without it never.")
]
NoHold = Annotated[bool, typer.Option("--no-hold", metavar=options.FLAG, help="End the hold.")]
Parent = Annotated[
    str | None,
    typer.Option("--parent", metavar="ID|EMAIL|none", help="Account that manages and pays; `none` detaches it."),
]


@app.command(
    epilog=options.examples(
        "postpost accounts create --email ann@example.com --plan pro",
        "postpost accounts create --email bob@example.com --plan starter --entitlement apiAccess=true",
        "postpost accounts create --email eve@example.com --parent ann@example.com",
    )
)
def create(
    email: Email,
    display_name: Name = None,
    plan: PlanKey = None,
    entitlement: Entitlement = None,
    seats: Seats = None,
    workspaces: Workspaces = None,
    admin: Admin = None,
    hold: Hold = None,
    hold_until: HoldUntil = None,
    active: Active = None,
    parent: Parent = None,
    as_json: options.AsJson = False,
) -> None:
    """Make an account. It gets its first key with `postpost keys create`."""
    settings = Settings.load()
    new = NewAccount(
        email,
        display_name or email,
        plan_key=_read_plan(plan, settings),
        entitlements=_read_entitlements(entitlement),
        seats=_read_seats(seats),
        workspaces=bool(workspaces),
        is_admin=bool(admin),
    )
    changes = _hold_changes(hold, hold_until, no_hold=False) | ({} if active is None else {"active": active})
    account = run(_create(new, changes, parent))
    if as_json:
        print_json(account)
    else:
        say(f"Made account {account.account_id} for {account.email}.")
        say(f"Next: postpost keys create --account {account.account_id}")


async def _create(new: NewAccount, changes: dict[str, object], parent: str | None) -> AccountView:
    async with open_services() as services:
        if parent is not None:
            changes["parent_id"] = await _read_parent(services.database, parent, None)
        return await operating.create_account(services.database, new, changes)


@app.command(
    "set",
    epilog=options.examples(
        "postpost accounts set ann@example.com --plan premium --seats 5",
        "postpost accounts set ann@example.com --hold 'Invoice open' --hold-until 2031-01-31",
        "postpost accounts set ann@example.com --inactive",
    ),
)
def change(
    which: Which = None,
    email: NewEmail = None,
    display_name: Name = None,
    plan: PlanKey = None,
    entitlement: Entitlement = None,
    no_entitlement: NoEntitlement = None,
    seats: Seats = None,
    workspaces: Workspaces = None,
    admin: Admin = None,
    hold: Hold = None,
    hold_until: HoldUntil = None,
    no_hold: NoHold = False,
    active: Active = None,
    parent: Parent = None,
    account: options.Account = None,
    as_json: options.AsJson = False,
) -> None:
    """Change an account: only what is named is changed."""
    settings = Settings.load()
    granted = _read_entitlements(entitlement)
    withdrawn = _read_withdrawn(no_entitlement)
    given = {
        "email": email,
        "display_name": display_name,
        "workspaces": workspaces,
        "is_admin": admin,
        "active": active,
    }
    changes: dict[str, object] = {name: value for name, value in given.items() if value is not None}
    changes |= _hold_changes(hold, hold_until, no_hold=no_hold)
    if plan is not None:
        changes["plan_key"] = _read_plan(plan, settings)
    if seats is not None:
        changes["seats"] = _read_seats(seats)
    if not changes and not granted and not withdrawn and parent is None:
        raise typer.BadParameter("say what to change; `postpost accounts set --help` lists it.")
    changed, drafts = run(_change(options.named(which, account), changes, granted, withdrawn, parent))
    if as_json:
        print_json({**msgspec.to_builtins(changed), "movedToDraft": drafts})
        return
    say(f"Changed account {changed.account_id}.")
    if drafts:
        say(f"{drafts} scheduled post groups are drafts now; their times are kept.")


async def _change(
    which: str | None, changes: dict[str, object], granted: Mapping[str, Json], withdrawn: list[str], parent: str | None
) -> tuple[AccountView, int]:
    async with open_services() as services:
        account = await options.choose_account(services.database, which)
        if parent is not None:
            changes["parent_id"] = await _read_parent(services.database, parent, account.account_id)
        if changes.get("hold_until") is not None and "on_hold" not in changes and account.hold is None:
            raise CommandError("The account is not on hold", "give the reason too, with --hold REASON.")
        account = await operating.change_account(
            services.database, account.account_id, changes, granted=granted, withdrawn=withdrawn
        )
        # The account is inactive already, so nothing can be scheduled behind this. Doing it again does no harm.
        drafts = 0 if account.active else await services.posts.pause_account(account.account_id)
        return account, drafts


@app.command("list", epilog=options.examples("postpost accounts list", "postpost accounts list --json"))
def list_(
    most: Annotated[
        int, typer.Option("--limit", metavar="N", min=1, max=1_000_000, help="Most accounts, oldest first.")
    ] = 1000,
    as_json: options.AsJson = False,
) -> None:
    """List accounts, oldest first."""
    accounts = run(_list(most))
    if as_json:
        print_json({"accounts": accounts})
        return
    show(
        ("id", "e-mail", "name", "plan", "state", "parent", "made"),
        [
            (
                one.account_id,
                one.email,
                one.display_name,
                one.plan,
                state(_state_word(one)),
                one.parent_id,
                one.created_at,
            )
            for one in accounts
        ],
        none="There is no account yet. Next step: postpost accounts create --email you@example.com",
    )
    if len(accounts) == most:
        hint(f"There may be more than these {most}: use --limit.")


async def _list(most: int) -> list[AccountView]:
    async with open_services() as services:
        return await operating.list_accounts(services.database, most)


@app.command("show", epilog=options.examples("postpost accounts show", "postpost accounts show ann@example.com --json"))
def show_(
    which: Which = None,
    account: options.Account = None,
    as_json: options.AsJson = False,
) -> None:
    """Show an account with what it may do."""
    found, plan, connected, keys = run(_show(options.named(which, account)))
    if as_json:
        print_json(
            {
                **msgspec.to_builtins(found),
                "activePlan": _plan_json(plan),
                "connections": connected,
                "activeKeys": keys,
            }
        )
        return
    rows: list[tuple[str, object]] = [
        ("id", found.account_id),
        ("e-mail", found.email),
        ("name", found.display_name),
        ("state", state(_state_word(found))),
        ("plan", f"{found.plan or 'the default'}: {plan.name if plan else 'none holds, requests are refused'}"),
        ("own entitlements", msgspec.json.encode(found.entitlements).decode() if found.entitlements else None),
        ("seats", found.seats),
        ("workspaces", found.workspaces),
        ("admin", found.admin),
        ("parent", found.parent_id),
        ("made", found.created_at),
        ("connections", connected),
        ("active keys", keys),
    ]
    if found.hold is not None:
        until = f" until {found.hold.until}" if found.hold.until else ""
        rows.insert(4, ("hold", f"{found.hold.reason}{until}"))
    console().print(facts(rows))


async def _show(which: str | None) -> tuple[AccountView, ActivePlan | None, int, int]:
    async with open_services() as services:
        database = services.database
        account = await options.choose_account(database, which)
        plan = await operating.active_plan(database, services.accounts, account)
        connected = await connections.list_connections(database, account.account_id)
        keys = await operating.list_keys(database, account.account_id)
        return account, plan, len(connected), len(keys)


@app.command(epilog=options.examples("postpost accounts delete ann@example.com", "postpost accounts delete ID --yes"))
def delete(
    which: Which = None,
    account: options.Account = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", metavar=options.FLAG, help="Do not ask.")] = False,
    as_json: options.AsJson = False,
) -> None:
    """Delete an account with its posts and connections; what is on the platforms stays there."""
    name = options.named(which, account)
    if name is None:
        raise typer.BadParameter("say which account to delete, by its id or e-mail address.")
    deleted = run(_delete(name, asked=not yes))
    if as_json:
        print_json({"accountId": deleted.account_id, "deleted": True})
    else:
        say(f"Deleted account {deleted.account_id}.")


async def _delete(which: str, *, asked: bool) -> AccountView:
    async with open_services() as services:
        account = await options.choose_account(services.database, which)
        if asked:
            question = f"Delete {account.email} ({account.account_id}) with all its posts and connections?"
            typer.confirm(question, abort=True, err=True)
        if not await operating.delete_account(services.database, account.account_id):
            raise CommandError(f"Account {account.account_id} is gone already", "nothing is left to do.")
        return account


def _read_plan(text: str | None, settings: Settings) -> str | None:
    if text is None or text.lower() == options.NONE:
        return None
    plans = load_plans(settings.plans_file)
    key = next((key for key in plans if key.lower() == text.lower()), text)
    try:
        check_plan_key(key, plans)
    except ConfigError as error:
        raise typer.BadParameter(f"{error}.", param_hint="--plan") from error
    return key


def _read_entitlements(given: list[str] | None) -> dict[str, Json]:
    try:
        return dict(parse_override(text) for text in given or ())
    except ConfigError as error:
        raise typer.BadParameter("; ".join(error.problems), param_hint="--entitlement") from error


def _read_withdrawn(given: list[str] | None) -> list[str]:
    for key in given or ():
        if key not in ENTITLEMENT_KEYS:
            known = ", ".join(ENTITLEMENT_KEYS)
            raise typer.BadParameter(f"there is no {key!r}; known are {known}.", param_hint="--no-entitlement")
    return given or []


def _read_seats(text: str | None) -> int | None:
    if text is None or text.lower() == options.NONE:
        return None
    if not (text.isascii() and text.isdigit() and int(text) <= MAX_SEATS):
        raise typer.BadParameter(
            f"{text!r} is no number of seats: 0 to {MAX_SEATS}, or none for no limit.", param_hint="--seats"
        )
    return int(text)


def _hold_changes(reason: str | None, until: str | None, *, no_hold: bool) -> dict[str, object]:
    if no_hold:
        if reason is not None or until is not None:
            raise typer.BadParameter("--no-hold ends a hold, --hold and --hold-until set one.")
        return {"on_hold": False, "hold_reason": None, "hold_until": None}
    ends = options.read_time(until) if until is not None else None
    if reason is not None:
        return {"on_hold": True, "hold_reason": reason, "hold_until": ends}
    return {} if ends is None else {"hold_until": ends}


async def _read_parent(database: Database, text: str, account_id: str | None) -> str | None:
    if text.lower() == options.NONE:
        return None
    parent = await options.choose_account(database, text)
    if parent.account_id == account_id:
        raise CommandError("An account cannot be its own parent", "name another account.")
    return parent.account_id


def _state_word(account: AccountView) -> str:
    if not account.active:
        return "inactive"
    return "on hold" if account.hold is not None else "active"


def _plan_json(plan: ActivePlan | None) -> dict[str, Json] | None:
    if plan is None:
        return None
    granted = {key: getattr(plan.entitlements, _snake(key)) for key in ENTITLEMENT_KEYS}
    return {
        "planKey": plan.key,
        "planName": plan.name,
        "entitlements": granted | {"connections": plan.connection_limit},
    }


def _snake(key: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in key)
