//! A log that PostgreSQL itself keeps of who takes partitions over, and who moves their offsets.

use kv_tests::pair::Pair;

/// The log, and the trigger that writes it. A drainer shows by the name of its connections.
pub(crate) const TABLES: &str = "
    CREATE TABLE moves (
        partition int NOT NULL, epoch bigint NOT NULL, is_take_over boolean NOT NULL,
        drainer text NOT NULL DEFAULT current_setting('application_name')
    );
    CREATE FUNCTION note_move() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO moves (partition, epoch, is_take_over)
        VALUES (NEW.partition, NEW.epoch, NEW.epoch > OLD.epoch);
        RETURN NULL;
    END $$;
    CREATE TRIGGER note_move AFTER UPDATE ON kv_offsets
    FOR EACH ROW EXECUTE FUNCTION note_move();
";

/// Only who took a partition over last moves its offset.
pub(crate) async fn check(pair: &Pair) {
    let strangers = "
        SELECT format('partition %s, epoch %s: %s instead of %s',
            moved.partition, moved.epoch, moved.drainer, taken.drainer) AS value
        FROM moves AS moved JOIN moves AS taken USING (partition, epoch)
        WHERE taken.is_take_over AND NOT moved.is_take_over AND moved.drainer <> taken.drainer";
    assert_eq!(pair.texts(strangers).await, []);
}

/// How often a drainer has moved an offset.
pub(crate) async fn count(pair: &Pair, drainer: &str) -> usize {
    let sql = format!(
        "SELECT drainer AS value FROM moves WHERE NOT is_take_over AND drainer = '{drainer}'"
    );
    pair.texts(&sql).await.len()
}
