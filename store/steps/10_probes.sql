CREATE TABLE probes (                    -- linear probes on hidden states, fitted on labelled texts
    sha256        VARCHAR PRIMARY KEY,   -- of all that its log-odds follow from, beside the model and the text
    fit_id        VARCHAR NOT NULL,      -- hash of what it was fitted on and with
    fingerprint   VARCHAR NOT NULL,      -- of the model whose states it reads
    kind          VARCHAR NOT NULL,      -- instruction sample
    layer         INTEGER NOT NULL,      -- 1 is the first
    weights       DOUBLE[] NOT NULL,     -- of the last token's state and of the mean over tokens
    bias          DOUBLE NOT NULL,
    slope         DOUBLE NOT NULL,       -- log-odds = slope * (weights . state + bias) + offset, in nats
    "offset"      DOUBLE NOT NULL,
    held_out      DOUBLE[] NOT NULL,     -- log-odds of each labelled text by a probe that was fitted without it
    facts         JSON NOT NULL,
    session_id    VARCHAR NOT NULL,
    created_at    TIMESTAMPTZ NOT NULL
);
ALTER TABLE scores ADD COLUMN readout VARCHAR;  -- the probe that the log-odds are of; null for labels
