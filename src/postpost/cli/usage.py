"""`postpost usage`: what is counted against an account's plan."""

from typing import Annotated, Any

import typer

from postpost.accounts import operating, service
from postpost.accounts.operating import AccountView
from postpost.accounts.plans import ActivePlan
from postpost.accounts.service import UsageLine
from postpost.cli import options
from postpost.cli.output import print_json, say, show
from postpost.cli.running import open_services, run
from postpost.errors import Period
from postpost.times import format_time

app = typer.Typer(help="Show and set what is counted against an account's plan.", no_args_is_help=True)

MAX_USED = 1_000_000_000


@app.command("show", epilog=options.examples("postpost usage show", "postpost usage show --account ann@example.com"))
def show_(account: options.Account = None, as_json: options.AsJson = False) -> None:
    """Show the platform posts of the running period and those that wait, of whoever pays for the account."""
    owner, plan, period, lines = run(_show(account))
    used, pending = sum(line.used for line in lines), sum(line.pending for line in lines)
    if as_json:
        print_json(
            {
                "accountId": owner.account_id,
                "billingAccountId": owner.billing_id,
                **_period_json(period),
                "planName": plan.name if plan else None,
                "monthlyPosts": plan.entitlements.monthly_posts if plan else None,
                "monthlyPostsScope": plan.entitlements.monthly_posts_scope if plan else None,
                "scheduledPosts": plan.entitlements.scheduled_posts if plan else None,
                "scheduledPostsScope": plan.entitlements.scheduled_posts_scope if plan else None,
                "used": used,
                "pending": pending,
                "platforms": [
                    {"platformId": line.platform_id, "used": line.used, "pending": line.pending} for line in lines
                ],
            }
        )
        return
    start, end = (format_time(moment) for moment in period)
    say(f"{start} to {end}: {used} platform posts used, {pending} pending.")
    if plan is not None:
        granted = plan.entitlements
        say(
            f"{plan.name}: {_limit(granted.monthly_posts)} a month for each {granted.monthly_posts_scope}, "
            f"{_limit(granted.scheduled_posts)} pending for each {granted.scheduled_posts_scope}."
        )
    show(
        ("platform id", "used", "pending"),
        [(line.platform_id, line.used, line.pending) for line in lines],
        none="Nothing is counted yet.",
    )


def _limit(number: int | None) -> str:
    return "any number" if number is None else str(number)


def _period_json(period: Period) -> dict[str, Any]:
    return {"periodStart": format_time(period[0]), "periodEnd": format_time(period[1])}


async def _show(text: str | None) -> tuple[AccountView, ActivePlan | None, Period, list[UsageLine]]:
    async with open_services() as services:
        account = await options.choose_account(services.database, text)
        plan = await operating.active_plan(services.database, services.accounts, account)
        row = {"id": account.account_id, "parent_id": account.parent_id}
        period, lines = await service.show_usage(services.database, row)
        return account, plan, period, lines


@app.command(
    "set",
    epilog=options.examples("postpost usage set --platform-id mastodon-109876 --used 0 --account ann@example.com"),
)
def set_(
    platform_id: Annotated[
        str,
        typer.Option("--platform-id", parser=options.read_platform_id, metavar="ID", help="The connected account."),
    ],
    used: Annotated[
        int, typer.Option("--used", metavar="N", min=0, max=MAX_USED, help="Platform posts used in this period.")
    ],
    account: options.Account = None,
    as_json: options.AsJson = False,
) -> None:
    """Set how many platform posts count as used in the running period for one connected account."""
    owner, period = run(_set(account, platform_id, used))
    if as_json:
        counted = {"accountId": owner.account_id, "billingAccountId": owner.billing_id}
        print_json({**counted, **_period_json(period), "platformId": platform_id, "used": used})
    else:
        say(f"{platform_id} counts {used} used until {format_time(period[1])}.")


async def _set(text: str | None, platform_id: str, used: int) -> tuple[AccountView, Period]:
    async with open_services() as services:
        account = await options.choose_account(services.database, text)
        return account, await operating.set_usage(services.database, account, platform_id, used)
