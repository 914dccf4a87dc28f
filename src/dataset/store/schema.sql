-- One run. Keys come from content, so that a killed run resumes without losing or
-- repeating work, and a changed setting redoes only what depends on it.
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;

-- A captioned photo. `pass` is the last reading of the source that saw it; older ones are gone.
CREATE TABLE items (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    image TEXT NOT NULL,
    description TEXT NOT NULL,
    origin TEXT NOT NULL,
    pass INTEGER NOT NULL,
    stamp TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('new', 'ready', 'rejected')),
    image_sha256 TEXT,
    item_key TEXT,
    width INTEGER,
    height INTEGER,
    format TEXT
);
CREATE INDEX items_state ON items (state, seq);
CREATE INDEX items_key ON items (item_key);

-- Unit vectors, f32 little-endian. `key` is `image:SHA-256` for a photo, `text:ITEM_KEY` for a
-- description.
CREATE TABLE embeddings (
    key TEXT NOT NULL,
    encoder TEXT NOT NULL,
    vector BLOB NOT NULL,
    PRIMARY KEY (key, encoder)
) WITHOUT ROWID;

CREATE TABLE instructions (
    key TEXT PRIMARY KEY,
    id TEXT NOT NULL,
    text TEXT NOT NULL,
    category TEXT,
    library TEXT NOT NULL
) WITHOUT ROWID;

-- What matching found for an item under one configuration (`conf`).
CREATE TABLE matches (
    seq INTEGER PRIMARY KEY REFERENCES items (seq),
    conf TEXT NOT NULL,
    item_key TEXT NOT NULL,
    outcome TEXT NOT NULL,
    candidates TEXT NOT NULL
);

CREATE TABLE pairs (
    pair_key TEXT PRIMARY KEY,
    seq INTEGER NOT NULL REFERENCES items (seq),
    rank INTEGER NOT NULL,
    instruction_key TEXT NOT NULL,
    similarity REAL NOT NULL,
    score REAL NOT NULL,
    probability REAL,
    conf TEXT NOT NULL
);
CREATE INDEX pairs_order ON pairs (conf, seq, rank);
-- An item's earlier pairs are replaced when it is matched: without this, each match reads all pairs.
CREATE INDEX pairs_item ON pairs (seq);

-- One generated answer. `conf` covers prompts, model, settings and seed.
CREATE TABLE answers (
    answer_key TEXT PRIMARY KEY,
    pair_key TEXT NOT NULL,
    conf TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    text TEXT NOT NULL,
    finish TEXT NOT NULL,
    llm TEXT NOT NULL,
    seed INTEGER NOT NULL,
    examples TEXT NOT NULL,
    prompt_tokens INTEGER NOT NULL,
    completion_tokens INTEGER NOT NULL,
    filter_conf TEXT NOT NULL,
    verdict TEXT NOT NULL,
    reason TEXT NOT NULL,
    filters TEXT NOT NULL
);
CREATE INDEX answers_pair ON answers (pair_key, conf, attempt);

-- Records that will not go on, and LLM calls to be tried again at the next resume.
CREATE TABLE rejections (
    stage TEXT NOT NULL,
    subject TEXT NOT NULL,
    key TEXT NOT NULL,
    conf TEXT NOT NULL,
    code TEXT NOT NULL,
    reason TEXT NOT NULL
);
CREATE INDEX rejections_key ON rejections (stage, key);

CREATE TABLE failures (
    pair_key TEXT PRIMARY KEY,
    conf TEXT NOT NULL,
    subject TEXT NOT NULL,
    code TEXT NOT NULL,
    reason TEXT NOT NULL,
    attempts INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE stage_times (
    stage TEXT PRIMARY KEY,
    items INTEGER NOT NULL,
    seconds REAL NOT NULL
);

CREATE TABLE exports (
    name TEXT PRIMARY KEY,
    path TEXT NOT NULL,
    rows INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    sha256 TEXT NOT NULL
) WITHOUT ROWID;
