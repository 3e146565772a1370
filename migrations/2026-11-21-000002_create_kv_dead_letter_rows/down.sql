DROP VIEW kv_held_rows;
DROP TABLE kv_dead_letter_rows;
