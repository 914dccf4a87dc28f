-- What an instruction requires of a photo, a JSON list of phrases; NULL where it is not known.
ALTER TABLE finals ADD COLUMN requires TEXT;
ALTER TABLE imported ADD COLUMN requires TEXT;
-- A JSON list of words.
ALTER TABLE imported ADD COLUMN tags TEXT;
