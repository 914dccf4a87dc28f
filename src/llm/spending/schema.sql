-- What the calls of this folder have spent, in all sessions. `section` is the table of the
-- configuration whose settings they were made by. Tokens by the batch are counted in both.
CREATE TABLE spending (
    section TEXT NOT NULL,
    role TEXT NOT NULL,
    model TEXT NOT NULL,
    calls INTEGER NOT NULL,
    estimated_calls INTEGER NOT NULL,
    prompt_tokens INTEGER NOT NULL,
    completion_tokens INTEGER NOT NULL,
    batch_prompt_tokens INTEGER NOT NULL,
    batch_completion_tokens INTEGER NOT NULL,
    PRIMARY KEY (section, role, model)
) WITHOUT ROWID;

-- The prices that a section named last, per million tokens.
CREATE TABLE prices (
    section TEXT PRIMARY KEY,
    prompt REAL NOT NULL,
    completion REAL NOT NULL,
    batch_factor REAL NOT NULL
) WITHOUT ROWID;

-- Batches at a server. `token` is ours and goes with the batch, so that one is found again whose
-- `id` was lost with the process; `ended` says that all that it brought is in `batch_calls`.
CREATE TABLE batches (
    token TEXT PRIMARY KEY,
    server TEXT NOT NULL,
    section TEXT NOT NULL,
    role TEXT NOT NULL,
    id TEXT,
    made_at INTEGER NOT NULL, -- seconds since 1970
    ended INTEGER NOT NULL DEFAULT 0
);

-- The calls of batches, by the content of the request, with the tokens that each was expected to
-- take at most. `status` and `body` are the server's answer, once it is there.
CREATE TABLE batch_calls (
    server TEXT NOT NULL,
    key TEXT NOT NULL,
    token TEXT NOT NULL REFERENCES batches (token),
    prompt_tokens INTEGER NOT NULL,
    completion_tokens INTEGER NOT NULL,
    status INTEGER,
    body TEXT,
    UNIQUE (server, key)
);
CREATE INDEX batch_calls_token ON batch_calls (token);
