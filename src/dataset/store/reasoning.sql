-- What the LLM reasoned before an answer, where that was to be kept; no part of the answer.
ALTER TABLE answers ADD COLUMN reasoning TEXT;
