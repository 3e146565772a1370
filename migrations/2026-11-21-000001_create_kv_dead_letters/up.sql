-- The entry before which a partition waits for other partitions, because a constraint ties its row
-- to a row that may still be on its way there.
ALTER TABLE kv_offsets ADD COLUMN waits_at text;

-- Entries that were refused for their content, and the later entries of their rows, in order.
CREATE TABLE kv_dead_letters (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    queue text NOT NULL,
    partition integer NOT NULL,
    entry text NOT NULL,
    -- The row, as far as the entry names it: key prefix of the model, and escaped id.
    model text,
    row_id text,
    -- The entry as the queue had it.
    change bytea NOT NULL,
    "values" bytea NOT NULL,
    -- Why it was refused; of an entry that queues behind another, that other one.
    sqlstate text,
    message text NOT NULL,
    detail text,
    constraint_name text,
    behind text,
    refused_at timestamptz NOT NULL DEFAULT now(),
    -- Replayed or discarded, and still to be let go in Redis.
    released boolean NOT NULL DEFAULT false,
    UNIQUE (queue, partition, entry)
);

CREATE INDEX kv_dead_letters_of_row ON kv_dead_letters (queue, partition, model, row_id);

-- Runs statements as one: all of them, or none and the reason. `$1` of each is its rows as JSON;
-- one that changes fewer rows than expected is refused.
CREATE FUNCTION kv_attempt(
    statements text[], row_sets text[], expected bigint[],
    OUT state text, OUT reason text, OUT detail text, OUT violated text
) LANGUAGE plpgsql AS $$
DECLARE
    changed bigint;
BEGIN
    SET CONSTRAINTS ALL DEFERRED;
    FOR at IN 1 .. cardinality(statements) LOOP
        EXECUTE statements[at] USING row_sets[at];
        GET DIAGNOSTICS changed = ROW_COUNT;
        IF changed < expected[at] THEN
            RAISE EXCEPTION 'there is no row with the id of a patch' USING ERRCODE = 'KV404';
        END IF;
    END LOOP;
    SET CONSTRAINTS ALL IMMEDIATE;
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, reason = MESSAGE_TEXT,
        detail = PG_EXCEPTION_DETAIL, violated = CONSTRAINT_NAME;
END
$$;
