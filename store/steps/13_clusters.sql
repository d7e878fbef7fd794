-- Templates are the unit of inference: p and interval of a result are the cluster-robust ones, and what takes items for
-- independent stands beside them. Rows of before keep what decided then: McNemar's p and Newcombe's limits.
ALTER TABLE evaluation_results ADD COLUMN se DOUBLE;            -- of the difference, by CR2; null in older rows
ALTER TABLE evaluation_results ADD COLUMN df DOUBLE;            -- Satterthwaite's
ALTER TABLE evaluation_results ADD COLUMN icc DOUBLE;           -- intra-cluster correlation of differences
ALTER TABLE evaluation_results ADD COLUMN design_effect DOUBLE;
ALTER TABLE evaluation_results ADD COLUMN flip_p DOUBLE;        -- sign flips of templates
ALTER TABLE evaluation_results ADD COLUMN mcnemar_p DOUBLE;     -- items taken for independent
ALTER TABLE evaluation_results ADD COLUMN newcombe_lo DOUBLE;
ALTER TABLE evaluation_results ADD COLUMN newcombe_hi DOUBLE;
UPDATE evaluation_results SET mcnemar_p = p, newcombe_lo = lo, newcombe_hi = hi;
CREATE TABLE evaluation_scores (         -- what is no yes or no, compared on the same items; never a claim
    run_id        VARCHAR NOT NULL,
    capability    VARCHAR NOT NULL,
    before        VARCHAR NOT NULL,      -- condition
    after         VARCHAR NOT NULL,      -- condition
    measure       VARCHAR NOT NULL,      -- grade tokens
    n             INTEGER NOT NULL,
    clusters      INTEGER NOT NULL,      -- templates
    before_mean   DOUBLE NOT NULL,
    after_mean    DOUBLE NOT NULL,
    difference    DOUBLE NOT NULL,       -- after minus before
    lo            DOUBLE,                -- cluster-robust; null where no template differs from its type
    hi            DOUBLE,
    test          VARCHAR NOT NULL,
    p             DOUBLE,
    q             DOUBLE,                -- Benjamini-Hochberg over the run's scores
    dz            DOUBLE,                -- Cohen's d_z, of items
    dz_lo         DOUBLE,
    dz_hi         DOUBLE,
    t_p           DOUBLE,                -- paired t, items taken for independent
    wilcoxon_p    DOUBLE,
    rank_biserial DOUBLE,                -- matched pairs
    bca_lo        DOUBLE,
    bca_hi        DOUBLE,
    "at"          TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (run_id, capability, before, after, measure)
);
ALTER TABLE ablation_results ADD COLUMN effect_lo DOUBLE;
ALTER TABLE ablation_results ADD COLUMN effect_hi DOUBLE;
ALTER TABLE ablation_results ADD COLUMN beside VARCHAR;         -- the second test, where there is one
ALTER TABLE ablation_results ADD COLUMN beside_p DOUBLE;
ALTER TABLE ablation_results ADD COLUMN beside_effect DOUBLE;
ALTER TABLE ablation_results ADD COLUMN beside_effect_name VARCHAR;
ALTER TABLE ablation_results ADD COLUMN p_corrected DOUBLE;     -- Holm over the tests of one ablation
