-- One generation. Replies and vectors are kept under keys made of what was asked, so that a killed
-- or grown generation asks nothing twice; the other tables follow from them and are written anew.
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;

-- A reply of the LLM. `key` covers the role, the whole prompt, the model, the sampling and the seed.
CREATE TABLE calls (
    key TEXT PRIMARY KEY,
    role TEXT NOT NULL,
    subject TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    model TEXT NOT NULL,
    seed INTEGER NOT NULL,
    text TEXT NOT NULL,
    finish TEXT NOT NULL,
    prompt_tokens INTEGER NOT NULL,
    completion_tokens INTEGER NOT NULL
) WITHOUT ROWID;

-- A call that failed for this session; the next one tries again, unless the server refused it.
CREATE TABLE failures (
    key TEXT PRIMARY KEY,
    role TEXT NOT NULL,
    subject TEXT NOT NULL,
    code TEXT NOT NULL,
    reason TEXT NOT NULL,
    refused INTEGER NOT NULL
) WITHOUT ROWID;

-- Unit vectors, f32 little-endian; `key` is that of the text.
CREATE TABLE vectors (
    key TEXT NOT NULL,
    encoder TEXT NOT NULL,
    vector BLOB NOT NULL,
    PRIMARY KEY (key, encoder)
) WITHOUT ROWID;

CREATE TABLE seeds (place INTEGER PRIMARY KEY, id TEXT NOT NULL, text TEXT NOT NULL);

-- A description; `place` is its place among those used.
CREATE TABLE descriptions (place INTEGER PRIMARY KEY, id TEXT NOT NULL, text TEXT NOT NULL);

-- How each reply could be read: a form, or the code of what was wrong.
CREATE TABLE readings (
    call_key TEXT PRIMARY KEY,
    role TEXT NOT NULL,
    outcome TEXT NOT NULL,
    found INTEGER NOT NULL
) WITHOUT ROWID;

-- An instruction the LLM wrote for a description. `verdict` is `accepted` or a refusal's code.
CREATE TABLE raws (
    place INTEGER PRIMARY KEY,
    key TEXT NOT NULL,
    text TEXT NOT NULL,
    description INTEGER NOT NULL,
    seeds TEXT NOT NULL,
    call_key TEXT NOT NULL,
    verdict TEXT NOT NULL,
    reason TEXT NOT NULL
);

CREATE TABLE clusters (
    cluster INTEGER PRIMARY KEY,
    size INTEGER NOT NULL,
    inertia REAL NOT NULL
);

-- An accepted instruction's cluster; `rank` 0 is nearest the centre.
CREATE TABLE members (
    raw INTEGER PRIMARY KEY,
    cluster INTEGER NOT NULL,
    rank INTEGER NOT NULL,
    distance REAL NOT NULL
);
CREATE INDEX members_cluster ON members (cluster, rank);

-- What a cluster came to. `verdict` is `accepted`, `merged`, or the last refusal's code.
CREATE TABLE finals (
    cluster INTEGER PRIMARY KEY,
    id TEXT NOT NULL,
    text TEXT NOT NULL,
    call_key TEXT NOT NULL,
    shown TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    verdict TEXT NOT NULL,
    reason TEXT NOT NULL,
    merged_into INTEGER
);

-- Refused attempts at a final instruction.
CREATE TABLE refusals (
    call_key TEXT PRIMARY KEY,
    cluster INTEGER NOT NULL,
    text TEXT NOT NULL,
    code TEXT NOT NULL,
    reason TEXT NOT NULL
) WITHOUT ROWID;

-- Instructions brought in from elsewhere; they stay when the others are generated anew.
CREATE TABLE imported (
    place INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    text TEXT NOT NULL,
    category TEXT
);

CREATE TABLE stage_times (stage TEXT PRIMARY KEY, items INTEGER NOT NULL, seconds REAL NOT NULL);
