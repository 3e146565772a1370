-- The entry before which a partition waits because of a foreign key.
ALTER TABLE kv_offsets ADD COLUMN waits_at text;

-- Entries that were refused for their content, and those of the same rows behind them.
CREATE TABLE kv_dead_letters (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    queue text NOT NULL,
    partition integer NOT NULL,
    entry text NOT NULL,
    -- The model's key prefix and the row's escaped id, where the header could be read.
    model text,
    row_id text,
    -- The entry as it was on the queue.
    header bytea NOT NULL,
    payload bytea NOT NULL,
    -- What PostgreSQL said.
    sqlstate text,
    message text NOT NULL,
    detail text,
    constraint_name text,
    -- The refused entry that this one is queued behind; NULL: this one was refused itself.
    behind text,
    refused_at timestamptz NOT NULL DEFAULT now(),
    released boolean NOT NULL DEFAULT false,
    UNIQUE (queue, partition, entry)
);
