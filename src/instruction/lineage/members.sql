-- Whether the LLM found a task that the members of a cluster have in common; NULL where it did not say.
ALTER TABLE finals ADD COLUMN coherent INTEGER;

-- Raw instructions that are in the library themselves, under an id of their own.
CREATE TABLE picks (raw INTEGER PRIMARY KEY, cluster INTEGER NOT NULL, id TEXT NOT NULL);
