-- One evaluation. Keys come from content: a reply is asked again only if what it answers changed.
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;

-- Every reply as it came, unparsed ones too. `task_key` covers question, what was shown, both
-- answers in their order, prompt, model, settings and seed. For `evaluate answer` the columns
-- `shown_a`, `shown_b`, `verdict` and `reason` are empty.
CREATE TABLE replies (
    task_key TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    question_id TEXT NOT NULL,
    shown_a TEXT NOT NULL,
    shown_b TEXT NOT NULL,
    prompt_sha256 TEXT NOT NULL,
    seed INTEGER NOT NULL,
    text TEXT NOT NULL,
    verdict TEXT NOT NULL,
    reason TEXT NOT NULL,
    finish TEXT NOT NULL,
    llm TEXT NOT NULL,
    prompt_tokens INTEGER NOT NULL,
    completion_tokens INTEGER NOT NULL,
    calls INTEGER NOT NULL,
    elapsed_ms INTEGER NOT NULL,
    PRIMARY KEY (task_key, attempt)
) WITHOUT ROWID;

-- Calls that failed after their retries, to be made again at the next start.
CREATE TABLE failures (
    task_key TEXT PRIMARY KEY,
    question_id TEXT NOT NULL,
    code TEXT NOT NULL,
    reason TEXT NOT NULL,
    attempts INTEGER NOT NULL
) WITHOUT ROWID;
