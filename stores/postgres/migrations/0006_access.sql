-- API keys and policies. A row without a body remembers that there was one.
CREATE TABLE access_objects (
    kind text COLLATE "C" NOT NULL,
    name text COLLATE "C" NOT NULL,
    revision bigint NOT NULL UNIQUE,
    body text,
    ends_at bigint,
    PRIMARY KEY (kind, name)
);
CREATE INDEX access_objects_by_end ON access_objects (ends_at) WHERE ends_at IS NOT NULL;

-- One row. It is locked from when a change takes its number until it is committed: who has seen a revision has seen all
-- before it.
CREATE TABLE access_revision (latest bigint NOT NULL);
INSERT INTO access_revision VALUES (0);

CREATE TABLE audit (
    at_us bigint NOT NULL,
    id text COLLATE "C" NOT NULL,
    principal text COLLATE "C" NOT NULL,
    action text COLLATE "C" NOT NULL,
    object text COLLATE "C" NOT NULL,
    outcome text COLLATE "C" NOT NULL,
    peer text COLLATE "C" NOT NULL,
    details text NOT NULL,
    PRIMARY KEY (at_us, id)
);
CREATE INDEX audit_by_principal ON audit (principal, at_us, id);
CREATE INDEX audit_by_object ON audit (object, at_us, id);
