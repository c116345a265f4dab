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

-- What PostgreSQL's own regression tests leave behind, one of each sort.
CREATE TYPE app.word;
CREATE FUNCTION app.word_in(cstring) RETURNS app.word IMMUTABLE STRICT LANGUAGE internal AS 'textin';
CREATE FUNCTION app.word_out(app.word) RETURNS cstring IMMUTABLE STRICT LANGUAGE internal AS 'textout';
CREATE TYPE app.word (INPUT = app.word_in, OUTPUT = app.word_out, LIKE = text);
CREATE TYPE app.unfinished;
CREATE CAST (app.word AS text) WITHOUT FUNCTION AS ASSIGNMENT;
CREATE CAST (app.mood AS integer) WITH INOUT;
CREATE DOMAIN app.small_pair AS app.pair CHECK ((VALUE).a < 10);
CREATE TABLE app.words (t app.word, pairs app.small_pair, shares app.percent[] DEFAULT '{}', gone integer);
ALTER TABLE app.words DROP COLUMN gone, ALTER t SET STORAGE EXTERNAL, ALTER t SET STATISTICS 7;
INSERT INTO app.words VALUES ('a "word"', '(1,x)', '{1,2}'), (NULL, NULL, NULL);
ALTER TABLE app.words REPLICA IDENTITY FULL;
CREATE FUNCTION app.apart(integer, integer) RETURNS integer IMMUTABLE STRICT LANGUAGE sql
    AS 'SELECT CASE WHEN $1 > $2 THEN -1 WHEN $1 < $2 THEN 1 ELSE 0 END';
CREATE OPERATOR FAMILY app.backwards USING btree;
CREATE OPERATOR CLASS app.backwards_ops FOR TYPE integer USING btree FAMILY app.backwards AS
    OPERATOR 1 >, OPERATOR 2 >=, OPERATOR 3 =, OPERATOR 4 <=, OPERATOR 5 <, FUNCTION 1 app.apart(integer, integer);
CREATE INDEX backwards ON app.parent (x app.backwards_ops);
CREATE FUNCTION app.same(a integer, b integer) RETURNS boolean IMMUTABLE LANGUAGE sql AS 'SELECT a = b';
CREATE OPERATOR app.=== (leftarg = integer, rightarg = integer, function = app.same, commutator = OPERATOR(app.===), restrict = eqsel);
CREATE ACCESS METHOD another_heap TYPE TABLE HANDLER heap_tableam_handler;
CREATE TABLE app.elsewhere (x integer) USING another_heap;
INSERT INTO app.elsewhere VALUES (7);
CREATE TEXT SEARCH DICTIONARY app.short (TEMPLATE = pg_catalog.simple);
CREATE TEXT SEARCH TEMPLATE app.plain_words (LEXIZE = dsimple_lexize, INIT = dsimple_init);
CREATE TEXT SEARCH PARSER app.parser (START = prsd_start, GETTOKEN = prsd_nexttoken, END = prsd_end, LEXTYPES = prsd_lextype);
CREATE CONVERSION app.through FOR 'LATIN1' TO 'UTF8' FROM iso8859_1_to_utf8;
CREATE TRANSFORM FOR integer LANGUAGE sql (FROM SQL WITH FUNCTION prsd_lextype(internal));
CREATE USER MAPPING FOR PUBLIC SERVER far OPTIONS (user 'it''s me');
ALTER FOREIGN TABLE app.abroad ALTER x OPTIONS (ADD name 'y');
CREATE FUNCTION app.look() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';
CREATE EVENT TRIGGER watchful ON ddl_command_start WHEN TAG IN ('CREATE CAST') EXECUTE FUNCTION app.look();
ALTER EVENT TRIGGER watchful DISABLE;
CREATE PUBLICATION inserts WITH (publish = 'insert');
CREATE TABLE app.of_pair OF app.pair (PRIMARY KEY (a));
CREATE TABLE app.one (a integer, b integer DEFAULT 1 CONSTRAINT positive CHECK (b > 0));
CREATE TABLE app.two (b integer DEFAULT 2, c integer);
CREATE TABLE app.both (d integer, b integer DEFAULT 3) INHERITS (app.one, app.two);
INSERT INTO app.both VALUES (1, 2, 3, 4);
ALTER TABLE app.one ADD CONSTRAINT later CHECK (a < 100) NOT VALID;
CREATE TABLE app.places (region text, n integer, PRIMARY KEY (region, n)) PARTITION BY LIST (region);
CREATE TABLE app.north PARTITION OF app.places FOR VALUES IN ('n', NULL) PARTITION BY HASH (n);
CREATE TABLE app.north_0 PARTITION OF app.north FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE app.north_1 (n integer NOT NULL, region text NOT NULL);
ALTER TABLE app.north ATTACH PARTITION app.north_1 FOR VALUES WITH (MODULUS 2, REMAINDER 1);
INSERT INTO app.places SELECT 'n', n FROM generate_series(1, 20) n;
CREATE TABLE app.visits (region text, n integer, FOREIGN KEY (region, n) REFERENCES app.places ON DELETE CASCADE);
INSERT INTO app.visits VALUES ('n', 1), (NULL, 5);
CREATE TRIGGER touch AFTER UPDATE ON app.places FOR EACH ROW WHEN (OLD.n <> NEW.n) EXECUTE FUNCTION app.touch();
CREATE CONSTRAINT TRIGGER late AFTER INSERT ON app.one DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION app.touch();
ALTER TABLE app.one DISABLE TRIGGER late;
CREATE VIEW app.looped AS SELECT 1 AS x;
CREATE VIEW app.looping AS SELECT x FROM app.looped;
CREATE OR REPLACE VIEW app.looped AS SELECT 1 AS x WHERE EXISTS (SELECT FROM app.people);
CREATE VIEW app.writable AS SELECT x FROM app.parent WHERE x > 0 WITH CASCADED CHECK OPTION;
ALTER VIEW app.writable ALTER x SET DEFAULT 4;
CREATE RULE noted AS ON INSERT TO app.writable DO ALSO NOTIFY "a 'channel'";
CREATE AGGREGATE app.middle (float8 ORDER BY integer) (sfunc = ordered_set_transition, stype = internal,
    finalfunc = percentile_disc_final, finalfunc_extra);
CREATE FUNCTION app.rows(VARIADIC n integer[] DEFAULT '{1}') RETURNS TABLE (a integer, b text) LANGUAGE sql COST 7 ROWS 3
    SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS 'SELECT unnest(n), ''b''';
CREATE SEQUENCE app.downwards AS smallint INCREMENT -2 CYCLE CACHE 3;
ALTER TABLE app.people FORCE ROW LEVEL SECURITY;
CLUSTER app.people USING people_pkey;
COMMENT ON CONSTRAINT positive ON app.one IS E'of a\nconstraint';
