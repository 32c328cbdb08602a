"""`postpost posts`: list, show, explain and retry post groups."""

from typing import Annotated

import typer

from postpost.accounts import operating as accounts
from postpost.cli import options
from postpost.cli.output import CommandError, console, print_json, say, show, state
from postpost.cli.running import open_services, run
from postpost.posts import operating
from postpost.posts.actor import Actor
from postpost.posts.operating import GroupExplanation
from postpost.posts.requests import ListRequest
from postpost.posts.rules import GroupStatus
from postpost.posts.views import EntryView, GroupView
from postpost.services import Services

app = typer.Typer(help="List, show, explain and retry post groups.", no_args_is_help=True)

MAX_PAGE = 1_000_000
MAX_LIMIT = 100
SHOWN_CONTENT = 60

GroupId = Annotated[str, typer.Argument(metavar="GROUP_ID", help="The post group.", show_default=False)]
Owner = Annotated[
    str | None,
    typer.Option("--account", metavar="ID|EMAIL", help="Whose; left out, it is the account that the group belongs to."),
]


@app.command("list", epilog=options.examples("postpost posts list", "postpost posts list --status failed --json"))
def list_(
    account: options.Account = None,
    status: Annotated[
        GroupStatus | None,
        typer.Option("--status", metavar="STATUS", help=f"Only groups of this status: {', '.join(GroupStatus)}."),
    ] = None,
    page: Annotated[int, typer.Option("--page", metavar="N", min=1, max=MAX_PAGE, help="Page, from 1.")] = 1,
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=1, max=MAX_LIMIT, help="Groups on a page.")] = 20,
    as_json: options.AsJson = False,
) -> None:
    """List an account's post groups, newest first."""
    groups, total = run(_list(account, status, page, limit))
    if as_json:
        print_json({"posts": groups, "page": page, "limit": limit, "totalItems": total})
        return
    show(
        ("id", "status", "scheduled", "made", "platforms", "content"),
        [
            (
                group.post_group_id,
                state(group.status),
                group.scheduled_time or None,
                group.created_at,
                ", ".join(f"{target.platform_id} {target.status}" for target in group.platforms),
                _short(group.content),
            )
            for group in groups
        ],
        none="There are no such post groups.",
    )
    if total > page * limit:
        say(f"{total} in all; the next ones are on --page {page + 1}.")


def _short(content: str) -> str:
    return content if len(content) <= SHOWN_CONTENT else f"{content[:SHOWN_CONTENT]}..."


async def _list(text: str | None, status: str | None, page: int, limit: int) -> tuple[list[GroupView], int]:
    async with open_services() as services:
        account = await options.choose_account(services.database, text)
        wanted = ListRequest(
            status=status, platform=None, sort_by="createdAt", descending=True, from_time=None, to_time=None
        )
        return await services.posts.fetch_page(account.account_id, wanted, page=page, limit=limit)


@app.command("show", epilog=options.examples("postpost posts show 69f85a3a0c1d2e3f40516270"))
def show_(group_id: GroupId, account: Owner = None, as_json: options.AsJson = False) -> None:
    """Show the entries of a post group as get-post does."""
    found, entries = run(_show(account, group_id))
    if as_json:
        print_json(
            {
                "accountId": found.account_id,
                "postGroupId": found.post_group_id,
                "status": found.status,
                "scheduledTime": found.scheduled_time,
                "posts": entries,
            }
        )
        return
    say(f"{found.post_group_id}: {found.status}" + (f", {found.scheduled_time}" if found.scheduled_time else ""))
    show(
        ("platform id", "status", "posted id or error", "content"),
        [
            (f"{entry.platform}-{entry.platform_id}", state(entry.status), _outcome(entry), _short(entry.content))
            for entry in entries
        ],
        none="It has no platform posts.",
    )


def _outcome(entry: EntryView) -> str | None:
    if entry.posted_id:
        return entry.posted_id
    return f"{entry.error.code}: {entry.error.message}" if entry.error else None


async def _show(text: str | None, group_id: str) -> tuple[GroupExplanation, list[EntryView]]:
    async with open_services() as services:
        account_id = await _owner(services, text, group_id)
        found = await _explain(services, account_id, group_id)
        return found, await services.posts.fetch(account_id, found.post_group_id)


@app.command(epilog=options.examples("postpost posts explain 69f85a3a0c1d2e3f40516270"))
def explain(group_id: GroupId, account: Owner = None, as_json: options.AsJson = False) -> None:
    """Say why a post group is not out yet: state, attempts, what the platform said, next try."""
    found = run(_explained(account, group_id))
    if as_json:
        print_json(found)
        return
    say(f"Post group {found.post_group_id} of account {found.account_id}: {found.status}")
    for sentence in found.sentences:
        say(f"  {sentence}")
    for post in found.posts:
        say()
        console().print(f"{post.platform_id}:", state(post.status))
        for sentence in post.sentences:
            say(f"  {sentence}")


async def _explained(text: str | None, group_id: str) -> GroupExplanation:
    async with open_services() as services:
        return await _explain(services, await _owner(services, text, group_id), group_id)


@app.command(epilog=options.examples("postpost posts retry 69f85a3a0c1d2e3f40516270"))
def retry(
    group_id: GroupId,
    account: Owner = None,
    unknown_outcome: Annotated[
        bool, typer.Option("--unknown-outcome", metavar=options.FLAG, help="Also send again what may be live already.")
    ] = False,
    as_json: options.AsJson = False,
) -> None:
    """Queue the failed platform posts of a group again, whatever made them fail."""
    normal, retried = run(_retry(account, group_id, unknown_outcome=unknown_outcome))
    if as_json:
        print_json({"postGroupId": normal, "retried": retried})
    else:
        say(f"Queued again: {', '.join(retried)}.")
        say(f"See what becomes of it: postpost posts explain {normal}")


async def _retry(text: str | None, group_id: str, *, unknown_outcome: bool) -> tuple[str, list[str]]:
    async with open_services() as services:
        account_id = await _owner(services, text, group_id)
        account = await options.choose_account(services.database, account_id)
        plan = await accounts.active_plan(services.database, services.accounts, account)
        if plan is None:
            raise CommandError("No plan holds for the account", "give it one with `postpost accounts set --plan`.")
        actor = Actor(account_id, account.billing_id, plan)
        normal = options.group_id_of(group_id)
        return normal, await services.posts.retry(actor, normal, include_unknown_outcome=unknown_outcome)


async def _owner(services: Services, text: str | None, group_id: str) -> str:
    normal = options.group_id_of(group_id)
    if text is not None:
        return (await options.choose_account(services.database, text)).account_id
    owner = await operating.find_owner(services.database, normal)
    if owner is None:
        raise _no_group(group_id)
    return owner


async def _explain(services: Services, account_id: str, group_id: str) -> GroupExplanation:
    found = await operating.explain(
        services.database,
        account_id,
        options.group_id_of(group_id),
        most_attempts=services.settings.publish_attempts,
    )
    if found is None:
        raise _no_group(group_id)
    return found


def _no_group(group_id: str) -> CommandError:
    return CommandError(f"There is no post group {group_id}", "`postpost posts list` shows those there are.")
