CREATE TABLE bookings (
    id uuid PRIMARY KEY,
    reference text NOT NULL,
    driver_id uuid,
    status text NOT NULL,
    fare numeric NOT NULL,
    seats integer NOT NULL,
    created_at timestamptz NOT NULL
);

CREATE TABLE seats (
    flight text NOT NULL,
    number smallint NOT NULL,
    passenger text,
    PRIMARY KEY (flight, number)
);

CREATE TABLE counters (
    id bigint PRIMARY KEY,
    total_count bigint NOT NULL,
    type text NOT NULL
);

CREATE TABLE accounts (
    id bigint PRIMARY KEY,
    revision bigint NOT NULL,
    note text,
    active boolean NOT NULL
);

CREATE TABLE places (
    region text NOT NULL,
    name text NOT NULL,
    note text,
    PRIMARY KEY (region, name)
);

CREATE TYPE mood AS ENUM ('happy', 'so-so');

CREATE TABLE everything (
    id uuid PRIMARY KEY,
    text text NOT NULL,
    boolean boolean NOT NULL,
    tiny smallint NOT NULL,
    small smallint NOT NULL,
    int integer NOT NULL,
    big bigint NOT NULL,
    unsigned_tiny smallint NOT NULL,
    unsigned_small integer NOT NULL,
    unsigned_int bigint NOT NULL,
    unsigned_big numeric(20, 0) NOT NULL,
    real real NOT NULL,
    double double precision NOT NULL,
    bytes bytea NOT NULL,
    decimal numeric NOT NULL,
    big_decimal numeric NOT NULL,
    date date NOT NULL,
    time_of_day time NOT NULL,
    timestamp timestamp NOT NULL,
    timestamptz timestamptz NOT NULL,
    time_date date NOT NULL,
    time_time time NOT NULL,
    time_primitive timestamp NOT NULL,
    time_offset timestamptz NOT NULL,
    json jsonb NOT NULL,
    texts text[] NOT NULL,
    ints bigint[] NOT NULL,
    doubles double precision[] NOT NULL,
    decimals numeric[] NOT NULL,
    uuids uuid[] NOT NULL,
    stamps timestamptz[] NOT NULL,
    blobs bytea[] NOT NULL,
    mood mood NOT NULL,
    label text NOT NULL,
    maybe_text text,
    maybe_int integer,
    maybe_double double precision,
    maybe_decimal numeric,
    maybe_bytes bytea,
    maybe_json jsonb,
    maybe_texts text[],
    maybe_mood mood,
    maybe_label text,
    maybe_timestamptz timestamptz
);

CREATE TABLE wide (
    id bigint PRIMARY KEY,
    c1 integer, c2 integer, c3 integer, c4 integer, c5 integer, c6 integer, c7 integer, c8
    integer, c9 integer, c10 integer, c11 integer, c12 integer, c13 integer, c14 integer, c15
    integer, c16 integer, c17 integer, c18 integer, c19 integer, c20 integer, c21 integer, c22
    integer, c23 integer, c24 integer, c25 integer, c26 integer, c27 integer, c28 integer, c29
    integer, c30 integer, c31 integer, c32 integer, c33 integer, c34 integer, c35 integer, c36
    integer, c37 integer, c38 integer, c39 integer, c40 integer, c41 integer, c42 integer, c43
    integer, c44 integer, c45 integer, c46 integer, c47 integer, c48 integer, c49 integer, c50
    integer, c51 integer, c52 integer, c53 integer, c54 integer, c55 integer, c56 integer, c57
    integer, c58 integer, c59 integer, c60 integer, c61 integer, c62 integer, c63 integer, c64
    integer, c65 integer, c66 integer, c67 integer, c68 integer, c69 integer, c70 integer, c71
    integer, c72 integer, c73 integer, c74 integer, c75 integer, c76 integer, c77 integer, c78
    integer, c79 integer, c80 integer, c81 integer, c82 integer, c83 integer, c84 integer, c85
    integer, c86 integer, c87 integer, c88 integer, c89 integer, c90 integer, c91 integer, c92
    integer, c93 integer, c94 integer, c95 integer, c96 integer, c97 integer, c98 integer, c99
    integer, c100 integer, c101 integer, c102 integer, c103 integer, c104 integer, c105 integer,
    c106 integer, c107 integer, c108 integer, c109 integer, c110 integer, c111 integer, c112
    integer, c113 integer, c114 integer, c115 integer, c116 integer, c117 integer, c118 integer,
    c119 integer, c120 integer, c121 integer, c122 integer, c123 integer, c124 integer, c125
    integer, c126 integer, c127 integer
);

CREATE TABLE flights (
    flight text PRIMARY KEY,
    taken integer NOT NULL
);

CREATE TABLE members (
    id bigint PRIMARY KEY,
    tenant_id bigint NOT NULL,
    email text NOT NULL,
    badge text UNIQUE DEFERRABLE,
    code numeric UNIQUE DEFERRABLE,
    team text,
    UNIQUE (tenant_id, email) DEFERRABLE
);

CREATE INDEX ON members (team);
