CREATE TABLE events (
    accepted_at bigint NOT NULL,
    id text COLLATE "C" NOT NULL,
    type text COLLATE "C" NOT NULL,
    source text COLLATE "C" NOT NULL,
    correlation_id text COLLATE "C" NOT NULL,
    priority smallint NOT NULL,
    body bytea NOT NULL,
    PRIMARY KEY (accepted_at, id)
);
CREATE INDEX events_by_id ON events (id);
CREATE INDEX events_by_correlation ON events (correlation_id, accepted_at, id);
CREATE INDEX events_by_type ON events (type, accepted_at, id);

CREATE TABLE subscriptions (
    name text COLLATE "C" PRIMARY KEY,
    spec text NOT NULL
);
