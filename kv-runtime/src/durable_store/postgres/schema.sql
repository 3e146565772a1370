-- What PostgreSQL's catalog says of some tables: a JSON document for each, in the order they are
-- asked for, or NULL where there is none.
--
-- $1: their schemas, NULL where the search path finds them. $2: their names.
--
-- It looks names up by hand, because casts to regclass fail where a schema may not be used.
SELECT CASE WHEN c.oid IS NOT NULL THEN jsonb_build_object(
    'kind', c.relkind,
    'user', current_user,
    'schema', n.nspname,
    'is_schema_usable', has_schema_privilege(n.oid, 'USAGE'),
    'missing_rights', ARRAY(
        SELECT wanted FROM unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) AS wanted
        WHERE NOT has_table_privilege(c.oid, wanted)
    ),
    'columns', (
        SELECT coalesce(jsonb_agg(jsonb_build_object(
            'name', a.attname,
            -- As a person writes it, and what it is to the machine: a domain is what is below it.
            'type', format_type(a.atttypid, a.atttypmod),
            'base', CASE WHEN t.typtype = 'd' THEN format_type(b.oid, t.typtypmod)
                ELSE format_type(a.atttypid, a.atttypmod) END,
            'type_names', jsonb_build_array(t.typname, b.typname),
            'element_name', e.typname,
            'labels', (
                SELECT jsonb_agg(v.enumlabel ORDER BY v.enumsortorder) FROM pg_enum AS v
                WHERE v.enumtypid = coalesce(e.oid, b.oid, t.oid)
            ),
            'is_not_null', a.attnotnull,
            -- What `pg_get_serial_sequence` answers by.
            'has_sequence', EXISTS (
                SELECT FROM pg_depend AS d JOIN pg_class AS s ON s.oid = d.objid
                WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass
                AND d.refobjid = c.oid AND d.refobjsubid = a.attnum
                AND d.deptype IN ('a', 'i') AND s.relkind = 'S'
            ),
            'has_default', a.atthasdef OR a.attidentity <> '',
            'is_generated', a.attgenerated <> '' OR a.attidentity = 'a'
        ) ORDER BY a.attnum), '[]')
        FROM pg_attribute AS a
        JOIN pg_type AS t ON t.oid = a.atttypid
        LEFT JOIN pg_type AS b ON b.oid = t.typbasetype
        LEFT JOIN pg_type AS e ON t.typcategory = 'A' AND e.oid = coalesce(b.typelem, t.typelem)
        WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    ),
    -- Those of expressions are about more than columns, and have none here.
    'indexes', (
        SELECT coalesce(jsonb_agg(jsonb_build_object(
            'name', x.relname,
            'columns', CASE WHEN i.indexprs IS NULL THEN to_jsonb(ARRAY(
                SELECT a.attname::text
                FROM unnest(i.indkey::smallint[]) WITH ORDINALITY AS k (attnum, at)
                JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum = k.attnum
                WHERE k.at <= i.indnkeyatts ORDER BY k.at
            )) END,
            'definition', pg_get_indexdef(x.oid),
            'is_unique', i.indisunique,
            'is_valid', i.indisvalid,
            'is_immediate', i.indimmediate,
            'condition', pg_get_expr(i.indpred, i.indrelid),
            'constraint', (
                SELECT pg_get_constraintdef(k.oid) FROM pg_constraint AS k
                WHERE k.conindid = i.indexrelid AND k.contype IN ('p', 'u', 'x')
            )
        ) ORDER BY x.relname), '[]')
        FROM pg_index AS i JOIN pg_class AS x ON x.oid = i.indexrelid
        WHERE i.indrelid = c.oid
    ),
    -- Those that are their owner's and fire on what a drainer does, also of its partitions.
    'triggers', (
        SELECT coalesce(jsonb_agg(jsonb_build_object(
            'name', g.tgname, 'table', g.tgrelid::regclass::text
        ) ORDER BY g.tgname), '[]')
        FROM pg_trigger AS g
        WHERE (g.tgrelid = c.oid OR g.tgrelid IN (SELECT relid FROM pg_partition_tree(c.oid)))
        AND NOT g.tgisinternal AND g.tgparentid = 0 AND g.tgenabled IN ('O', 'A')
        AND g.tgtype & (4 | 8 | 16) <> 0
    ),
    'foreign_keys', (
        SELECT coalesce(jsonb_agg(jsonb_build_object(
            'name', f.conname,
            'definition', pg_get_constraintdef(f.oid),
            'columns', ARRAY(
                SELECT a.attname::text FROM unnest(f.conkey) WITH ORDINALITY AS k (attnum, at)
                JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum = k.attnum
                ORDER BY k.at
            ),
            'schema', m.nspname,
            'table', p.relname,
            'is_visible', pg_table_is_visible(p.oid),
            'targets', ARRAY(
                SELECT a.attname::text FROM unnest(f.confkey) WITH ORDINALITY AS k (attnum, at)
                JOIN pg_attribute AS a ON a.attrelid = p.oid AND a.attnum = k.attnum
                ORDER BY k.at
            ),
            -- A change of the other table changes rows of this one.
            'changes_rows', f.confdeltype IN ('c', 'n', 'd') OR f.confupdtype IN ('c', 'n', 'd')
        ) ORDER BY f.conname), '[]')
        FROM pg_constraint AS f JOIN pg_class AS p ON p.oid = f.confrelid
        JOIN pg_namespace AS m ON m.oid = p.relnamespace
        WHERE f.conrelid = c.oid AND f.contype = 'f' AND f.conparentid = 0
    ),
    'checks', (
        SELECT coalesce(jsonb_agg(jsonb_build_object(
            'name', k.conname, 'condition', pg_get_expr(k.conbin, k.conrelid)
        ) ORDER BY k.conname), '[]')
        FROM pg_constraint AS k WHERE k.conrelid = c.oid AND k.contype = 'c'
    ),
    'rules', ARRAY(
        SELECT r.rulename::text FROM pg_rewrite AS r
        WHERE r.ev_class = c.oid AND r.rulename <> '_RETURN' AND r.ev_enabled IN ('O', 'A')
        ORDER BY r.rulename
    )
)::text END AS value
FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS asked (schema, name, at)
LEFT JOIN (pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace)
    ON c.relname = asked.name AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
    AND CASE WHEN asked.schema IS NULL THEN pg_table_is_visible(c.oid)
        ELSE n.nspname = asked.schema END
ORDER BY asked.at
