-- Reviews: what was asked, what was answered and what was decided, each entry bound to the one before it by a hash.
-- The ledger: what was or will be paid for, in millionths of a dollar so that sums are exact.
CREATE TABLE review_entries (
    run_id        VARCHAR NOT NULL,
    seq           INTEGER NOT NULL,      -- from 1, without a gap
    review_id     VARCHAR NOT NULL,      -- the question: a hash of topic, question and evidence
    kind          VARCHAR NOT NULL,      -- request response decision failure
    topic         VARCHAR NOT NULL,
    who           VARCHAR NOT NULL,      -- who asks or answers: engine, a reviewer's name, person, policy
    approval      VARCHAR,               -- yes no; null where the entry gives none
    evidence_sha256 VARCHAR NOT NULL,    -- of spec, data, figures and code that it is about
    body          JSON NOT NULL,         -- question and context, the answer's fields, or the decision
    path          VARCHAR,               -- of its file, relative to the store's folder
    previous_sha256 VARCHAR NOT NULL,    -- of the entry before; of the first the run's id
    sha256        VARCHAR NOT NULL,
    "at"          TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (run_id, seq)
);
CREATE TABLE ledger (
    run_id        VARCHAR NOT NULL,
    entry_id      VARCHAR NOT NULL,
    kind          VARCHAR NOT NULL,      -- gpu api storage
    stage         INTEGER NOT NULL,
    phase         VARCHAR NOT NULL,
    state         VARCHAR NOT NULL,      -- reserved settled
    micro_usd     BIGINT NOT NULL,
    quantity      DOUBLE NOT NULL,
    unit          VARCHAR NOT NULL,      -- gpu_second input_token output_token gib_hour
    price_usd     DOUBLE NOT NULL,       -- of one unit
    priced_on     VARCHAR NOT NULL,      -- date of the price, or where it is from
    detail        VARCHAR NOT NULL,      -- device, model
    session_id    VARCHAR NOT NULL,
    "at"          TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (run_id, entry_id)
);
