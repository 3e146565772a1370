-- The tenants whose rows are drained by a drainer of all of them. Each has a schema of its own, with
-- tables like these; its list of tenants stays empty.
CREATE TABLE kv_tenants (
    name text NOT NULL PRIMARY KEY,
    added_at timestamptz NOT NULL DEFAULT now()
);
