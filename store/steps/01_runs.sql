CREATE TABLE runs (
    run_id        VARCHAR PRIMARY KEY,
    created_at    TIMESTAMPTZ NOT NULL,
    spec          VARCHAR NOT NULL,      -- name of the spec file
    spec_sha256   VARCHAR NOT NULL,      -- of the file's bytes
    settings      JSON NOT NULL,         -- the front matter after overrides, resolved
    overrides     JSON NOT NULL,         -- what --set changed: {key: [spec's value, value]}
    seed          BIGINT NOT NULL,
    model         VARCHAR NOT NULL,
    fingerprint   VARCHAR,               -- of the loaded weights; null until loaded
    pilot         INTEGER NOT NULL,      -- accepted examples before the pilot gate
    target        INTEGER NOT NULL,      -- accepted examples in all
    until         VARCHAR,               -- last phase asked for; null is all
    state         VARCHAR NOT NULL,      -- running paused stopped done gate_failed waiting budget_reached failed
    reason        VARCHAR NOT NULL,
    elapsed_s     DOUBLE NOT NULL,       -- of working sessions, pauses excluded
    updated_at    TIMESTAMPTZ NOT NULL,
    manifest      JSON NOT NULL
);
CREATE TABLE sessions (                  -- one process working on a run
    session_id    VARCHAR PRIMARY KEY,
    run_id        VARCHAR NOT NULL,
    pid           INTEGER NOT NULL,
    host          VARCHAR NOT NULL,
    started_at    TIMESTAMPTZ NOT NULL
);
CREATE TABLE completions (
    request_id    VARCHAR PRIMARY KEY,   -- hash of all that determines the answer
    fingerprint   VARCHAR NOT NULL,
    prompt        VARCHAR NOT NULL,      -- exactly what was sent
    decoding      JSON NOT NULL,
    seed          BIGINT NOT NULL,
    text          VARCHAR NOT NULL,      -- exactly what came back, stop sequence excluded
    token_ids     INTEGER[] NOT NULL,
    n_tokens      INTEGER NOT NULL,
    n_prompt_tokens INTEGER NOT NULL,
    stop_reason   VARCHAR NOT NULL,      -- stop eos length
    stop_text     VARCHAR,               -- the stop sequence that ended it
    session_id    VARCHAR NOT NULL,
    created_at    TIMESTAMPTZ NOT NULL
);
CREATE TABLE scores (
    request_id    VARCHAR PRIMARY KEY,
    fingerprint   VARCHAR NOT NULL,
    prompt        VARCHAR NOT NULL,
    labels        VARCHAR[] NOT NULL,
    logprobs      DOUBLE[] NOT NULL,     -- nats; of the label's tokens, summed
    n_tokens      INTEGER[] NOT NULL,    -- tokens in each label
    session_id    VARCHAR NOT NULL,
    created_at    TIMESTAMPTZ NOT NULL
);
CREATE TABLE guard_checks (
    run_id        VARCHAR NOT NULL,
    check_id      VARCHAR NOT NULL,
    condition     VARCHAR NOT NULL,      -- encoding raw formatted aggregate
    prompt        VARCHAR NOT NULL,
    answer        VARCHAR NOT NULL,
    measured      JSON NOT NULL,
    passed        BOOLEAN,               -- null: recorded, decides nothing
    detail        VARCHAR NOT NULL,
    PRIMARY KEY (run_id, check_id)
);
CREATE TABLE audits (
    run_id        VARCHAR NOT NULL,
    critic        VARCHAR NOT NULL,
    subject_kind  VARCHAR NOT NULL,      -- instruction sample
    part          VARCHAR NOT NULL,      -- planted own person
    n_good        INTEGER NOT NULL,
    n_bad         INTEGER NOT NULL,
    auc           DOUBLE,
    auc_lo        DOUBLE,
    auc_hi        DOUBLE,
    accuracy      DOUBLE,                -- at score > 0
    label_bias    DOUBLE,                -- share judged good minus share that is good
    threshold     DOUBLE,                -- score for the wanted precision; null where none reaches it
    may_filter    BOOLEAN NOT NULL,
    detail        JSON NOT NULL,
    PRIMARY KEY (run_id, critic, subject_kind, part)
);
CREATE TABLE instructions (
    run_id        VARCHAR NOT NULL,
    instruction_id VARCHAR NOT NULL,
    ordinal       INTEGER NOT NULL,      -- order in which candidates were considered
    request_id    VARCHAR NOT NULL,      -- the completion that it was written in
    line          INTEGER NOT NULL,      -- its line in that completion
    seed_ids      VARCHAR[] NOT NULL,    -- the examples shown in the prompt
    text          VARCHAR NOT NULL,
    opening       VARCHAR NOT NULL,      -- first word, lower case
    topic         VARCHAR NOT NULL,
    status        VARCHAR NOT NULL,      -- distinct malformed meta context truncated duplicate
    duplicate_of  VARCHAR,               -- an instruction_id or a seed's id
    similarity    DOUBLE,                -- ROUGE-L F to duplicate_of, or to the nearest one known
    cluster_id    VARCHAR,               -- of near-duplicates; decides the split
    split         VARCHAR,               -- train validation test; null unless distinct
    PRIMARY KEY (run_id, instruction_id)
);
CREATE TABLE samples (
    run_id        VARCHAR NOT NULL,
    sample_id     VARCHAR NOT NULL,
    ordinal       INTEGER NOT NULL,
    instruction_id VARCHAR NOT NULL,
    request_id    VARCHAR NOT NULL,
    raw           VARCHAR NOT NULL,
    response      VARCHAR NOT NULL,      -- cleaned
    trimmed       JSON NOT NULL,         -- [{rule, start, end}] into raw
    stop_reason   VARCHAR NOT NULL,
    n_tokens      INTEGER NOT NULL,
    PRIMARY KEY (run_id, sample_id)
);
CREATE TABLE judgements (
    run_id        VARCHAR NOT NULL,
    subject_kind  VARCHAR NOT NULL,      -- instruction sample
    subject_id    VARCHAR NOT NULL,
    critic        VARCHAR NOT NULL,
    margin_nats   DOUBLE NOT NULL,       -- signed, positive is good; a rule's is 0 or 1 and has no unit
    score         DOUBLE NOT NULL,       -- margin, zero point and scale from the anchors
    audited       BOOLEAN NOT NULL,      -- whether its audit lets this critic filter
    parts         JSON NOT NULL,         -- [{variant, request_id, labels, logprobs}]
    PRIMARY KEY (run_id, subject_kind, subject_id, critic)
);
CREATE TABLE verdicts (
    run_id        VARCHAR NOT NULL,
    subject_kind  VARCHAR NOT NULL,
    subject_id    VARCHAR NOT NULL,
    verdict       VARCHAR NOT NULL,      -- accepted rejected unsure
    basis         VARCHAR NOT NULL,      -- critic rules
    flags         VARCHAR[] NOT NULL,    -- names of the rules that fired
    reason        VARCHAR NOT NULL,
    PRIMARY KEY (run_id, subject_kind, subject_id)
);
CREATE TABLE gates (
    run_id        VARCHAR NOT NULL,
    gate          VARCHAR NOT NULL,      -- guard pilot final
    check_name    VARCHAR NOT NULL,
    measured      DOUBLE,
    lo            DOUBLE,
    hi            DOUBLE,
    n             INTEGER NOT NULL,
    op            VARCHAR NOT NULL,      -- < <= >= ==
    threshold     DOUBLE NOT NULL,
    passed        BOOLEAN NOT NULL,
    subject_ids   VARCHAR[] NOT NULL,    -- those that count against it
    evidence_sha256 VARCHAR NOT NULL,
    decided_at    TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (run_id, gate, check_name)
);
CREATE TABLE metrics (
    run_id        VARCHAR NOT NULL,
    phase         VARCHAR NOT NULL,
    name          VARCHAR NOT NULL,
    value         DOUBLE NOT NULL,
    session_id    VARCHAR NOT NULL,
    "at"          TIMESTAMPTZ NOT NULL
);
CREATE TABLE events (
    run_id        VARCHAR NOT NULL,
    session_id    VARCHAR NOT NULL,
    seq           INTEGER NOT NULL,
    "at"          TIMESTAMPTZ NOT NULL,
    kind          VARCHAR NOT NULL,
    payload       JSON NOT NULL,
    PRIMARY KEY (session_id, seq)
);
CREATE TABLE decisions (
    run_id        VARCHAR NOT NULL,
    decision_id   VARCHAR NOT NULL,
    topic         VARCHAR NOT NULL,
    question      VARCHAR NOT NULL,
    answer        VARCHAR NOT NULL,
    reason        VARCHAR NOT NULL,
    decided_by    VARCHAR NOT NULL,      -- person reviewer spec
    evidence_sha256 VARCHAR NOT NULL,
    "at"          TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (run_id, decision_id)
);
CREATE TABLE person_labels (
    run_id        VARCHAR NOT NULL,
    subject_kind  VARCHAR NOT NULL,
    subject_id    VARCHAR NOT NULL,
    label         VARCHAR NOT NULL,      -- good bad unsure
    note          VARCHAR NOT NULL,
    "at"          TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (run_id, subject_kind, subject_id)
);
