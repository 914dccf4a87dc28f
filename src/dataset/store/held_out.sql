-- What a benchmark took out of the run: no export writes a sample with one of these. `key` is a
-- photo's SHA-256 or an instruction's key. `near` is set for photos that are not in the benchmark
-- but nearly the same as this one of it, by `similarity`.
CREATE TABLE held_out (
    kind TEXT NOT NULL CHECK (kind IN ('image', 'instruction')),
    key TEXT NOT NULL,
    near TEXT,
    similarity REAL,
    PRIMARY KEY (kind, key)
) WITHOUT ROWID;
