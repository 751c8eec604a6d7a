CREATE TABLE outbox (
    accepted_at bigint NOT NULL,
    id text COLLATE "C" NOT NULL,
    slot integer NOT NULL,
    generation bigint NOT NULL,
    sequence bigint NOT NULL,
    PRIMARY KEY (accepted_at, id)
);
CREATE INDEX outbox_by_slot ON outbox (slot, generation);
