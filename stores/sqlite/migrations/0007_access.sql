-- API keys and policies. A row without a body remembers that there was one.
CREATE TABLE access_objects (
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    revision INTEGER NOT NULL UNIQUE,
    body TEXT,
    ends_at INTEGER,
    PRIMARY KEY (kind, name)
) WITHOUT ROWID;
CREATE INDEX access_objects_by_end ON access_objects (ends_at) WHERE ends_at IS NOT NULL;

CREATE TABLE access_revision (latest INTEGER NOT NULL);
INSERT INTO access_revision VALUES (0);

CREATE TABLE audit (
    at_us INTEGER NOT NULL,
    id TEXT NOT NULL,
    principal TEXT NOT NULL,
    action TEXT NOT NULL,
    object TEXT NOT NULL,
    outcome TEXT NOT NULL,
    peer TEXT NOT NULL,
    details TEXT NOT NULL,
    PRIMARY KEY (at_us, id)
) WITHOUT ROWID;
CREATE INDEX audit_by_principal ON audit (principal, at_us, id);
CREATE INDEX audit_by_object ON audit (object, at_us, id);
