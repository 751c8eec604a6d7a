CREATE TABLE replays (
    id text COLLATE "C" PRIMARY KEY,
    state text COLLATE "C" NOT NULL,
    created_at bigint NOT NULL,
    body text COLLATE "C" NOT NULL
);
CREATE INDEX replays_by_time ON replays (created_at);
