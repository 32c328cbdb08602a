"""For whom a use case of posts runs."""

from dataclasses import dataclass

from postpost.accounts.plans import ActivePlan


@dataclass(frozen=True, slots=True)
class Actor:
    """For whom a use case runs: whose posts are touched, who pays, and what the plan grants."""

    account_id: str
    billing_id: str
    plan: ActivePlan
