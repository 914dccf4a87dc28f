-- JSON lists of phrases. `requires` is NULL where it is not known what an instruction requires,
-- `tags` where it has none.
ALTER TABLE instructions ADD COLUMN requires TEXT;
ALTER TABLE instructions ADD COLUMN tags TEXT;
