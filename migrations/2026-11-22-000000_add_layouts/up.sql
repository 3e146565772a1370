-- The number of partitions of a queue can be changed. It then has others, with numbers of their own:
-- the one of the first of them.
ALTER TABLE kv_offsets ADD COLUMN first_partition integer NOT NULL DEFAULT 0;
-- Whether the queue has other partitions by now, so that nobody writes to this one any more.
ALTER TABLE kv_offsets ADD COLUMN is_moved boolean NOT NULL DEFAULT false;
