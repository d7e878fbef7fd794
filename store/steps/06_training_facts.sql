-- What a training was: its data row by row, its first batch as text, its forecast and its adapter.
ALTER TABLE trainings ADD COLUMN session_id VARCHAR;        -- the latest that worked on it
ALTER TABLE trainings ADD COLUMN elapsed_s DOUBLE;          -- of working processes, pauses included
ALTER TABLE trainings ADD COLUMN data_sha256 VARCHAR;       -- of every text that is trained or measured on
ALTER TABLE trainings ADD COLUMN start_training VARCHAR;    -- whose adapter it began with; null: a new one
ALTER TABLE trainings ADD COLUMN adapter_sha256 VARCHAR;    -- of the finished adapter's files
ALTER TABLE trainings ADD COLUMN adapter_path VARCHAR;      -- relative to the store's folder; null until done
ALTER TABLE trainings ADD COLUMN adapter_step INTEGER;      -- whose weights it holds
ALTER TABLE trainings ADD COLUMN heldout_before DOUBLE;     -- held-out loss before the first step
ALTER TABLE trainings ADD COLUMN first_batch JSON;          -- [{masked, learned}], decoded
ALTER TABLE trainings ADD COLUMN facts JSON;                -- forecast, sizes, packages, micro-batches
ALTER TABLE checkpoints ADD COLUMN kept BOOLEAN;            -- false: removed since
CREATE TABLE training_examples (         -- what a training saw
    run_id        VARCHAR NOT NULL,
    training_id   VARCHAR NOT NULL,
    example_id    VARCHAR NOT NULL,      -- a sample's, revision's or pair's id
    split         VARCHAR NOT NULL,      -- train heldout
    n_tokens      INTEGER NOT NULL,      -- of prompt and response with BOS and end marker; of pairs the longer
    used          BOOLEAN NOT NULL,      -- false: longer than max_length, left out
    PRIMARY KEY (run_id, training_id, example_id)
);
