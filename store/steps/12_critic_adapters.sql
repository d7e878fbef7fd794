CREATE TABLE critic_adapters (           -- LoRA adapters that were trained on labelled texts to say good or bad
    fit_id        VARCHAR PRIMARY KEY,   -- hash of what it was trained on and with
    sha256        VARCHAR NOT NULL,      -- of its files
    path          VARCHAR NOT NULL,      -- of its folder, from the store's
    fingerprint   VARCHAR NOT NULL,      -- of the base weights
    kind          VARCHAR NOT NULL,      -- instruction sample
    slope         DOUBLE NOT NULL,       -- log-odds = slope * margin + offset, in nats
    "offset"      DOUBLE NOT NULL,
    facts         JSON NOT NULL,
    session_id    VARCHAR NOT NULL,
    created_at    TIMESTAMPTZ NOT NULL
);
