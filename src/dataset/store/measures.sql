-- What measures say of an answer: one value of each, NULL where a measure says nothing about it.
-- Values of another `version` are taken anew.
CREATE TABLE measures (
    answer_key TEXT NOT NULL,
    measure TEXT NOT NULL,
    version TEXT NOT NULL,
    value REAL,
    PRIMARY KEY (answer_key, measure)
) WITHOUT ROWID;
