-- Answers compared in pairs by a judge: each order of each pair as it was answered, and the win rates they come to.
CREATE TABLE judge_verdicts (
    run_id         VARCHAR NOT NULL,
    judge          VARCHAR NOT NULL,     -- the model that was asked
    question       VARCHAR NOT NULL,     -- helpful harmless
    before         VARCHAR NOT NULL,     -- condition
    after          VARCHAR NOT NULL,     -- condition
    item_id        VARCHAR NOT NULL,
    in_front       VARCHAR NOT NULL,     -- before after: whose answer the judge read first
    before_request VARCHAR NOT NULL,     -- request_id of the answers that it read
    after_request  VARCHAR NOT NULL,
    preferred      VARCHAR,              -- before after tie; null where what came is no verdict
    margin_nats    DOUBLE,               -- toward after, of a local model; null of a server
    request_id     VARCHAR,              -- of a local model's scores
    answered       VARCHAR NOT NULL,     -- as it came from a server; empty where the answers are the same text
    input_tokens   INTEGER,
    output_tokens  INTEGER,
    "at"           TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (run_id, judge, question, before, after, item_id, in_front)
);
CREATE TABLE judge_results (             -- of after against before; never a claim
    run_id         VARCHAR NOT NULL,
    judge          VARCHAR NOT NULL,
    local          BOOLEAN NOT NULL,     -- whether its label log-probabilities decided
    question       VARCHAR NOT NULL,
    before         VARCHAR NOT NULL,
    after          VARCHAR NOT NULL,
    n              INTEGER NOT NULL,     -- items with a verdict in both orders
    clusters       INTEGER NOT NULL,     -- templates
    wins           INTEGER NOT NULL,     -- after preferred in both orders
    ties           INTEGER NOT NULL,     -- whatever is no win and no loss
    losses         INTEGER NOT NULL,
    turned         INTEGER NOT NULL,     -- of the ties: one order for each
    unreadable     INTEGER NOT NULL,     -- items of which an order has no verdict; not in n
    win_rate       DOUBLE,               -- wins and half the ties
    lo             DOUBLE,               -- CR2 over templates; null below ten templates and without spread
    hi             DOUBLE,
    p              DOUBLE,               -- of 0.5
    q              DOUBLE,               -- Benjamini-Hochberg over the judge's results
    lc_win_rate    DOUBLE,               -- at equal length; null where no regression can be fitted
    lc_lo          DOUBLE,
    lc_hi          DOUBLE,
    lc_log_odds    DOUBLE,               -- of a win at equal length: the effect that lc_p is of
    lc_p           DOUBLE,
    lc_q           DOUBLE,
    length_slope   DOUBLE,               -- log odds by tanh of the length difference in standard deviations
    length_mean    DOUBLE,               -- mean difference in characters, after less before
    person_n       INTEGER NOT NULL,     -- items of which a person called one answer good and the other bad
    person_agrees  INTEGER NOT NULL,     -- of those: the judge prefers the good one
    person_alike   INTEGER NOT NULL,     -- items that a person read and called both good or both bad
    "at"           TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (run_id, judge, question, before, after)
);
CREATE TABLE evaluation_logprobs (       -- of the reference answers of test items, where the spec asks for them
    run_id        VARCHAR NOT NULL,
    condition     VARCHAR NOT NULL,
    item_id       VARCHAR NOT NULL,
    items_sha256  VARCHAR NOT NULL,
    fingerprint   VARCHAR NOT NULL,      -- of the weights and adapter
    request_id    VARCHAR NOT NULL,      -- of the scores
    logprob       DOUBLE NOT NULL,       -- nats, summed over tokens
    n_tokens      INTEGER NOT NULL,
    "at"          TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (run_id, condition, item_id)
);
