-- What the LLM reasoned before a reply, where that was to be kept; no part of the reply.
ALTER TABLE calls ADD COLUMN reasoning TEXT;
