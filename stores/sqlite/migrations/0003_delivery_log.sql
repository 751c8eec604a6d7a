CREATE TABLE attempts (
    at INTEGER NOT NULL,
    node TEXT NOT NULL,
    event_id TEXT NOT NULL,
    subscription TEXT NOT NULL,
    partition INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    outcome TEXT NOT NULL,
    dead INTEGER NOT NULL,
    latency_ms REAL NOT NULL,
    status INTEGER,
    error TEXT NOT NULL,
    response TEXT NOT NULL,
    PRIMARY KEY (at, node)
) WITHOUT ROWID;
CREATE INDEX attempts_by_event ON attempts (event_id);
CREATE INDEX attempts_by_subscription ON attempts (subscription, at);
