-- Evaluation: items with what made and verifies them, answers under three rules, the scorer's audit, results with
-- all that a reviewer asks for, and what was registered before. The tables of step 3 were never written to.
DROP TABLE evaluation_items;
DROP TABLE evaluation_answers;
DROP TABLE evaluation_results;
CREATE TABLE evaluation_items (
    items_sha256  VARCHAR NOT NULL,      -- of the frozen set
    item_id       VARCHAR NOT NULL,
    capability    VARCHAR NOT NULL,      -- instruction_following conversation
    item_type     VARCHAR NOT NULL,
    template      VARCHAR NOT NULL,      -- what made it; a cluster of items that are alike
    split         VARCHAR NOT NULL,      -- dev test
    history       JSON NOT NULL,         -- [[turn, answer]] before the prompt
    prompt        VARCHAR NOT NULL,
    reference     VARCHAR,
    facts         JSON NOT NULL,         -- what its verifier needs
    PRIMARY KEY (items_sha256, item_id)
);
CREATE TABLE evaluation_answers (
    run_id        VARCHAR NOT NULL,
    condition     VARCHAR NOT NULL,      -- base_raw base_formatted base_few_shot sft dpo reference
    item_id       VARCHAR NOT NULL,
    items_sha256  VARCHAR NOT NULL,
    scorer_sha256 VARCHAR NOT NULL,      -- of the code that verified it
    fingerprint   VARCHAR NOT NULL,      -- of the weights and adapter that answered
    request_id    VARCHAR NOT NULL,
    answer        VARCHAR NOT NULL,      -- cleaned
    n_tokens      INTEGER NOT NULL,
    stop_reason   VARCHAR NOT NULL,
    correct       BOOLEAN NOT NULL,
    strict        BOOLEAN NOT NULL,      -- under the stricter rule
    loose         BOOLEAN NOT NULL,      -- under the looser rule
    trimmed       BOOLEAN NOT NULL,      -- correct with its last sentence cut off
    padded        BOOLEAN NOT NULL,      -- correct with a sentence added that says nothing
    why           VARCHAR NOT NULL,      -- what the verifier saw
    "at"          TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (run_id, condition, item_id)
);
CREATE TABLE evaluation_repeats (        -- a slice asked again, one item at a time
    run_id        VARCHAR NOT NULL,
    condition     VARCHAR NOT NULL,
    item_id       VARCHAR NOT NULL,
    answer        VARCHAR NOT NULL,
    same_text     BOOLEAN NOT NULL,
    correct       BOOLEAN NOT NULL,
    same_verdict  BOOLEAN NOT NULL,
    PRIMARY KEY (run_id, condition, item_id)
);
CREATE TABLE scorer_audits (             -- of the verifiers, before any p value counts
    run_id        VARCHAR NOT NULL,
    scorer_sha256 VARCHAR NOT NULL,
    capability    VARCHAR NOT NULL,
    part          VARCHAR NOT NULL,      -- planted length padding trimming strictness format person
    subject       VARCHAR NOT NULL,      -- an item type, a condition, or all
    measured      DOUBLE,
    lo            DOUBLE,
    hi            DOUBLE,
    n             INTEGER NOT NULL,
    op            VARCHAR NOT NULL,      -- >= <=, or empty: recorded, decides nothing
    threshold     DOUBLE,
    passed        BOOLEAN,               -- null: recorded, decides nothing
    detail        JSON NOT NULL,
    PRIMARY KEY (run_id, capability, part, subject)
);
CREATE TABLE registrations (             -- what was settled before results existed
    run_id        VARCHAR NOT NULL,
    registration_id VARCHAR NOT NULL,
    body          JSON NOT NULL,
    sha256        VARCHAR NOT NULL,      -- of the body
    "at"          TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (run_id, registration_id)
);
CREATE TABLE evaluation_results (
    run_id        VARCHAR NOT NULL,
    capability    VARCHAR NOT NULL,
    before        VARCHAR NOT NULL,      -- condition
    after         VARCHAR NOT NULL,      -- condition
    item_type     VARCHAR NOT NULL,      -- all, or one type
    role          VARCHAR NOT NULL,      -- primary secondary exploratory
    n             INTEGER NOT NULL,
    before_right  INTEGER NOT NULL,
    after_right   INTEGER NOT NULL,
    gained        INTEGER NOT NULL,      -- wrong before, right after
    lost          INTEGER NOT NULL,      -- right before, wrong after
    before_lo     DOUBLE NOT NULL,       -- Wilson
    before_hi     DOUBLE NOT NULL,
    after_lo      DOUBLE NOT NULL,
    after_hi      DOUBLE NOT NULL,
    difference    DOUBLE NOT NULL,       -- after minus before, as a share
    lo            DOUBLE NOT NULL,       -- by interval_method
    hi            DOUBLE NOT NULL,
    interval_method VARCHAR NOT NULL,
    bca_lo        DOUBLE,                -- bootstrap over items
    bca_hi        DOUBLE,
    clusters      INTEGER,               -- templates
    clustered_lo  DOUBLE,
    clustered_hi  DOUBLE,
    clustered_p   DOUBLE,
    test          VARCHAR NOT NULL,
    p             DOUBLE NOT NULL,
    chi2          DOUBLE NOT NULL,       -- McNemar, continuity-corrected
    p_chi2        DOUBLE NOT NULL,
    p_corrected   DOUBLE,                -- null where it is no member of a family
    correction    VARCHAR NOT NULL,
    q             DOUBLE,                -- Benjamini-Hochberg over the same family
    alpha         DOUBLE NOT NULL,       -- the level of this look
    effect        DOUBLE NOT NULL,
    effect_name   VARCHAR NOT NULL,
    power         DOUBLE,                -- of n items for the registered effect
    detectable    DOUBLE,                -- the smallest difference that n items show with power 0.8
    margin        DOUBLE NOT NULL,       -- a loss below it is no regression
    p_not_worse   DOUBLE NOT NULL,
    registered    BOOLEAN NOT NULL,      -- named before results existed; else exploratory
    evidence_sha256 VARCHAR NOT NULL,
    "at"          TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (run_id, capability, before, after, item_type)
);
CREATE TABLE evaluation_looks (          -- each time results were computed on test items
    run_id        VARCHAR NOT NULL,
    capability    VARCHAR NOT NULL,
    before        VARCHAR NOT NULL,
    after         VARCHAR NOT NULL,
    look          INTEGER NOT NULL,      -- from 1
    n             INTEGER NOT NULL,
    fraction      DOUBLE NOT NULL,       -- of the items that were planned
    level         DOUBLE NOT NULL,       -- of alpha, for this look
    evidence_sha256 VARCHAR NOT NULL,
    "at"          TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (run_id, capability, before, after, look)
);
CREATE TABLE replays (                   -- a slice of a phase computed again
    run_id        VARCHAR NOT NULL,
    replay_id     VARCHAR NOT NULL,
    phase         VARCHAR NOT NULL,
    fraction      DOUBLE NOT NULL,
    texts         INTEGER NOT NULL,
    texts_same    INTEGER NOT NULL,
    scores        INTEGER NOT NULL,
    largest_difference_nats DOUBLE NOT NULL,
    verdicts      INTEGER NOT NULL,
    verdicts_same INTEGER NOT NULL,
    detail        JSON NOT NULL,         -- figures before and after, what differed
    fingerprint   VARCHAR NOT NULL,
    "at"          TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (run_id, replay_id)
);
