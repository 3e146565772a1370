DROP TABLE kv_offsets;
