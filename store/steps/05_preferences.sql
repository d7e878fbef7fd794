-- Critique, revision and preference pairs. Their judgements and verdicts are rows like any other, with the subject
-- kinds revision, candidate and pair.
CREATE TABLE revisions (                 -- one round: a critique by a principle and what was written after it
    run_id        VARCHAR NOT NULL,
    revision_id   VARCHAR NOT NULL,
    ordinal       INTEGER NOT NULL,      -- of its sample
    sample_id     VARCHAR NOT NULL,
    instruction_id VARCHAR NOT NULL,
    round         INTEGER NOT NULL,      -- from 1
    parent_id     VARCHAR NOT NULL,      -- the text that was criticised: the sample's or an earlier revision's id
    principle_id  VARCHAR NOT NULL,
    critique_request_id VARCHAR NOT NULL,
    critique      VARCHAR NOT NULL,
    n_critique_tokens INTEGER NOT NULL,
    request_id    VARCHAR NOT NULL,      -- of the revision
    raw           VARCHAR NOT NULL,
    response      VARCHAR NOT NULL,      -- cleaned
    trimmed       JSON NOT NULL,
    stop_reason   VARCHAR NOT NULL,
    n_tokens      INTEGER NOT NULL,
    PRIMARY KEY (run_id, revision_id)
);
CREATE TABLE candidates (                -- other responses: drawn again, made worse on purpose, refused
    run_id        VARCHAR NOT NULL,
    candidate_id  VARCHAR NOT NULL,
    ordinal       INTEGER NOT NULL,      -- of its instruction
    instruction_id VARCHAR NOT NULL,
    sample_id     VARCHAR,               -- the sample it stands beside; null for shipped prompts
    source        VARCHAR NOT NULL,      -- best_of answer refusal, or a kind of hard negative
    number        INTEGER NOT NULL,      -- of its source and instruction, from 1
    request_id    VARCHAR,               -- null where no model was asked
    raw           VARCHAR NOT NULL,
    response      VARCHAR NOT NULL,
    trimmed       JSON NOT NULL,
    stop_reason   VARCHAR NOT NULL,
    n_tokens      INTEGER NOT NULL,
    detail        VARCHAR NOT NULL,      -- what was changed, for one made worse by a rule
    PRIMARY KEY (run_id, candidate_id)
);
CREATE TABLE pairs (
    run_id        VARCHAR NOT NULL,
    pair_id       VARCHAR NOT NULL,
    ordinal       INTEGER NOT NULL,      -- of its instruction
    instruction_id VARCHAR NOT NULL,
    source        VARCHAR NOT NULL,      -- revision best_of hard_negative boundary
    detail        VARCHAR NOT NULL,      -- the kind of hard negative, the side of the boundary
    principle_id  VARCHAR,
    question      VARCHAR NOT NULL,      -- what the two were compared by
    chosen_id     VARCHAR NOT NULL,      -- a sample's, revision's or candidate's id
    rejected_id   VARCHAR NOT NULL,
    chosen        VARCHAR NOT NULL,
    rejected      VARCHAR NOT NULL,
    chosen_tokens INTEGER NOT NULL,
    rejected_tokens INTEGER NOT NULL,
    margin_nats   DOUBLE,                -- of the deciding pair critic; null where none is named
    margin_in_front DOUBLE,              -- with the chosen response shown first
    margin_behind DOUBLE,                -- with the chosen response shown second
    preference    DOUBLE,                -- soft probability that the chosen one is better, after any clamp
    PRIMARY KEY (run_id, pair_id)
);
CREATE TABLE ablations (                 -- one item revised by a principle, without one, and by an irrelevant one
    run_id        VARCHAR NOT NULL,
    principle_id  VARCHAR NOT NULL,      -- the one that is tested
    condition     VARCHAR NOT NULL,      -- with without irrelevant
    sample_id     VARCHAR NOT NULL,
    used_id       VARCHAR,               -- the principle that was shown; null without one
    critique_request_id VARCHAR NOT NULL,
    critique      VARCHAR NOT NULL,
    request_id    VARCHAR NOT NULL,
    response      VARCHAR NOT NULL,
    stop_reason   VARCHAR NOT NULL,
    n_tokens      INTEGER NOT NULL,
    flags         VARCHAR[] NOT NULL,
    margin_nats   DOUBLE NOT NULL,       -- revision over original by the tested principle's question
    useful        BOOLEAN NOT NULL,
    parts         JSON NOT NULL,
    PRIMARY KEY (run_id, principle_id, condition, sample_id)
);
CREATE TABLE ablation_results (
    run_id        VARCHAR NOT NULL,
    principle_id  VARCHAR NOT NULL,
    against       VARCHAR NOT NULL,      -- without irrelevant
    measure       VARCHAR NOT NULL,      -- margin_nats useful
    n             INTEGER NOT NULL,
    with_mean     DOUBLE NOT NULL,
    against_mean  DOUBLE NOT NULL,
    difference    DOUBLE NOT NULL,       -- with minus against, paired by item
    lo            DOUBLE,
    hi            DOUBLE,
    test          VARCHAR NOT NULL,
    p             DOUBLE,
    effect        DOUBLE,
    effect_name   VARCHAR NOT NULL,
    evidence_sha256 VARCHAR NOT NULL,
    "at"          TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (run_id, principle_id, against, measure)
);
