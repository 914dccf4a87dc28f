-- What a judge replied about an answer, one row for each asking. `conf` covers the question, its prompts,
-- the model, the settings and the seed; the values that follow are in `measures`.
CREATE TABLE judge_replies (
    answer_key TEXT NOT NULL,
    conf TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    question TEXT NOT NULL,
    text TEXT NOT NULL,
    finish TEXT NOT NULL,
    llm TEXT NOT NULL,
    seed INTEGER NOT NULL,
    prompt_tokens INTEGER NOT NULL,
    completion_tokens INTEGER NOT NULL,
    PRIMARY KEY (answer_key, conf, attempt)
) WITHOUT ROWID;

-- Questions whose calls failed, to be asked again at the next start.
CREATE TABLE judge_failures (
    answer_key TEXT NOT NULL,
    conf TEXT NOT NULL,
    code TEXT NOT NULL,
    reason TEXT NOT NULL,
    PRIMARY KEY (answer_key, conf)
) WITHOUT ROWID;
