//! Large objects.
use crate::cluster::Cluster;
use crate::collection::Collection;
use crate::error::{Error, Result};
use crate::kind::{Alter, Definition, DropBehavior, Kind, Known, Sealed, Which, comment, one_of};
use crate::object::Object;
use crate::row::Row;
use crate::script::Script;
use crate::seen::Seen;
use crate::sql::{Data, Ident, Sql};
use crate::version::ServerVersion;
use bytes::Bytes;
use postgres::error::SqlState;
use postgres::types::Type;
use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};

/// How many bytes travel at once. A multiple of the page of a large object, so that no page is written twice.
const CHUNK: usize = 512 * 1024;

/// `INV_READ` and `INV_WRITE`: how a large object is opened.
const READ: i32 = 0x40000;
const WRITE: i32 = 0x20000;

/// A large object ([Large Objects](https://www.postgresql.org/docs/current/largeobjects.html)): bytes
/// under a number, up to 4 TB of them.
///
/// [`key`](Object::key) is its number. The bytes are no field. They are read and written by the functions of
/// [`Object<LargeObject>`](Object#impl-Object<LargeObject>), in chunks, so that a large object is never in memory as
/// a whole; [`script`](Object::script) is an error for one that is not empty.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct LargeObject {
    /// The owner; empty for the role that creates it.
    pub owner: String,
    /// The comment.
    pub comment: Option<String>,
    oid: u32,
    /// Whether the server has it.
    made: bool,
    uncovered: Vec<String>,
    contents: Known<LargeObjectContents>,
}

/// What is known of a large object's bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LargeObjectContents {
    size: u64,
}

impl LargeObject {
    /// An empty large object of that number. To have the server choose the number:
    /// [`create_empty`](Collection::create_empty).
    pub fn new(oid: u32) -> Self {
        Self {
            owner: String::new(),
            comment: None,
            oid,
            made: false,
            uncovered: Vec::new(),
            contents: Known::default(),
        }
    }
}

impl Cluster {
    /// The large objects of the current database. The system has none of its own.
    pub fn large_objects(&self) -> Collection<LargeObject> {
        Collection::new(self)
    }
}

impl Collection<LargeObject> {
    /// Makes an empty large object; the server chooses its number. In a plan the number is one that
    /// is free now, and applying the plan fails if somebody takes it meanwhile.
    ///
    /// # Errors
    /// [`Error::Server`], [`Error::Denied`]
    pub fn create_empty(&self) -> Result<Object<LargeObject>> {
        let (action, session) = ("create a large object", self.cluster().session());
        if self.cluster().plan_in_progress()?.is_some() {
            let rows = session.run(action, &[free_number()])?;
            let row = rows.iter().flatten().next().ok_or_else(|| Error::NotFound { what: "free number".into() })?;
            return self.create(LargeObject::new(row.number("oid")?));
        }
        let _turn = session.turn();
        let (made, within) = session.atomically(action, |transaction| {
            let answers = transaction.send(&[sql!("SELECT pg_catalog.lo_create(0)::text AS oid")])?;
            let oid: Option<u32> = answers.iter().flatten().next().map(|row| row.number("oid")).transpose()?;
            let look = LargeObject::query(Which::Oids(&[oid.unwrap_or_default()]), self.cluster().version());
            let answers = transaction.send(&[look])?;
            answers.iter().flatten().next().map(LargeObject::read).transpose()
        })?;
        let made = made.ok_or_else(|| Error::NotFound { what: "the large object just made".into() })?;
        let made = Seen::new(made, within);
        self.cluster().saw(None, &made);
        Ok(Object::seen(self.cluster(), made))
    }

    /// Makes a large object of all that a reader gives, or none at all if that fails. In a plan as for
    /// [`create_empty`](Collection::create_empty) and [`import`](Object::import).
    ///
    /// # Errors
    /// [`Error::Io`] if the reader fails.
    pub fn create_from(&self, reader: impl Read) -> Result<Object<LargeObject>> {
        let mut reader = reader;
        let mut make = || {
            let mut object = self.create_empty()?;
            object.import(&mut reader)?;
            Ok(object)
        };
        match self.cluster().plan_in_progress()? {
            Some(_) => make(),
            None => self.cluster().session().transaction("create a large object", make),
        }
    }
}

/// A number that no large object has; random, so that two plans hardly meet.
fn free_number() -> Sql {
    sql!(
        "SELECT n::text AS oid FROM (SELECT 16384 + (pg_catalog.random() * 2000000000)::bigint AS n \
         FROM pg_catalog.generate_series(1, 100)) AS candidates WHERE NOT EXISTS \
         (SELECT FROM pg_catalog.pg_largeobject_metadata m WHERE m.oid = n::pg_catalog.oid) LIMIT 1"
    )
}

impl Object<LargeObject> {
    /// How many bytes it has.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Denied`]
    pub fn size(&self) -> Result<u64> {
        let action = format!("read the size of {}", self.title());
        let question = size_of(sql!("{}", self.server().oid));
        let answers = self.cluster().session().run(&action, &[question]).map_err(|error| self.or_gone(error))?;
        answers.iter().flatten().next().ok_or_else(|| self.not_found())?.number("size")
    }

    /// Reads up to `length` bytes from `offset` on: fewer, or none, where it ends before.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Denied`]; [`Error::Invalid`] for an offset of more than 2⁶³.
    pub fn read_at(&self, offset: u64, length: usize) -> Result<Bytes> {
        if length > CHUNK {
            let mut bytes = Vec::new();
            self.stream(offset, Some(length), |chunk| {
                bytes.extend_from_slice(chunk);
                Ok(())
            })?;
            return Ok(bytes.into());
        }
        let action = format!("read {}", self.title());
        let question = sql!("SELECT pg_catalog.lo_get({}, {}, {})", self.server().oid, position(offset)?, length);
        self.bytes(&action, &question).map(Bytes::from)
    }

    /// Writes all bytes into a writer, as they are at one moment; returns how many there were.
    ///
    /// # Errors
    /// [`Error::Io`] if the writer fails; [`Error::NotFound`], [`Error::Denied`].
    pub fn export(&self, writer: impl Write) -> Result<u64> {
        let mut writer = writer;
        let failed = |error| Error::io(format!("export {}", self.title()), error);
        let total = self.stream(0, None, |chunk| writer.write_all(chunk).map_err(failed))?;
        writer.flush().map_err(failed)?;
        Ok(total)
    }

    /// Writes bytes at an offset, all or nothing. The object grows as needed; what was never
    /// written before the offset reads as zeros. In a plan the bytes are kept in memory.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Denied`]; [`Error::Invalid`] for an offset of more than 2⁶³.
    pub fn write_at(&mut self, offset: u64, data: &[u8]) -> Result<()> {
        let end = offset.saturating_add(data.len() as u64);
        position(end)?;
        if self.cluster().plan_in_progress()?.is_some() {
            if data.is_empty() {
                return Ok(());
            }
            let chunks = self.chunks(offset, data)?;
            self.perform("write to", chunks)?;
            return self.wrote(end);
        }
        let action = format!("write to {}", self.title());
        if data.len() <= CHUNK {
            self.put(&action, offset, data)?;
        } else {
            self.cluster().session().transaction(&action, || {
                let mut at = offset;
                data.chunks(CHUNK).try_for_each(|chunk| {
                    self.put(&action, at, chunk)?;
                    at += chunk.len() as u64;
                    Ok(())
                })
            })?;
        }
        self.wrote(end)
    }

    /// Makes it as long as `length`, in bytes: cuts it off, or fills it up with zeros.
    ///
    /// # Errors
    /// [`Error::Conflict`] if it was dropped, [`Error::Denied`].
    pub fn truncate(&mut self, length: u64) -> Result<()> {
        let statement = cut(self.server().oid, position(length)?);
        self.perform("truncate", statement.into())?;
        self.wrote(length)
    }

    /// Replaces the contents by all that a reader gives, or leaves them as they were if that fails;
    /// returns how many bytes there were. In a plan the reader is read now, and the bytes are kept in memory.
    ///
    /// # Errors
    /// [`Error::Io`] if the reader fails; [`Error::NotFound`], [`Error::Denied`].
    pub fn import(&mut self, reader: impl Read) -> Result<u64> {
        let mut reader = reader;
        let action = format!("import into {}", self.title());
        let oid = self.server().oid;
        if self.cluster().plan_in_progress()?.is_some() {
            let mut script = Script::from(cut(oid, 0));
            let total = each_chunk(&mut reader, &action, |at, chunk| {
                script.push(put(oid, position(at)?, chunk));
                Ok(())
            })?;
            self.perform("import into", script)?;
            self.wrote(total)?;
            return Ok(total);
        }
        let session = self.cluster().session();
        let total = session.transaction(&action, || {
            session.run(&action, &[cut(oid, 0)]).map_err(|error| self.or_gone(error))?;
            each_chunk(&mut reader, &action, |at, chunk| self.put(&action, at, chunk))
        })?;
        self.wrote(total)?;
        Ok(total)
    }

    /// Reads in chunks, through one descriptor: it shows the bytes as they were when it was opened.
    fn stream(&self, offset: u64, length: Option<usize>, mut sink: impl FnMut(&[u8]) -> Result<()>) -> Result<u64> {
        let action = format!("read {}", self.title());
        let (session, oid, offset) = (self.cluster().session(), self.server().oid, position(offset)?);
        session.transaction(&action, || {
            let open = sql!("SELECT pg_catalog.lo_open({}, {})::text AS descriptor", oid, READ);
            let answers = session.run(&action, &[open]).map_err(|error| self.or_gone(error))?;
            let descriptor: i32 =
                answers.iter().flatten().next().ok_or_else(|| self.not_found())?.number("descriptor")?;
            session.run(&action, &[sql!("SELECT pg_catalog.lo_lseek64({}, {}, 0)", descriptor, offset)])?;
            let mut total = 0;
            loop {
                let want = length.map_or(CHUNK as u64, |length| (length as u64 - total).min(CHUNK as u64));
                let chunk = match want {
                    0 => Vec::new(),
                    want => self.bytes(&action, &sql!("SELECT pg_catalog.loread({}, {})", descriptor, want))?,
                };
                if chunk.is_empty() {
                    break;
                }
                sink(&chunk)?;
                total += chunk.len() as u64;
            }
            session.run(&action, &[sql!("SELECT pg_catalog.lo_close({})", descriptor)])?;
            Ok(total)
        })
    }

    /// The bytes that a query returns.
    fn bytes(&self, action: &str, question: &Sql) -> Result<Vec<u8>> {
        let rows = self.cluster().session().typed(action, question, &[]).map_err(|error| self.or_gone(error))?;
        let row = rows.first().ok_or_else(|| self.not_found())?;
        row.try_get(0).map_err(|error| Error::driver(action, &error))
    }

    fn put(&self, action: &str, offset: u64, chunk: &[u8]) -> Result<()> {
        let (oid, offset) = (self.server().oid, position(offset)?);
        let parameters: [(&(dyn postgres::types::ToSql + Sync), Type); 3] =
            [(&oid, Type::OID), (&offset, Type::INT8), (&chunk, Type::BYTEA)];
        let statement = sql!("SELECT pg_catalog.lo_put($1, $2, $3)");
        let written = self.cluster().session().typed(action, &statement, &parameters);
        written.map(drop).map_err(|error| self.or_gone(error))
    }

    fn chunks(&self, offset: u64, data: &[u8]) -> Result<Script> {
        let mut script = Script::new();
        let mut at = offset;
        for chunk in data.chunks(CHUNK) {
            script.push(put(self.server().oid, position(at)?, chunk));
            at += chunk.len() as u64;
        }
        Ok(script)
    }

    /// Takes over that bytes were written, up to this one. Of one in a plan the server has not heard;
    /// any other may have been written to by others too.
    fn wrote(&mut self, end: u64) -> Result<()> {
        let planned = self.cluster().plan_in_progress()?.is_some();
        self.saw_definition(planned.then_some(LargeObjectContents { size: end }));
        Ok(())
    }

    fn or_gone(&self, error: Error) -> Error {
        if error.code() == Some(&SqlState::UNDEFINED_OBJECT) { self.not_found() } else { error }
    }
}

/// What the server takes as an offset or a length.
fn position(bytes: u64) -> Result<i64> {
    bytes.try_into().map_err(|_| Error::invalid(format!("position {bytes}"), "a large object has 4 TB at most"))
}

fn put(oid: u32, offset: i64, chunk: &[u8]) -> Sql {
    sql!("SELECT pg_catalog.lo_put({}, {}, {})", oid, offset, Data(chunk))
}

fn cut(oid: u32, length: i64) -> Sql {
    sql!("SELECT pg_catalog.lo_truncate64(pg_catalog.lo_open({}, {}), {})", oid, WRITE, length)
}

fn size_of(oid: Sql) -> Sql {
    sql!("SELECT pg_catalog.lo_lseek64(pg_catalog.lo_open({}, {}), 0, 2)::text AS size", oid, READ)
}

/// Reads all of a reader; each chunk but the last is full. Returns how many bytes there were.
fn each_chunk(reader: &mut impl Read, action: &str, mut f: impl FnMut(u64, &[u8]) -> Result<()>) -> Result<u64> {
    let mut chunk = Vec::with_capacity(CHUNK);
    let mut at = 0;
    loop {
        chunk.clear();
        let read = loop {
            match reader.take((CHUNK - chunk.len()) as u64).read_to_end(&mut chunk) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                result => break result,
            }
        };
        read.map_err(|error| Error::io(action, error))?;
        if chunk.is_empty() {
            return Ok(at);
        }
        f(at, &chunk)?;
        at += chunk.len() as u64;
    }
}

impl Definition for LargeObjectContents {
    fn queries(object: Option<u32>, _: &ServerVersion) -> Vec<Sql> {
        let one = |oid: u32| {
            let size = size_of(sql!("m.oid"));
            sql!("{}, m.oid::text AS object FROM pg_catalog.pg_largeobject_metadata m WHERE m.oid = {}", size, oid)
        };
        // For all of them it would have to open each.
        object.map(one).into_iter().collect()
    }

    fn read(answers: &[Vec<Row>]) -> Result<BTreeMap<u32, Self>> {
        let rows = answers.iter().flatten();
        rows.map(|row| Ok((row.number("object")?, Self { size: row.number("size")? }))).collect()
    }
}

fields! { LargeObject { owner, comment } but oid, made, uncovered, contents }

impl Sealed for LargeObject {}

impl Kind for LargeObject {
    type Key = u32;
    type Definition = LargeObjectContents;
    const KIND: &'static str = "large object";

    fn query(which: Which<'_, u32>, _: &ServerVersion) -> Sql {
        let filter = match which {
            Which::All | Which::WithSystem => sql!("true"),
            Which::Key(oid) => sql!("m.oid = {}", *oid),
            Which::Oids(oids) => one_of("m.oid", oids),
        };
        sql!(
            "SELECT m.oid::text, pg_catalog.pg_get_userbyid(m.lomowner) AS owner, \
             pg_catalog.obj_description(m.oid, 'pg_largeobject') AS comment, \
             pg_catalog.array_remove(ARRAY[CASE WHEN m.lomacl IS NOT NULL THEN 'privileges' END, \
             CASE WHEN EXISTS (SELECT FROM pg_catalog.pg_seclabel l WHERE l.objoid = m.oid \
             AND l.classoid = 'pg_catalog.pg_largeobject'::pg_catalog.regclass) THEN 'security label' END], NULL)::text AS uncovered \
             FROM pg_catalog.pg_largeobject_metadata m WHERE {}",
            filter
        )
    }

    fn read(row: &Row) -> Result<Self> {
        Ok(Self {
            owner: row.text("owner")?,
            comment: row.optional("comment")?,
            oid: row.number("oid")?,
            made: true,
            uncovered: row.list("uncovered")?,
            contents: Known::default(),
        })
    }

    fn key(&self) -> u32 {
        self.oid
    }

    fn oid(&self) -> u32 {
        if self.made { self.oid } else { 0 }
    }

    fn uncovered(&self) -> Vec<String> {
        let mut uncovered = self.uncovered.clone();
        if self.contents.get().is_some_and(|contents| contents.size > 0) {
            uncovered.push("contents".into());
        }
        uncovered
    }

    fn definition_cell(&self) -> Option<&Known<LargeObjectContents>> {
        Some(&self.contents)
    }

    fn definition_cell_mut(&mut self) -> Option<&mut Known<LargeObjectContents>> {
        Some(&mut self.contents)
    }

    fn to_create(&self, _: &ServerVersion) -> Script {
        let Self { owner, comment: text, oid, made: _, uncovered: _, contents: _ } = self;
        let mut script = Script::from(sql!("SELECT pg_catalog.lo_create({})", *oid));
        if !owner.is_empty() {
            script.push(sql!("ALTER LARGE OBJECT {} OWNER TO {}", *oid, Ident(owner)));
        }
        if text.is_some() {
            script.push(comment("COMMENT ON LARGE OBJECT", *oid, text.as_deref()));
        }
        if *oid == 0 {
            let why = "the server would choose another number; call `create_empty` or `create_from` for that";
            script.refuse(Error::invalid("number 0 of a large object", why));
        }
        script
    }

    fn to_alter(&self, wanted: &Self, _: &ServerVersion) -> Script {
        let Self { owner, comment, oid: _, made: _, uncovered: _, contents: _ } = wanted;
        let mut alter = Alter::new("ALTER LARGE OBJECT", self.oid, "");
        alter.owner(&self.owner, owner);
        alter.comment("COMMENT ON LARGE OBJECT", &self.comment, comment);
        alter.finish()
    }

    fn to_drop(&self, _: DropBehavior, _: &ServerVersion) -> Script {
        sql!("SELECT pg_catalog.lo_unlink({})", self.oid).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_made_changed_and_dropped_by_its_number() {
        let version = ServerVersion::parse("15.3").unwrap();
        let old = LargeObject { owner: "a".into(), ..LargeObject::new(4_000_000_000) };
        let new = LargeObject { owner: "b\"".into(), comment: Some("it's".into()), ..old.clone() };
        assert_eq!(
            old.to_alter(&new, &version).to_string(),
            "ALTER LARGE OBJECT 4000000000 OWNER TO \"b\"\"\";\nCOMMENT ON LARGE OBJECT 4000000000 IS 'it''s';\n"
        );
        assert_eq!(
            new.to_create(&version).to_string(),
            "SELECT pg_catalog.lo_create(4000000000);\nALTER LARGE OBJECT 4000000000 OWNER TO \"b\"\"\";\n\
             COMMENT ON LARGE OBJECT 4000000000 IS 'it''s';\n"
        );
        let drop = old.to_drop(DropBehavior::Restrict, &version).to_string();
        assert_eq!(drop, "SELECT pg_catalog.lo_unlink(4000000000);\n");
        assert!(matches!(LargeObject::new(0).to_create(&version).check(), Err(Error::Invalid { .. })));
    }

    #[test]
    fn chunks_are_full_whatever_the_reader_gives_at_once() {
        struct Slow(usize);
        impl Read for Slow {
            fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
                let count = buffer.len().min(1000).min(self.0);
                self.0 -= count;
                Ok(count)
            }
        }
        let mut seen = Vec::new();
        let total = each_chunk(&mut Slow(CHUNK + 7), "test", |at, chunk| {
            seen.push((at, chunk.len()));
            Ok(())
        });
        assert_eq!(total.unwrap(), CHUNK as u64 + 7);
        assert_eq!(seen, [(0, CHUNK), (CHUNK as u64, 7)]);
    }
}
