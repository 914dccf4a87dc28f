-- The photo's licence in the source's own words; NULL where it tells none, or an earlier release read it.
ALTER TABLE items ADD COLUMN license TEXT;
