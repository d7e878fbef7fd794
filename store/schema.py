"""The tables of the store, as the list of steps that build them.

A step is never edited once released: a change of the schema is a new step at the end. `len(STEPS)` is the version.
Every derived table's primary key is the identity of its row, so that an append that is repeated changes nothing.
"""

from __future__ import annotations

STEPS: tuple[str, ...] = (
    """
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
    """,
    # Looked up by id alone a page of samples costs milliseconds whatever their number; a primary key of several columns
    # is no help there (DuckDB 2.0 takes an index for a condition on one column only).
    """
    CREATE INDEX samples_by_id ON samples (sample_id);
    CREATE INDEX instructions_by_id ON instructions (instruction_id);
    CREATE INDEX verdicts_by_id ON verdicts (subject_id);
    CREATE INDEX judgements_by_id ON judgements (subject_id);
    """,
    # What training and evaluation leave behind.
    """
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
    """,
    # Texts are fetched by their index; the narrow rows about them are found in a scan of 12 ms at two million rows.
    # Their two indexes took 95 MB of memory that could not be written out.
    """
    DROP INDEX verdicts_by_id;
    DROP INDEX judgements_by_id;
    """,
    # Critique, revision and preference pairs. Their judgements and verdicts are rows like any other, with the subject
    # kinds revision, candidate and pair.
    """
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
    """,
    # What a training was: its data row by row, its first batch as text, its forecast and its adapter.
    """
    ALTER TABLE trainings ADD COLUMN session_id VARCHAR;        -- the latest that worked on it
    ALTER TABLE trainings ADD COLUMN elapsed_s DOUBLE;          -- of working processes, pauses included
    ALTER TABLE trainings ADD COLUMN data_sha256 VARCHAR;       -- of every text that is trained or measured on
    ALTER TABLE trainings ADD COLUMN start_training VARCHAR;    -- whose adapter it began with; null: a new one
    ALTER TABLE trainings ADD COLUMN adapter_sha256 VARCHAR;    -- of the finished adapter's files
    ALTER TABLE trainings ADD COLUMN adapter_path VARCHAR;      -- relative to the store's folder; null until done
    ALTER TABLE trainings ADD COLUMN adapter_step INTEGER;      -- whose weights it holds
    ALTER TABLE trainings ADD COLUMN heldout_before DOUBLE;     -- held-out loss before the first step
    ALTER TABLE trainings ADD COLUMN first_batch JSON;          -- [{masked, learned}], decoded
    ALTER TABLE trainings ADD COLUMN facts JSON;                -- forecast, sizes, packages, micro-batches
    ALTER TABLE checkpoints ADD COLUMN kept BOOLEAN;            -- false: removed since
    CREATE TABLE training_examples (         -- what a training saw
        run_id        VARCHAR NOT NULL,
        training_id   VARCHAR NOT NULL,
        example_id    VARCHAR NOT NULL,      -- a sample's, revision's or pair's id
        split         VARCHAR NOT NULL,      -- train heldout
        n_tokens      INTEGER NOT NULL,      -- of prompt and response with BOS and end marker; of pairs the longer
        used          BOOLEAN NOT NULL,      -- false: longer than max_length, left out
        PRIMARY KEY (run_id, training_id, example_id)
    );
    """,
    # Evaluation: items with what made and verifies them, answers under three rules, the scorer's audit, results with
    # all that a reviewer asks for, and what was registered before. The tables of step 3 were never written to.
    """
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
    """,
    # Reviews: what was asked, what was answered and what was decided, each entry bound to the one before it by a hash.
    # The ledger: what was or will be paid for, in millionths of a dollar so that sums are exact.
    """
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
    """,
    # Prompts that begin alike, by the thousand: by the dictionary that DuckDB chooses for them, a merge of the log took
    # up to 40 s at prompts of 10,000 characters; zstd takes one, and a twentieth of the space.
    """
    ALTER TABLE completions RENAME TO completions_before;
    CREATE TABLE completions (
        request_id    VARCHAR PRIMARY KEY,   -- hash of all that determines the answer
        fingerprint   VARCHAR NOT NULL,
        prompt        VARCHAR NOT NULL USING COMPRESSION zstd,   -- exactly what was sent
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
    INSERT INTO completions FROM completions_before;
    DROP TABLE completions_before;
    ALTER TABLE scores RENAME TO scores_before;
    CREATE TABLE scores (
        request_id    VARCHAR PRIMARY KEY,
        fingerprint   VARCHAR NOT NULL,
        prompt        VARCHAR NOT NULL USING COMPRESSION zstd,
        labels        VARCHAR[] NOT NULL,
        logprobs      DOUBLE[] NOT NULL,     -- nats; of the label's tokens, summed
        n_tokens      INTEGER[] NOT NULL,    -- tokens in each label
        session_id    VARCHAR NOT NULL,
        created_at    TIMESTAMPTZ NOT NULL
    );
    INSERT INTO scores FROM scores_before;
    DROP TABLE scores_before;
    """,
)

VERSION = len(STEPS)
