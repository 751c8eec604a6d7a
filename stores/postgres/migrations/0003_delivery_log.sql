CREATE TABLE attempts (
    at bigint NOT NULL,
    node text COLLATE "C" NOT NULL,
    event_id text COLLATE "C" NOT NULL,
    subscription text COLLATE "C" NOT NULL,
    partition integer NOT NULL,
    attempt integer NOT NULL,
    outcome text COLLATE "C" NOT NULL,
    dead boolean NOT NULL,
    latency_ms double precision NOT NULL,
    status integer,
    error text NOT NULL,
    response text NOT NULL,
    PRIMARY KEY (at, node)
);
CREATE INDEX attempts_by_event ON attempts (event_id);
CREATE INDEX attempts_by_subscription ON attempts (subscription, at);
