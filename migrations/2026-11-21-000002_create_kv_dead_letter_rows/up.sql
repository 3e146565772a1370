-- The rows of a unit of work's dead letter beside the first, which the letter names itself.
CREATE TABLE kv_dead_letter_rows (
    letter bigint NOT NULL REFERENCES kv_dead_letters ON DELETE CASCADE,
    model text NOT NULL,
    row_id text NOT NULL,
    PRIMARY KEY (letter, model, row_id)
);

CREATE INDEX kv_dead_letter_rows_of_row ON kv_dead_letter_rows (model, row_id);

-- Every row of every dead letter.
CREATE VIEW kv_held_rows AS
SELECT id AS letter, queue, partition, entry, model, row_id, released FROM kv_dead_letters
UNION ALL
SELECT r.letter, l.queue, l.partition, l.entry, r.model, r.row_id, l.released
FROM kv_dead_letter_rows AS r JOIN kv_dead_letters AS l ON l.id = r.letter;
