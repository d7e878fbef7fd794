-- Benchmarks that others know, asked through EleutherAI's lm-evaluation-harness: each item as its task scored it, what
-- a condition has right, and paired differences. Never a claim: nothing of it is registered.
CREATE TABLE suite_answers (
    run_id        VARCHAR NOT NULL,
    suite         VARCHAR NOT NULL,      -- as it was asked for
    task          VARCHAR NOT NULL,      -- of the harness
    condition     VARCHAR NOT NULL,      -- base_raw base_formatted sft dpo
    doc_id        INTEGER NOT NULL,      -- the document's place in its data set
    doc_sha256    VARCHAR NOT NULL,      -- of the document
    cluster       VARCHAR NOT NULL,      -- what documents that are alike have in common, such as a passage
    target        VARCHAR NOT NULL,
    answer        VARCHAR NOT NULL,      -- what was written, or the likeliest choice
    metrics       JSON NOT NULL,         -- {metric: value}
    request_ids   VARCHAR[] NOT NULL,    -- of completions or scores
    fingerprint   VARCHAR NOT NULL,      -- of the weights and adapter that answered
    version       VARCHAR NOT NULL,      -- of the task
    shots         INTEGER NOT NULL,      -- solved examples in front
    harness       VARCHAR NOT NULL,      -- its version
    "at"          TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (run_id, suite, task, condition, doc_id)
);
CREATE TABLE suite_means (
    run_id        VARCHAR NOT NULL,
    suite         VARCHAR NOT NULL,
    task          VARCHAR NOT NULL,      -- or a group of tasks, over all items
    metric        VARCHAR NOT NULL,
    condition     VARCHAR NOT NULL,
    unit          VARCHAR NOT NULL,      -- of inference: document subtask
    n             INTEGER NOT NULL,
    clusters      INTEGER NOT NULL,
    mean          DOUBLE NOT NULL,
    lo            DOUBLE,                -- by interval_method; null where there is no spread to judge by
    hi            DOUBLE,
    interval_method VARCHAR NOT NULL,
    whole         BOOLEAN NOT NULL,      -- false of a task that is told within a group of its suite
    higher_is_better BOOLEAN NOT NULL,
    "at"          TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (run_id, suite, task, metric, condition)
);
CREATE TABLE suite_results (
    run_id        VARCHAR NOT NULL,
    suite         VARCHAR NOT NULL,
    task          VARCHAR NOT NULL,
    metric        VARCHAR NOT NULL,
    before        VARCHAR NOT NULL,      -- condition
    after         VARCHAR NOT NULL,      -- condition
    unit          VARCHAR NOT NULL,
    n             INTEGER NOT NULL,
    clusters      INTEGER NOT NULL,
    before_mean   DOUBLE NOT NULL,
    after_mean    DOUBLE NOT NULL,
    difference    DOUBLE NOT NULL,       -- after minus before
    lo            DOUBLE,                -- cluster-robust; null where no cluster differs from its task, or there are few
    hi            DOUBLE,
    test          VARCHAR NOT NULL,
    p             DOUBLE,
    q             DOUBLE,                -- Benjamini-Hochberg over the comparisons of one suite
    dz            DOUBLE,                -- Cohen's d_z, of items
    dz_lo         DOUBLE,
    dz_hi         DOUBLE,
    t_p           DOUBLE,                -- paired t, items taken for independent
    wilcoxon_p    DOUBLE,
    rank_biserial DOUBLE,
    bca_lo        DOUBLE,
    bca_hi        DOUBLE,
    gained        INTEGER,               -- this and what follows: of metrics that are 0 or 1
    lost          INTEGER,
    flip_p        DOUBLE,                -- sign flips of clusters
    mcnemar_p     DOUBLE,                -- items taken for independent
    newcombe_lo   DOUBLE,
    newcombe_hi   DOUBLE,
    whole         BOOLEAN NOT NULL,      -- false of a task that is told within a group of its suite
    higher_is_better BOOLEAN NOT NULL,
    "at"          TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (run_id, suite, task, metric, before, after)
);
