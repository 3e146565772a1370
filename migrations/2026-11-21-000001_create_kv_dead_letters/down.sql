DROP FUNCTION kv_attempt(text[], text[], bigint[]);
DROP TABLE kv_dead_letters;
ALTER TABLE kv_offsets DROP COLUMN waits_at;
