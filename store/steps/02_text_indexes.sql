-- Looked up by id alone a page of samples costs milliseconds whatever their number; a primary key of several columns
-- is no help there (DuckDB 2.0 takes an index for a condition on one column only).
CREATE INDEX samples_by_id ON samples (sample_id);
CREATE INDEX instructions_by_id ON instructions (instruction_id);
CREATE INDEX verdicts_by_id ON verdicts (subject_id);
CREATE INDEX judgements_by_id ON judgements (subject_id);
