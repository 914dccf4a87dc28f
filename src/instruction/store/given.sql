-- Where a row's vector came from: 1 the caller supplied it, 0 it was made from the text, NULL not
-- known, of rows from before this was kept.
ALTER TABLE instructions ADD COLUMN given INTEGER;
