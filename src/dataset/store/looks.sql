-- What a photo looks like: a perceptual hash of 64 bits; NULL where an earlier release looked at it.
ALTER TABLE items ADD COLUMN look INTEGER;
-- The id of the item whose photo is nearly the same, where the run had it before this one.
ALTER TABLE items ADD COLUMN twin_of TEXT;
