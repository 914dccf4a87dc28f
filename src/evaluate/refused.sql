-- Whether the server takes other prompts and refused this one for good. It is not asked again.
ALTER TABLE failures ADD COLUMN refused INTEGER NOT NULL DEFAULT 0;
