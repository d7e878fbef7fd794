CREATE TABLE evaluation_seeds (          -- a run's comparisons over its repeats with other seeds
    run_id        VARCHAR NOT NULL,      -- that was repeated
    capability    VARCHAR NOT NULL,
    before        VARCHAR NOT NULL,      -- condition
    after         VARCHAR NOT NULL,      -- condition
    runs          VARCHAR[] NOT NULL,    -- it and its repeats
    seeds         INTEGER NOT NULL,
    n             INTEGER NOT NULL,      -- items that are decided under both conditions in each of them
    clusters      INTEGER NOT NULL,      -- templates
    differences   DOUBLE[] NOT NULL,     -- of each run, after minus before, on these items
    difference    DOUBLE NOT NULL,       -- their mean
    se            DOUBLE,                -- templates and seeds crossed; null where too few seeds tell
    df            DOUBLE,                -- Satterthwaite's
    lo            DOUBLE,
    hi            DOUBLE,
    se_templates  DOUBLE,                -- the part of se that templates make
    between_sd    DOUBLE NOT NULL,       -- of the difference between seeds, without what items make of it
    between_lo    DOUBLE NOT NULL,
    between_hi    DOUBLE NOT NULL,
    method        VARCHAR NOT NULL,
    "at"          TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (run_id, capability, before, after)
);
-- Labels of two readers of one thing are both kept. Who gave the older ones is not known.
ALTER TABLE person_labels RENAME TO person_labels_before;
CREATE TABLE person_labels (
    run_id        VARCHAR NOT NULL,
    subject_kind  VARCHAR NOT NULL,
    subject_id    VARCHAR NOT NULL,
    reader        VARCHAR NOT NULL,      -- who gave it; empty where an earlier version did not ask
    label         VARCHAR NOT NULL,      -- good bad unsure
    note          VARCHAR NOT NULL,
    "at"          TIMESTAMPTZ NOT NULL,
    drawn         VARCHAR,               -- how it came to be labelled: random queue chosen; null in older rows
    PRIMARY KEY (run_id, subject_kind, subject_id, reader)
);
INSERT INTO person_labels SELECT run_id, subject_kind, subject_id, '', label, note, "at", drawn FROM person_labels_before;
DROP TABLE person_labels_before;
