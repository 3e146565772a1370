-- How far each partition of each queue was drained. The row is moved in the same
-- transaction as the rows of a batch: that is what makes draining exactly-once.
CREATE TABLE kv_offsets (
    queue text NOT NULL,
    partition integer NOT NULL,
    -- The newest entry whose effect is committed, and its nonce.
    position text NOT NULL DEFAULT '0-0',
    nonce text NOT NULL DEFAULT '',
    -- Raised by every drainer that takes the partition over: an earlier one is fenced.
    epoch bigint NOT NULL DEFAULT 0,
    -- The number of partitions that the entries were written with.
    layout integer NOT NULL,
    scheme text NOT NULL DEFAULT 'write_behind',
    -- How many entries of this partition are held behind a dead letter.
    held bigint NOT NULL DEFAULT 0,
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (queue, partition)
);
