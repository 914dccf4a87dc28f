CREATE TABLE meta (
    name  TEXT PRIMARY KEY,
    value NOT NULL
) WITHOUT ROWID;

-- The library's own name, so that an index file of another library is told from its own.
INSERT INTO meta VALUES ('library_id', lower(hex(randomblob(16))));
-- Raised by every transaction that changes something.
INSERT INTO meta VALUES ('revision', 0);

-- Encoders that made the vectors.
CREATE TABLE models (
    model INTEGER PRIMARY KEY,
    hash  TEXT NOT NULL UNIQUE
);

-- AUTOINCREMENT: a row number is never used again, so the index can go by it.
CREATE TABLE instructions (
    row         INTEGER PRIMARY KEY AUTOINCREMENT,
    id          TEXT NOT NULL UNIQUE,
    text        TEXT NOT NULL UNIQUE,
    category    TEXT,
    -- Microseconds since 1970-01-01 UTC.
    create_time INTEGER NOT NULL,
    -- The encoder that made the row's vector.
    model       INTEGER NOT NULL REFERENCES models (model)
);

-- Beside the texts, not among them, so that reading every text at start does not read them.
CREATE TABLE embeddings (
    row    INTEGER PRIMARY KEY REFERENCES instructions (row),
    -- Length 1, f32, little-endian.
    vector BLOB NOT NULL
);
