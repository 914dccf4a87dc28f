-- What the model reasoned before a reply, where that was to be kept; no part of the reply.
ALTER TABLE replies ADD COLUMN reasoning TEXT;
