"""Triggers that note, at every commit, what the engine did to the states: nobody has to look at the right moment."""

import asyncpg

from postpost.posts.rules import TRANSITIONS

_NOTES = """
    CREATE TABLE noted_steps (before text NOT NULL, after text NOT NULL, PRIMARY KEY (before, after));
    CREATE TABLE noted_contradictions (group_id text, status text, processing_status text, expected text);

    CREATE FUNCTION note_step() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO noted_steps VALUES (OLD.status, NEW.status) ON CONFLICT DO NOTHING;
        RETURN NULL;
    END $$;

    -- Table "From entries to the group" of errors.md 7, written a second time on purpose.
    CREATE FUNCTION note_contradiction() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE
        wanted text := CASE TG_TABLE_NAME WHEN 'post_groups' THEN to_jsonb(NEW) ->> 'id'
                       ELSE to_jsonb(NEW) ->> 'group_id' END;
        seen text[];
        expected text;
        found record;
    BEGIN
        SELECT array_agg(DISTINCT CASE WHEN e.status = 'scheduled' THEN p.status ELSE e.status END) INTO seen
        FROM platform_posts p CROSS JOIN LATERAL (
            SELECT part ->> 'status' AS status FROM jsonb_array_elements(p.parts) part WHERE p.parts IS NOT NULL
            UNION ALL SELECT p.status WHERE p.parts IS NULL
        ) e WHERE p.group_id = wanted;
        SELECT status, processing_status INTO found FROM post_groups WHERE id = wanted;
        IF found.status IS NULL THEN RETURN NULL; END IF;
        expected := CASE
            WHEN seen && ARRAY['scheduled', 'pending', 'processing'] THEN 'scheduled'
            WHEN 'draft' = ANY(seen) THEN 'draft'
            WHEN seen = ARRAY['published'] THEN 'published'
            WHEN seen = ARRAY['failed'] THEN 'failed'
            ELSE 'partially_published' END;
        IF found.status <> expected
           OR (found.processing_status = 'finished') = (expected IN ('draft', 'scheduled')) THEN
            INSERT INTO noted_contradictions VALUES (wanted, found.status, found.processing_status, expected);
        END IF;
        RETURN NULL;
    END $$;

    CREATE TRIGGER note_step AFTER UPDATE ON platform_posts FOR EACH ROW
        WHEN (OLD.status <> NEW.status) EXECUTE FUNCTION note_step();
    CREATE CONSTRAINT TRIGGER note_contradiction AFTER INSERT OR UPDATE ON platform_posts
        DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION note_contradiction();
    CREATE CONSTRAINT TRIGGER note_contradiction AFTER INSERT OR UPDATE ON post_groups
        DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION note_contradiction();
"""


async def watch(dsn) -> None:
    """Note every change of a platform post's status, and every commit after which a group contradicts its entries.

    Before anything else uses the database: making a trigger locks tables in an order that no worker expects.
    """
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(_NOTES)
    finally:
        await connection.close()


async def noted_steps(database) -> set[tuple[str, str]]:
    async with database.connection() as connection:
        return {(row["before"], row["after"]) for row in await connection.fetch("SELECT * FROM noted_steps")}


async def check_notes(database) -> None:
    """Fail when a post took a step that the table of transitions does not have, or a commit was contradictory."""
    allowed = {(before, after) for before, following in TRANSITIONS.items() for after in following}
    assert await noted_steps(database) <= allowed
    async with database.connection() as connection:
        assert [dict(row) for row in await connection.fetch("SELECT * FROM noted_contradictions")] == []
