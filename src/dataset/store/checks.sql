-- What an instruction requires of a photo, a JSON list of phrases; NULL where it is not known.
ALTER TABLE instructions ADD COLUMN requires TEXT;
-- How many of a photo's candidates each check refused, a JSON object; NULL where none was checked.
ALTER TABLE matches ADD COLUMN refused_by TEXT;
