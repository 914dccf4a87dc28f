-- Replies cut at the limit, of which earlier releases took all: what rests on them stays as it is.
UPDATE calls SET finish = 'length_kept' WHERE finish = 'length';
