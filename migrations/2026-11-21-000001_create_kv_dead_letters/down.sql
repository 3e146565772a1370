DROP TABLE kv_dead_letters;
ALTER TABLE kv_offsets DROP COLUMN waits_at;
