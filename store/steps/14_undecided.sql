ALTER TABLE evaluation_answers ALTER COLUMN correct DROP NOT NULL;  -- null where the rules abstain and nobody has read it
ALTER TABLE evaluation_answers ADD COLUMN abstained BOOLEAN;        -- whether they do; null is no
ALTER TABLE evaluation_repeats ALTER COLUMN correct DROP NOT NULL;
