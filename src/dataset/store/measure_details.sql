-- A measure whose value is a word, such as a language, has it in `said`; `detail` is JSON that shows
-- what the value rests on, such as the objects that no description has.
ALTER TABLE measures ADD COLUMN said TEXT;
ALTER TABLE measures ADD COLUMN detail TEXT;
