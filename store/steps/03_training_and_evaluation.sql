-- What training and evaluation leave behind.
CREATE TABLE trainings (
    run_id        VARCHAR NOT NULL,
    training_id   VARCHAR NOT NULL,
    method        VARCHAR NOT NULL,      -- sft dpo ...
    settings      JSON NOT NULL,         -- resolved
    state         VARCHAR NOT NULL,      -- running paused stopped done failed
    reason        VARCHAR NOT NULL,
    planned_steps INTEGER NOT NULL,
    device        VARCHAR NOT NULL,
    device_bytes  BIGINT,                -- memory that the device has; null where it is not known
    started_at    TIMESTAMPTZ NOT NULL,
    updated_at    TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (run_id, training_id)
);
CREATE TABLE training_steps (
    run_id        VARCHAR NOT NULL,
    training_id   VARCHAR NOT NULL,
    step          INTEGER NOT NULL,      -- of the optimiser, from 1
    epoch         DOUBLE NOT NULL,
    loss          DOUBLE NOT NULL,       -- nats per supervised token; for pairs per pair
    learning_rate DOUBLE NOT NULL,
    grad_norm     DOUBLE,                -- before clipping
    entropy       DOUBLE,                -- nats per token
    reward_margin DOUBLE,                -- chosen minus rejected, in units of beta times nats
    reward_accuracy DOUBLE,
    heldout_loss  DOUBLE,                -- of the validation split; null where it was not measured
    n_tokens      BIGINT NOT NULL,       -- trained on in this step
    seconds       DOUBLE NOT NULL,
    memory_bytes  BIGINT,                -- peak so far
    session_id    VARCHAR NOT NULL,
    "at"          TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (run_id, training_id, step)
);
CREATE TABLE checkpoints (
    run_id        VARCHAR NOT NULL,
    training_id   VARCHAR NOT NULL,
    step          INTEGER NOT NULL,
    path          VARCHAR NOT NULL,      -- relative to the run's folder
    n_bytes       BIGINT NOT NULL,
    heldout_loss  DOUBLE,
    "at"          TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (run_id, training_id, step)
);
CREATE TABLE evaluation_items (
    items_sha256  VARCHAR NOT NULL,      -- of the frozen set
    item_id       VARCHAR NOT NULL,
    item_type     VARCHAR NOT NULL,
    split         VARCHAR NOT NULL,
    prompt        VARCHAR NOT NULL,
    reference     VARCHAR,
    PRIMARY KEY (items_sha256, item_id)
);
CREATE TABLE evaluation_answers (
    run_id        VARCHAR NOT NULL,
    condition     VARCHAR NOT NULL,      -- e.g. base_raw base_formatted base_few_shot sft dpo
    item_id       VARCHAR NOT NULL,
    items_sha256  VARCHAR NOT NULL,
    request_id    VARCHAR NOT NULL,
    answer        VARCHAR NOT NULL,
    correct       BOOLEAN NOT NULL,
    why           VARCHAR NOT NULL,      -- what the verifier saw
    PRIMARY KEY (run_id, condition, item_id)
);
CREATE TABLE evaluation_results (
    run_id        VARCHAR NOT NULL,
    before        VARCHAR NOT NULL,      -- condition
    after         VARCHAR NOT NULL,      -- condition
    item_type     VARCHAR NOT NULL,      -- all, or one type
    n             INTEGER NOT NULL,
    before_right  INTEGER NOT NULL,
    after_right   INTEGER NOT NULL,
    gained        INTEGER NOT NULL,      -- wrong before, right after
    lost          INTEGER NOT NULL,      -- right before, wrong after
    difference    DOUBLE NOT NULL,       -- after minus before, as a share
    lo            DOUBLE NOT NULL,
    hi            DOUBLE NOT NULL,
    interval_method VARCHAR NOT NULL,
    test          VARCHAR NOT NULL,
    p             DOUBLE NOT NULL,
    p_corrected   DOUBLE,                -- null where it is no member of a family
    correction    VARCHAR NOT NULL,
    effect        DOUBLE NOT NULL,
    effect_name   VARCHAR NOT NULL,
    registered    BOOLEAN NOT NULL,      -- named before results existed; else exploratory
    evidence_sha256 VARCHAR NOT NULL,
    PRIMARY KEY (run_id, before, after, item_type)
);
