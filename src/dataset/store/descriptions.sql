-- The captions of an item apart, as a JSON list, where its source has several; `description` is
-- all of them in one text.
ALTER TABLE items ADD COLUMN descriptions TEXT;
