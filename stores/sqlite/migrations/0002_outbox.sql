CREATE TABLE outbox (
    accepted_at INTEGER NOT NULL,
    id TEXT NOT NULL,
    slot INTEGER NOT NULL,
    generation INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    PRIMARY KEY (accepted_at, id)
) WITHOUT ROWID;
CREATE INDEX outbox_by_slot ON outbox (slot, generation);
