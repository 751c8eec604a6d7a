-- The last change of each subscription there ever was, numbered in the order in which changes are committed.
CREATE SEQUENCE subscription_revisions;

CREATE TABLE subscription_changes (
    name text PRIMARY KEY,
    revision bigint NOT NULL UNIQUE
);

-- By a trigger, so that nodes of an earlier version are heard of too. The lock is held until the change is committed:
-- who has seen a revision has seen all before it. It is not the table's, which a vacuum would hold now and then.
CREATE FUNCTION note_subscription_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock('subscription_changes'::regclass::oid::bigint);
    INSERT INTO subscription_changes (name, revision)
        VALUES (CASE WHEN TG_OP = 'DELETE' THEN OLD.name ELSE NEW.name END, nextval('subscription_revisions'))
        ON CONFLICT (name) DO UPDATE SET revision = excluded.revision;
    RETURN NULL;
END
$$;

CREATE TRIGGER subscription_changed AFTER INSERT OR UPDATE OR DELETE ON subscriptions
    FOR EACH ROW EXECUTE FUNCTION note_subscription_change();

INSERT INTO subscription_changes (name, revision)
    SELECT name, nextval('subscription_revisions') FROM subscriptions;
