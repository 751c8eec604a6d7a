CREATE TABLE events (
    accepted_at INTEGER NOT NULL,
    id TEXT NOT NULL,
    type TEXT NOT NULL,
    source TEXT NOT NULL,
    correlation_id TEXT NOT NULL,
    priority INTEGER NOT NULL,
    body BLOB NOT NULL,
    PRIMARY KEY (accepted_at, id)
) WITHOUT ROWID;
CREATE INDEX events_by_id ON events (id);
CREATE INDEX events_by_correlation ON events (correlation_id, accepted_at, id);
CREATE INDEX events_by_type ON events (type, accepted_at, id);

CREATE TABLE subscriptions (
    name TEXT PRIMARY KEY,
    spec TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE dead_letters (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    subscription TEXT NOT NULL,
    partition INTEGER NOT NULL,
    reason TEXT NOT NULL,
    error TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    accepted_at_us INTEGER NOT NULL,
    dead_at_us INTEGER NOT NULL,
    event_id TEXT NOT NULL,
    event_type TEXT NOT NULL,
    body BLOB NOT NULL
);
CREATE INDEX dead_letters_by_subscription ON dead_letters (subscription, seq);
