CREATE TABLE accounts (
    id bigint PRIMARY KEY,
    revision bigint NOT NULL,
    note text,
    active boolean NOT NULL
);

CREATE TABLE seats (
    flight text NOT NULL,
    number smallint NOT NULL,
    revision bigint NOT NULL,
    passenger text,
    PRIMARY KEY (flight, number)
);

-- Narrower than its model: Redis acknowledges what is refused here.
CREATE TABLE parcels (
    id bigint PRIMARY KEY,
    revision bigint NOT NULL,
    label text NOT NULL UNIQUE,
    weight smallint NOT NULL,
    note text CHECK (note <> 'poison')
);

-- Whoever wants one of these labels is refused, whatever else is drained before or after.
INSERT INTO parcels (id, revision, label, weight)
SELECT -number, 0, 'taken ' || number, 1 FROM generate_series(1, 10) AS number;

CREATE TABLE changes (
    number bigserial PRIMARY KEY,
    key text NOT NULL,
    operation text NOT NULL,
    revision bigint NOT NULL
);

CREATE FUNCTION note_change() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    changed jsonb := to_jsonb(CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END);
BEGIN
    INSERT INTO changes (key, operation, revision) VALUES (
        TG_ARGV[0] || ':' || coalesce(changed ->> 'id',
            (changed ->> 'flight') || ':' || (changed ->> 'number')),
        TG_OP, (changed ->> 'revision')::bigint);
    RETURN NULL;
END $$;

CREATE TRIGGER note_change AFTER INSERT OR UPDATE OR DELETE ON accounts
FOR EACH ROW EXECUTE FUNCTION note_change('account');
CREATE TRIGGER note_change AFTER INSERT OR UPDATE OR DELETE ON seats
FOR EACH ROW EXECUTE FUNCTION note_change('seat');
CREATE TRIGGER note_change AFTER INSERT OR UPDATE OR DELETE ON parcels
FOR EACH ROW EXECUTE FUNCTION note_change('parcel');
