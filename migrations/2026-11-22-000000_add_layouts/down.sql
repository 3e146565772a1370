ALTER TABLE kv_offsets DROP COLUMN is_moved;
ALTER TABLE kv_offsets DROP COLUMN first_partition;
