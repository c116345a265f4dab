-- A little of everything that a database can hold, with names that need quotes.
CREATE SCHEMA app;
CREATE SCHEMA "We.ird ""one""";
CREATE TYPE app.mood AS ENUM ('sad', 'it''s ok', 'happy');
CREATE TYPE app.pair AS (a integer, b text);
CREATE TYPE app.span AS RANGE (subtype = integer);
CREATE DOMAIN app.percent AS integer DEFAULT 1 CHECK (VALUE BETWEEN 0 AND 100);
CREATE COLLATION app.plain (provider = libc, locale = 'C');
CREATE SEQUENCE app.numbers INCREMENT 5 MAXVALUE 5000 START 10;
SELECT nextval('app.numbers'), nextval('app.numbers');

CREATE TABLE app.people (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL COLLATE app.plain,
    mood app.mood DEFAULT 'happy',
    share app.percent,
    doubled integer GENERATED ALWAYS AS (2 * 21) STORED,
    pair app.pair,
    during app.span,
    CONSTRAINT "not empty" CHECK (name <> ''),
    EXCLUDE USING gist (during WITH &&)
);
COMMENT ON TABLE app.people IS E'a ''comment''\nof two lines \\ and more';
COMMENT ON COLUMN app.people.name IS 'the name';
INSERT INTO app.people (name, mood, share, pair, during)
    SELECT 'person ' || n, 'it''s ok'::app.mood, n % 100, ROW(n, E'tab\t, back\\slash, \n, ü')::app.pair, int4range(n * 10, n * 10 + 5)::text::app.span
    FROM generate_series(1, 500) n;
CREATE TABLE app.orders (
    id integer PRIMARY KEY DEFAULT nextval('app.numbers'),
    person bigint REFERENCES app.people DEFERRABLE INITIALLY DEFERRED,
    at timestamptz NOT NULL,
    data bytea,
    notes jsonb
);
INSERT INTO app.orders
    SELECT n, n, timestamptz '2026-01-01 00:00+00' + n * interval '1 hour', decode('00ff5c0a', 'hex'), '{"a": [1, null, "x"]}'
    FROM generate_series(1, 300) n;
SET CONSTRAINTS ALL IMMEDIATE;
ALTER SEQUENCE app.numbers OWNED BY app.orders.id;
CREATE INDEX "orders by day" ON app.orders (date_trunc('day', at AT TIME ZONE 'UTC') DESC) WHERE person IS NOT NULL;
CREATE STATISTICS app.related ON person, at FROM app.orders;
CREATE UNLOGGED TABLE app.fleeting (x integer);
INSERT INTO app.fleeting VALUES (1);

CREATE TABLE "We.ird ""one""".parts (day date NOT NULL, amount numeric(12, 3)) PARTITION BY RANGE (day);
CREATE TABLE "We.ird ""one""".parts_2026 PARTITION OF "We.ird ""one""".parts FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
CREATE TABLE "We.ird ""one""".rest PARTITION OF "We.ird ""one""".parts DEFAULT;
CREATE INDEX ON "We.ird ""one""".parts (amount);
INSERT INTO "We.ird ""one""".parts SELECT date '2025-12-25' + n, n / 7.0 FROM generate_series(1, 100) n;
CREATE TABLE app.parent (x integer);
CREATE TABLE app.child (y text) INHERITS (app.parent);
INSERT INTO app.parent VALUES (1), (2);
INSERT INTO app.child VALUES (3, 'c');
CREATE TABLE "We.ird ""one""".empty ();

CREATE FUNCTION app.twice(x integer, OUT y integer) IMMUTABLE LANGUAGE sql AS 'SELECT 2 * x';
CREATE FUNCTION app.touch() RETURNS trigger LANGUAGE plpgsql AS $body$
BEGIN
    -- a "body" with 'quotes', $tags$ and a semicolon;
    NEW.notes := coalesce(NEW.notes, '{}');
    RETURN NEW;
END $body$;
CREATE PROCEDURE app.nothing() LANGUAGE sql AS 'SELECT 1';
CREATE AGGREGATE app.total (integer) (sfunc = int4pl, stype = integer, initcond = '0');
CREATE OPERATOR app.<+> (leftarg = integer, rightarg = integer, function = int4pl);
CREATE TRIGGER touch BEFORE INSERT OR UPDATE ON app.orders FOR EACH ROW EXECUTE FUNCTION app.touch();
CREATE RULE quiet AS ON DELETE TO app.people DO INSTEAD NOTHING;
ALTER TABLE app.people ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON app.people FOR SELECT USING (name = current_user);
CREATE VIEW app.busy WITH (security_barrier) AS
    SELECT p.name, count(*) AS orders FROM app.people p JOIN app.orders o ON o.person = p.id GROUP BY p.name;
CREATE MATERIALIZED VIEW app.sums AS SELECT sum(amount) AS amount FROM "We.ird ""one""".parts;
CREATE UNIQUE INDEX ON app.sums (amount);
CREATE TEXT SEARCH CONFIGURATION app.simple (COPY = pg_catalog.simple);
CREATE PUBLICATION everything FOR TABLE app.orders;
CREATE FOREIGN DATA WRAPPER nowhere;
CREATE SERVER far FOREIGN DATA WRAPPER nowhere OPTIONS (host 'it''s far');
CREATE FOREIGN TABLE app.abroad (x integer) SERVER far;
ALTER DEFAULT PRIVILEGES IN SCHEMA app GRANT SELECT ON TABLES TO PUBLIC;
GRANT SELECT (name), UPDATE (mood) ON app.people TO PUBLIC;
GRANT USAGE ON SCHEMA app TO PUBLIC;
SELECT lo_from_bytea(424242, decode(repeat('00ff5c', 50000), 'hex'));
COMMENT ON LARGE OBJECT 424242 IS 'bytes';
GRANT SELECT ON LARGE OBJECT 424242 TO PUBLIC;
