"""Accounts, keys, usage, connections, post groups, platform posts and their log."""

from alembic import op

revision = "0001"
down_revision = None

STATEMENTS = (
    # Keys and children outlive their account on purpose: A3 is the answer for a key whose account is gone.
    """
    CREATE TABLE accounts (
        id text COLLATE "C" PRIMARY KEY,
        email text NOT NULL,
        display_name text NOT NULL,
        plan_key text,
        entitlements jsonb NOT NULL DEFAULT '{}',
        seats integer CHECK (seats >= 0),
        workspaces boolean NOT NULL DEFAULT false,
        is_admin boolean NOT NULL DEFAULT false,
        active boolean NOT NULL DEFAULT true,
        on_hold boolean NOT NULL DEFAULT false,
        hold_reason text,
        hold_until timestamptz,
        parent_id text COLLATE "C",
        created_at timestamptz NOT NULL DEFAULT now(),
        updated_at timestamptz NOT NULL DEFAULT now()
    )
    """,
    "CREATE INDEX accounts_parent ON accounts (parent_id) WHERE parent_id IS NOT NULL",
    """
    CREATE TABLE api_keys (
        id text COLLATE "C" PRIMARY KEY,
        account_id text COLLATE "C" NOT NULL,
        name text NOT NULL,
        prefix text COLLATE "C" NOT NULL UNIQUE,
        digest bytea NOT NULL,
        created_at timestamptz NOT NULL DEFAULT now(),
        last_used_at timestamptz,
        revoked_at timestamptz
    )
    """,
    "CREATE INDEX api_keys_account ON api_keys (account_id)",
    """
    CREATE TABLE usage_counters (
        billing_account_id text COLLATE "C" NOT NULL,
        period_start timestamptz NOT NULL,
        platform_id text COLLATE "C" NOT NULL,
        used integer NOT NULL CHECK (used >= 0),
        PRIMARY KEY (billing_account_id, period_start, platform_id)
    ) WITH (fillfactor = 70)
    """,
    """
    CREATE TABLE connections (
        id text COLLATE "C" PRIMARY KEY,
        account_id text COLLATE "C" NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
        platform text COLLATE "C" NOT NULL,
        platform_id text COLLATE "C" NOT NULL,
        username text NOT NULL,
        display_name text,
        profile_image_url text,
        profile_url text,
        base_url text,
        sandbox boolean NOT NULL DEFAULT false,
        credentials bytea NOT NULL,
        facts jsonb NOT NULL DEFAULT '{}',
        token_expires_at timestamptz,
        refused_at timestamptz,
        connected_at timestamptz NOT NULL DEFAULT now(),
        refresh_lease_until timestamptz,
        last_successful_post_at timestamptz,
        last_error text,
        last_error_at timestamptz,
        held_until timestamptz,
        busy_lease text COLLATE "C",
        busy_until timestamptz,
        created_at timestamptz NOT NULL DEFAULT now(),
        updated_at timestamptz NOT NULL DEFAULT now(),
        UNIQUE (account_id, platform_id)
    ) WITH (fillfactor = 70)
    """,
    """
    CREATE TABLE post_groups (
        id text COLLATE "C" PRIMARY KEY,
        account_id text COLLATE "C" NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
        content text NOT NULL,
        settings jsonb NOT NULL,
        status text COLLATE "C" NOT NULL
            CHECK (status IN ('draft', 'scheduled', 'published', 'failed', 'partially_published')),
        processing_status text COLLATE "C" NOT NULL
            CHECK (processing_status IN ('pending', 'processing', 'finished')),
        scheduled_at timestamptz,
        due_at timestamptz,
        created_at timestamptz NOT NULL,
        updated_at timestamptz NOT NULL
    ) WITH (fillfactor = 85)
    """,
    # The dispatcher's only index: groups that wait for their time, and nothing else.
    "CREATE INDEX post_groups_due ON post_groups (due_at) WHERE due_at IS NOT NULL",
    "CREATE INDEX post_groups_by_created ON post_groups (account_id, created_at, id)",
    "CREATE INDEX post_groups_by_scheduled ON post_groups (account_id, scheduled_at NULLS FIRST, id)",
    """
    CREATE TABLE platform_posts (
        id text COLLATE "C" PRIMARY KEY,
        group_id text COLLATE "C" NOT NULL REFERENCES post_groups (id) ON DELETE CASCADE,
        account_id text COLLATE "C" NOT NULL,
        position smallint NOT NULL,
        platform text COLLATE "C" NOT NULL,
        platform_id text COLLATE "C" NOT NULL,
        status text COLLATE "C" NOT NULL
            CHECK (status IN ('draft', 'scheduled', 'pending', 'processing', 'published', 'failed')),
        charged_to text COLLATE "C",
        charged_period timestamptz,
        begun boolean NOT NULL DEFAULT false,
        tries integer NOT NULL DEFAULT 0,
        failures integer NOT NULL DEFAULT 0,
        not_before timestamptz,
        lease_id text COLLATE "C",
        lease_until timestamptz,
        steps jsonb NOT NULL DEFAULT '{}',
        intent jsonb,
        parts jsonb,
        posted_id text,
        url text,
        error jsonb,
        published_at timestamptz,
        updated_at timestamptz NOT NULL
    ) WITH (fillfactor = 70)
    """,
    "CREATE INDEX platform_posts_group ON platform_posts (group_id)",
    """
    CREATE INDEX platform_posts_open ON platform_posts (account_id, platform_id, status, id)
        WHERE status IN ('scheduled', 'pending', 'processing')
    """,
    """
    CREATE INDEX platform_posts_in_hand ON platform_posts (updated_at)
        WHERE status IN ('pending', 'processing')
    """,
    # No foreign key to the group: its check would lock the group under the post, while a delete locks the post under
    # the group, and the two would meet in a deadlock. Whoever deletes a group deletes its log afterwards.
    """
    CREATE TABLE post_logs (
        seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        group_id text COLLATE "C" NOT NULL,
        post_id text COLLATE "C",
        platform text COLLATE "C",
        event text COLLATE "C" NOT NULL,
        error text,
        http_status integer,
        retry_count integer,
        metadata jsonb,
        created_at timestamptz NOT NULL
    )
    """,
    "CREATE INDEX post_logs_group ON post_logs (group_id)",
    """
    CREATE TABLE idempotency_keys (
        account_id text COLLATE "C" NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
        key text COLLATE "C" NOT NULL,
        body_digest bytea NOT NULL,
        group_id text COLLATE "C" NOT NULL,
        created_at timestamptz NOT NULL,
        PRIMARY KEY (account_id, key)
    )
    """,
    "CREATE INDEX idempotency_keys_created ON idempotency_keys (created_at)",
)


def upgrade() -> None:
    """Create the first schema."""
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    """Drop everything that this revision made."""
    for table in (
        "idempotency_keys",
        "post_logs",
        "platform_posts",
        "post_groups",
        "connections",
        "usage_counters",
        "api_keys",
        "accounts",
    ):
        op.execute(f"DROP TABLE {table}")
