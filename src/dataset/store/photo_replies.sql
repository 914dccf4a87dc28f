-- What a language model said of a photo beside the answers: by `role` a description that it wrote, or
-- which of the photo's candidates apply. `key` is what was asked about, `conf` covers prompts, what was
-- shown, settings and seed. A refusal of the server that is final has its code as verdict and no text.
CREATE TABLE photo_replies (
    role TEXT NOT NULL,
    key TEXT NOT NULL,
    conf TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    text TEXT NOT NULL,
    finish TEXT NOT NULL,
    llm TEXT NOT NULL,
    see TEXT NOT NULL,
    prompt_hash TEXT NOT NULL,
    seed INTEGER NOT NULL,
    prompt_tokens INTEGER NOT NULL,
    completion_tokens INTEGER NOT NULL,
    verdict TEXT NOT NULL,
    reason TEXT NOT NULL,
    PRIMARY KEY (role, key, conf, attempt)
) WITHOUT ROWID;
