-- The jobs of one data folder. A row is written before its submitter hears of it, and a state
-- before anything is done about it, so that a killed server goes on where it stood.
CREATE TABLE jobs (
    -- Sorts by the time of submission.
    id TEXT PRIMARY KEY,
    run_id TEXT NOT NULL,
    request_id TEXT UNIQUE,
    -- Key over what was asked for: the same request_id must mean the same.
    fingerprint TEXT NOT NULL,
    config TEXT NOT NULL,
    answers INTEGER NOT NULL,
    spec TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('queued', 'running', 'succeeded', 'failed', 'cancelled')),
    -- Place in the queue; a job that was running before a restart keeps its own.
    place INTEGER NOT NULL,
    cancel_asked INTEGER NOT NULL DEFAULT 0,
    -- Milliseconds since 1970.
    created INTEGER NOT NULL,
    started INTEGER,
    ended INTEGER,
    attempts INTEGER NOT NULL DEFAULT 0,
    -- Starts in a row that brought nothing before the process died.
    barren INTEGER NOT NULL DEFAULT 0,
    failure TEXT,
    progress TEXT NOT NULL,
    summary TEXT
);
CREATE INDEX jobs_queue ON jobs (state, place);
CREATE INDEX jobs_run ON jobs (run_id, state);
