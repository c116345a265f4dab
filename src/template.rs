//! The names in SQL that stand for a module's own: `{{schema}}`, `{{tables.users}}`, `{{tables.other.users}}`.
use crate::error::{Error, Result};
use crate::sql::{Fragment, Ident, LONGEST};
use crate::statements::Shape;
use crate::statements::token::{Token, Unended, begins_word, continues_word, token};
use std::borrow::Cow;

/// A schema, and how SQL that does not know it names what is in it.
///
/// | in the text | becomes, for the schema `shop` |
/// |---|---|
/// | `{{schema}}` | `"shop"` |
/// | `{{tables.users}}` | `"shop"."users"` |
/// | `{{tables.other.users}}` | `"other"."users"`: a table of the schema `other` |
///
/// Names are taken as they stand and quoted, so that upper case and reserved words are names too; a name consists of
/// letters, digits, `_` and `$`, and begins with no digit. What is said of tables holds for views, sequences and
/// routines. There are no blanks within the braces.
///
/// Templates are replaced where SQL is code, which includes the bodies in dollar quotes of `DO`, `CREATE FUNCTION` and
/// `CREATE PROCEDURE` in the languages `sql` and `plpgsql`. Strings, also those in dollar quotes within such a body, names in
/// double quotes, comments, and bodies in other languages are left as they are
/// ([Lexical Structure](https://www.postgresql.org/docs/current/sql-syntax-lexical.html)). Text is read with
/// `standard_conforming_strings` on, as PostgreSQL has it by default.
///
/// ```
/// use pgsteward::Templates;
///
/// let templates = Templates::new("shop")?;
/// let sql = templates.replace("SELECT '{{schema}}' FROM {{tables.order}} -- {{schema}}")?;
/// assert_eq!(sql, r#"SELECT '{{schema}}' FROM "shop"."order" -- {{schema}}"#);
/// assert!(templates.replace("SELECT {{table}}").is_err());
/// # Ok::<(), pgsteward::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Templates {
    schema: String,
    quoted: String,
}

impl Templates {
    /// The templates of a schema, whose name is taken as it stands. For what has no schema of its own it is `public`.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a name that no schema can have: an empty one, one of more than 63 bytes, one with a NUL.
    pub fn new(schema: impl Into<String>) -> Result<Self> {
        let schema = schema.into();
        let quoted = checked(&Ident(&schema))?;
        Ok(Self { schema, quoted })
    }

    /// The name of the schema, without quotes.
    pub fn schema(&self) -> &str {
        &self.schema
    }

    /// The text with its templates replaced; the text itself if it has none. The data of a `COPY ... FROM STDIN` are no
    /// SQL and must not be in it.
    ///
    /// # Errors
    /// [`Error::Invalid`] with the line and the column, in characters from 1: braces in code that are no template; a
    /// template that something stands right beside, so that it would become another name; a name of more than 63 bytes;
    /// a string, comment or quoted name that is not closed; a schema whose name would end the dollar quotes around it.
    pub fn replace<'t>(&self, sql: &'t str) -> Result<Cow<'t, str>> {
        if !has_braces(sql) {
            return Ok(Cow::Borrowed(sql));
        }
        let replaced = String::with_capacity(sql.len() + 2 * self.quoted.len());
        let mut replacing = Replacing { templates: self, text: sql, copied: 0, replaced, delimiters: Vec::new() };
        replacing.code(0, sql.len())?;
        Ok(replacing.end())
    }
}

/// The fragment as text, if a server would take it.
fn checked(fragment: &impl Fragment) -> Result<String> {
    let sql = sql!("{}", fragment);
    sql.check()?;
    Ok(sql.text().into())
}

fn has_braces(text: &str) -> bool {
    let text = text.as_bytes();
    // Most texts have no brace at all, and that is told fastest.
    (text.contains(&b'{') || text.contains(&b'}')) && text.windows(2).any(|pair| pair == b"{{" || pair == b"}}")
}

struct Replacing<'t, 's> {
    templates: &'s Templates,
    text: &'t str,
    /// How much of the text is in `replaced`.
    copied: usize,
    replaced: String,
    /// The dollar quotes around the code.
    delimiters: Vec<&'t str>,
}

/// How deep bodies may stand in bodies.
const DEEPEST: usize = 16;

impl<'t> Replacing<'t, '_> {
    fn part(&self, from: usize, to: usize) -> &'t str {
        self.text.get(from..to).unwrap_or_default()
    }

    fn fault(&self, position: usize, problem: &str) -> Error {
        let before = self.part(0, position);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        Error::invalid(format!("SQL, line {line}, column {column}"), problem)
    }

    /// Replaces what is between two places, which is code.
    fn code(&mut self, from: usize, to: usize) -> Result<()> {
        let (mut around, mut position) = (Around::new(self.part(from, to)), from);
        while position < to {
            position += plain(self.part(position, to).as_bytes());
            let rest = self.part(position, to);
            if rest.starts_with("{{") || rest.starts_with("}}") {
                position += self.template(self.part(from, position), position, rest)?;
            } else if !rest.is_empty() {
                let (kind, length) =
                    token(rest.as_bytes(), true).map_err(|Unended(problem)| self.fault(position, problem))?;
                let taken = self.part(position, position + length);
                let has_templates = kind == Token::Quoted && taken.starts_with('$') && has_braces(taken);
                if has_templates && around.is_body(position - from) {
                    self.body(position, taken)?;
                }
                position += length;
            }
        }
        Ok(())
    }

    /// Replaces what is in dollar quotes.
    fn body(&mut self, position: usize, quoted: &'t str) -> Result<()> {
        let tag = quoted.get(1..).and_then(|rest| rest.find('$')).unwrap_or_default();
        let delimiter = quoted.get(..tag + 2).unwrap_or_default();
        if self.delimiters.len() == DEEPEST {
            return Err(self.fault(position, "routines are made within routines, more than sixteen deep"));
        }
        self.delimiters.push(delimiter);
        self.code(position + delimiter.len(), position + quoted.len() - delimiter.len())?;
        self.delimiters.pop();
        Ok(())
    }

    /// Replaces the template at the beginning of a part of the text, behind another part, and returns its length.
    fn template(&mut self, before: &str, position: usize, rest: &str) -> Result<usize> {
        let Some(inner) = template_of(rest) else {
            return Err(self.fault(position, "these braces belong to no template"));
        };
        let length = inner.len() + 4;
        let after = rest.get(length..).unwrap_or_default();
        let is_part = |byte: Option<u8>| byte.is_some_and(|byte| continues_word(byte) || b"\"{}".contains(&byte));
        let is_escaped = ["u&", "U&"].iter().any(|start| before.ends_with(start));
        if is_part(before.bytes().next_back()) || is_part(after.bytes().next()) || is_escaped {
            return Err(
                self.fault(position, "a template is a whole name; put a blank between it and what is beside it")
            );
        }
        self.replaced.push_str(self.text.get(self.copied..position).unwrap_or_default());
        let start = self.replaced.len();
        self.push_name(inner).map_err(|problem| self.fault(position, &problem))?;
        let name = self.replaced.get(start..).unwrap_or_default();
        if self.delimiters.iter().any(|delimiter| name.contains(delimiter)) {
            return Err(
                self.fault(position, "the schema's name would end the dollar quotes around it; give them a tag")
            );
        }
        self.copied = position + length;
        Ok(length)
    }

    /// Adds what stands for the template with this between its braces; or says what is wrong with it.
    fn push_name(&mut self, inner: &str) -> std::result::Result<(), String> {
        let mut parts = inner.split('.');
        let (schema, name) = match (parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some("schema"), None, ..) => (None, None),
            (Some("tables"), Some(name), None, _) if is_word(name) => (None, Some(name)),
            (Some("tables"), Some(schema), Some(name), None) if is_word(schema) && is_word(name) => {
                (Some(schema), Some(name))
            }
            _ => {
                return Err("there is no such template; there are {{schema}}, {{tables.NAME}} and \
                            {{tables.SCHEMA.NAME}}, without blanks"
                    .into());
            }
        };
        match schema {
            None => self.replaced.push_str(&self.templates.quoted),
            Some(schema) => push_quoted(&mut self.replaced, schema)?,
        }
        if let Some(name) = name {
            self.replaced.push('.');
            push_quoted(&mut self.replaced, name)?;
        }
        Ok(())
    }

    fn end(mut self) -> Cow<'t, str> {
        if self.copied == 0 {
            return Cow::Borrowed(self.text);
        }
        self.replaced.push_str(self.text.get(self.copied..).unwrap_or_default());
        Cow::Owned(self.replaced)
    }
}

/// How many bytes at the beginning hold nothing that matters: words, blanks, and signs that mean nothing here. A word that a
/// quote or a dollar sign follows may belong to it.
fn plain(text: &[u8]) -> usize {
    let matters = |byte: &u8| matches!(byte, b'\'' | b'"' | b'$' | b'-' | b'/' | b';' | b'{' | b'}');
    let end = text.iter().position(matters).unwrap_or(text.len());
    match text.get(end) {
        Some(b'\'' | b'$') => {
            let before = text.get(..end).unwrap_or_default();
            before.iter().rposition(|byte| !continues_word(*byte)).map_or(0, |position| position + 1)
        }
        _ => end,
    }
}

/// What is between the braces at the beginning of a text.
fn template_of(text: &str) -> Option<&str> {
    text.strip_prefix("{{")?.split_once("}}").map(|(inner, _)| inner)
}

/// The token at the beginning of a text, and its length. A template is as one as the name that it becomes.
fn piece(text: &str) -> Option<(Token, usize)> {
    match template_of(text) {
        Some(inner) => Some((Token::Quoted, inner.len() + 4)),
        None => token(text.as_bytes(), true).ok(),
    }
}

fn is_word(text: &str) -> bool {
    text.bytes().next().is_some_and(begins_word) && text.bytes().all(continues_word)
}

/// Adds a word, whose quotes need no doubling: it has none.
fn push_quoted(target: &mut String, word: &str) -> std::result::Result<(), String> {
    if word.len() > LONGEST {
        return checked(&Ident(word)).map(drop).map_err(|error| error.to_string());
    }
    target.push('"');
    target.push_str(word);
    target.push('"');
    Ok(())
}

/// The statement in which a place of some code is, as far as it was looked at: only dollar quotes with braces in them ask.
struct Around<'t> {
    code: &'t str,
    statement: Shape<'t>,
    start: usize,
    position: usize,
}

impl<'t> Around<'t> {
    fn new(code: &'t str) -> Self {
        Self { code, statement: Shape::default(), start: 0, position: 0 }
    }

    /// Whether what stands here in dollar quotes is the body of a routine, in a language that is read as SQL is. Places are
    /// asked for in their order.
    fn is_body(&mut self, place: usize) -> bool {
        while let Some(rest) = self.code.get(self.position..place).filter(|rest| !rest.is_empty()) {
            // It was all read before.
            let Some((kind, length)) = piece(rest) else { return false };
            self.take(kind, rest.get(..length).unwrap_or_default());
        }
        let is_place = match () {
            () if self.statement.is_routine() => self.statement.follows("AS"),
            () => self.statement.begins(&["DO"]) && !self.statement.follows("LANGUAGE"),
        };
        is_place && is_sql(language(self.code.get(self.start..).unwrap_or_default()))
    }

    fn take(&mut self, kind: Token, taken: &'t str) {
        self.position += taken.len();
        match kind {
            Token::Blank | Token::Comment => return,
            Token::Semicolon => {}
            Token::Word if begins_statements(&self.statement, taken) => {}
            _ => return self.statement.take(kind, taken.as_bytes()),
        }
        (self.statement, self.start) = (Shape::default(), self.position);
    }
}

/// Whether a statement may begin behind this word, within the body of a routine.
fn begins_statements(statement: &Shape, word: &str) -> bool {
    let is_behind = ["BEGIN", "THEN", "ELSE", "LOOP"].iter().any(|other| word.eq_ignore_ascii_case(other));
    is_behind && statement.may_end() && !statement.is_routine()
}

/// The language that the statement at the beginning of a text names. The word may as well be a name: of a parameter or a
/// column, in parentheses; of the routine, before them; behind a schema.
fn language(text: &str) -> Option<&str> {
    let (mut position, mut parentheses, mut last, mut is_next) = (0, 0_usize, "", false);
    while let Some(rest) = text.get(position..).filter(|rest| !rest.is_empty()) {
        let (kind, length) = piece(rest)?;
        let taken = rest.get(..length)?;
        position += length;
        match kind {
            Token::Blank | Token::Comment => continue,
            Token::Word | Token::Quoted if is_next => return Some(taken.trim_matches(['\'', '"', '$'])),
            Token::Semicolon => return None,
            Token::Open => parentheses += 1,
            Token::Close => parentheses = parentheses.saturating_sub(1),
            _ => {}
        }
        is_next = parentheses == 0 && last != "." && taken.eq_ignore_ascii_case("LANGUAGE");
        last = taken;
    }
    None
}

/// Whether bodies in this language are read as SQL is. Without one it is that of `DO`, or the server refuses it; a template
/// is none, and refused too.
fn is_sql(language: Option<&str>) -> bool {
    let is = |language: &str| ["sql", "plpgsql"].iter().any(|other| language.eq_ignore_ascii_case(other));
    language.is_none_or(|language| is(language) || language.starts_with("{{"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn replaced(sql: &str) -> String {
        Templates::new("Shop").unwrap().replace(sql).unwrap().into_owned()
    }

    fn refused(sql: &str) -> String {
        Templates::new("Shop").unwrap().replace(sql).unwrap_err().to_string()
    }

    #[test]
    fn templates_become_quoted_names() {
        for (sql, expected) in [
            ("{{schema}}", r#""Shop""#),
            ("SELECT * FROM {{tables.users}}", r#"SELECT * FROM "Shop"."users""#),
            ("FROM {{tables.Order}},{{tables.other.SELECT}};", r#"FROM "Shop"."Order","other"."SELECT";"#),
            ("{{schema}}.f({{tables.é_1$}}.id)", r#""Shop".f("Shop"."é_1$".id)"#),
            ("SELECT a[1]-{{tables.t}}.b&{{tables.t}}.c", r#"SELECT a[1]-"Shop"."t".b&"Shop"."t".c"#),
        ] {
            assert_eq!(replaced(sql), expected, "{sql}");
        }
        let hostile = Templates::new("a\"b.{{schema}}").unwrap();
        assert_eq!(hostile.replace("SET x TO {{tables.t}}").unwrap(), "SET x TO \"a\"\"b.{{schema}}\".\"t\"");
        assert_eq!(
            (hostile.schema(), Templates::new("public").unwrap().replace("{{tables.a}}").unwrap().as_ref()),
            ("a\"b.{{schema}}", "\"public\".\"a\"")
        );
    }

    /// Texts in which nothing is code.
    const UNTOUCHED: [&str; 18] = [
        "'{{tables.a}}'",
        "'it''s {{tables.a}}'",
        r"'\{{schema}}'",
        r"E'\'{{schema}}'",
        "E'a'\n-- '\n'{{schema}}'",
        r"U&'\0061{{schema}}'",
        "B'{{schema}}'",
        "\"{{schema}}\"",
        "U&\"{{schema}}\"",
        "\"a\"\"{{schema}}\"",
        "$${{schema}}$$",
        "$a$ $$ {{schema}} $$ {{ $a$",
        "-- {{schema}} }} '\n",
        "/* {{ /* {{schema}} */ }} ' */",
        "'{{1,2},{3,4}}'::int[]",
        "DEFAULT $$}}$$",
        "'{{'",
        "1",
    ];

    #[test]
    fn what_is_no_code_stays_as_it_is() {
        for text in UNTOUCHED {
            assert_eq!(replaced(text), text);
            let around = |schema: &str| format!("SELECT {schema}, {text} , {schema}");
            assert_eq!(replaced(&around("{{schema}}")), around("\"Shop\""));
        }
    }

    /// Bodies with `BODY` in them.
    const BODIES: [&str; 18] = [
        "DO $$ BODY $$",
        "do /* $$ */ $a$ BODY $a$ language plpgsql",
        "DO LANGUAGE $$plpgsql$$ $a$ BODY $a$",
        "CREATE FUNCTION {{schema}}.f(a text DEFAULT '$$') RETURNS int LANGUAGE sql AS $$ BODY $$",
        "CREATE FUNCTION f() RETURNS int AS $$ BODY $$ LANGUAGE 'SQL'",
        "create or replace procedure f() as $x$BODY$x$ language \"plpgsql\" SET a TO $$b$$",
        "CREATE PROCEDURE begin() AS $x$BODY$x$",
        "DO $a$ BEGIN CREATE FUNCTION f() RETURNS int AS $b$ BODY $b$ LANGUAGE sql; END $a$",
        "DO $a$ BEGIN IF true THEN DO $b$ BODY $b$; ELSE NULL; END IF; END $a$",
        "DO $a$ BEGIN IF true THEN NULL; ELSE CREATE PROCEDURE p() AS $b$ BODY $b$ LANGUAGE sql; END IF; END $a$",
        "DO $a$ BEGIN FOR i IN 1..2 LOOP DO $b$ BODY $b$; END LOOP; END $a$",
        "DO $a$ <<l>> DECLARE i int; BEGIN i := 1; DO $b$ BODY $b$; END $a$",
        "SELECT '{{schema}}'; DO $$ BODY $$",
        "CREATE FUNCTION f() BEGIN ATOMIC SELECT 1; SELECT $$;$$; END; DO $$ BODY $$",
        "CREATE FUNCTION f(language text, b int) RETURNS TABLE (language text) LANGUAGE sql AS $$ BODY $$",
        "CREATE FUNCTION language() RETURNS int LANGUAGE sql AS $$ BODY $$",
        "CREATE FUNCTION app.language() RETURNS SETOF app . Language AS $$ BODY $$ LANGUAGE plpgsql",
        "CREATE FUNCTION language.f() RETURNS SETOF language.t AS $$ BODY $$ LANGUAGE plpgsql",
    ];

    #[test]
    fn bodies_of_routines_are_code() {
        let body = |schema: &str| format!("SELECT {schema}.a, '{{{{schema}}}}', $n${{{{schema}}}}$n$ FROM {schema}");
        for sql in BODIES {
            let expected = sql.replace("{{schema}}.f", "\"Shop\".f");
            assert_eq!(
                replaced(&sql.replace("BODY", &body("{{schema}}"))),
                expected.replace("BODY", &body("\"Shop\"")),
                "{sql}"
            );
        }
    }

    #[test]
    fn a_template_before_a_body_is_the_name_that_it_becomes() {
        for (sql, expected) in [
            (
                "CREATE FUNCTION f({{tables.language}}) AS $${{schema}}$$ LANGUAGE sql",
                "CREATE FUNCTION f(\"Shop\".\"language\") AS $$\"Shop\"$$ LANGUAGE sql",
            ),
            ("DO LANGUAGE {{tables.c}} $${{schema}}$$", "DO LANGUAGE \"Shop\".\"c\" $$\"Shop\"$$"),
            ("{{tables.create}} DO $${{schema}}$$", "\"Shop\".\"create\" DO $$\"Shop\"$$"),
            ("DO {{tables.language}} $${{schema}}$$", "DO \"Shop\".\"language\" $$\"Shop\"$$"),
        ] {
            assert_eq!(replaced(sql), expected);
        }
    }

    #[test]
    fn other_dollar_quotes_are_strings() {
        for sql in [
            "SELECT $$ {{schema}} $$",
            "CREATE FUNCTION f(a text DEFAULT $$ {{schema}} $$) RETURNS int LANGUAGE sql RETURN 1",
            "CREATE FUNCTION f() RETURNS int LANGUAGE plpython3u AS $$ {{'a': {}}} # don't {{schema}} $$",
            "DO $$ {{schema}} $$ LANGUAGE plperl",
            "CREATE FUNCTION f() BEGIN ATOMIC SELECT $$ {{schema}} $$; END",
            "DO $a$ BEGIN EXECUTE $$ SELECT {{schema}} $$; END $a$",
            "COMMENT ON FUNCTION f() IS $$ {{schema}} $$",
            "CREATE RULE r AS ON INSERT TO t DO SELECT $$ {{schema}} $$",
            "CREATE TABLE AS $$ {{schema}} $$",
        ] {
            assert_eq!(replaced(sql), sql);
        }
    }

    #[test]
    fn what_is_wrong_is_refused_with_its_place() {
        for (sql, place, problem) in [
            ("SELECT {{table.users}}", "line 1, column 8", "there are {{schema}}, {{tables.NAME}}"),
            ("SELECT\n é {{ schema }}", "line 2, column 4", "without blanks"),
            ("{{}}", "line 1, column 1", "no such template"),
            ("{{tables}}", "column 1", "no such template"),
            ("{{tables.}}", "column 1", "no such template"),
            ("{{tables.a.b.c}}", "column 1", "no such template"),
            ("{{tables.1a}}", "column 1", "no such template"),
            ("{{tables.a-b}}", "column 1", "no such template"),
            ("{{tables.a\"b}}", "column 1", "no such template"),
            ("{{tables.a\0b}}", "column 1", "no such template"),
            ("{{SCHEMA}}", "column 1", "no such template"),
            ("SELECT {{schema", "column 8", "belong to no template"),
            ("a\n}} {{schema}}", "line 2, column 1", "belong to no template"),
            ("{{{schema}}}", "column 1", "beside"),
            ("{{schema}}}", "column 1", "beside"),
            ("{ {{schema}}{{schema}}", "column 3", "beside"),
            ("idx_{{schema}}", "column 5", "a whole name"),
            ("{{schema}}_idx", "column 1", "a whole name"),
            ("\"a\"{{schema}}", "column 4", "a whole name"),
            ("{{schema}}\"a\"", "column 1", "a whole name"),
            ("SELECT U&{{schema}}", "column 10", "a whole name"),
            ("DO $$ {{schema} $$", "line 1, column 7", "belong to no template"),
            ("DO $$\n{{x}} $$", "line 2, column 1", "no such template"),
            ("{{schema}} 'a", "column 12", "a string is not closed"),
            ("DO $$ {{schema}} ' $$", "column 18", "a string is not closed"),
        ] {
            let error = refused(sql);
            assert!(error.starts_with("invalid SQL, line ") && error.contains(place), "{sql}: {error}");
            assert!(error.contains(problem), "{sql}: {error}");
        }
        let long = "x".repeat(64);
        assert!(refused(&format!("{{{{tables.{long}}}}}")).contains("longer than 63 bytes"));
        assert!(refused(&format!("{{{{tables.{long}.a}}}}")).contains("longer than 63 bytes"));
        assert!(Templates::new(long).unwrap_err().to_string().contains("longer than 63 bytes"));
        assert!(Templates::new("").is_err() && Templates::new("a\0").is_err());
    }

    #[test]
    fn a_schema_does_not_end_the_dollar_quotes_around_it() {
        let templates = Templates::new("a$$b").unwrap();
        assert!(
            templates.replace("DO $$ {{schema}} $$").unwrap_err().to_string().contains("column 7: the schema's name")
        );
        assert_eq!(templates.replace("DO $x$ {{schema}} $x$").unwrap(), "DO $x$ \"a$$b\" $x$");
        let nested = "DO $$ BEGIN DO $x$ {{schema}} $x$; END $$";
        assert!(templates.replace(nested).is_err());
        assert_eq!(replaced("DO $$BEGIN x {{schema}}$$"), "DO $$BEGIN x \"Shop\"$$");
    }

    #[test]
    fn bodies_in_bodies_have_a_bound() {
        let nested = |depth: usize| {
            let body = "SELECT {{schema}}".to_owned();
            (0..depth).fold(body, |body, level| format!("DO $q{level}$ {body} $q{level}$"))
        };
        assert_eq!(replaced(&nested(DEEPEST)), nested(DEEPEST).replace("{{schema}}", "\"Shop\""));
        assert!(refused(&nested(DEEPEST + 1)).contains("sixteen"));
    }

    #[test]
    fn a_text_without_braces_is_not_copied() {
        let templates = Templates::new("a").unwrap();
        for text in ["SELECT 1", "SELECT '{{'", "'", ""] {
            assert!(matches!(templates.replace(text), Ok(Cow::Borrowed(_))), "{text}");
        }
    }

    /// Texts in which much is begun and little ended.
    fn fragments() -> impl Strategy<Value = String> {
        let parts = prop::sample::select(vec![
            "{{schema}}",
            "{{tables.a}}",
            "{{tables.b.c}}",
            "{{",
            "}}",
            "{",
            "'",
            "\"",
            "$$",
            "$a$",
            "E'",
            "\\'",
            "--",
            "/*",
            "*/",
            "\n",
            ";",
            "(",
            ")",
            " ",
            "a",
            "1",
            "$",
            "U&",
            "AS ",
            "DO ",
            "BEGIN ",
            "CREATE FUNCTION f() ",
            " LANGUAGE sql ",
            " LANGUAGE c ",
            " LANGUAGE ",
            "{{tables.sql}}",
            "{{tables.a.language}}",
            "é",
        ]);
        prop::collection::vec(parts, 0..24).prop_map(|parts| parts.concat())
    }

    proptest! {
        #[test]
        fn a_text_is_read_the_same_way_after_its_templates_were_replaced(
            text in fragments(), schema in "[a$\"'{}-]{1,9}|sql|as|do",
        ) {
            let (hostile, plain) = (Templates::new(schema).unwrap(), Templates::new("plain").unwrap());
            if let Ok(replaced) = hostile.replace(&text) {
                prop_assert_eq!(hostile.replace(&replaced).unwrap(), replaced.clone());
                let other = plain.replace(&text).unwrap();
                prop_assert_eq!(other.replace("\"plain\"", &hostile.quoted), replaced);
            }
        }

        #[test]
        fn a_text_without_braces_stays(text in fragments()) {
            let text = text.replace(['{', '}'], "");
            prop_assert_eq!(Templates::new("a").unwrap().replace(&text).unwrap(), text.as_str());
        }

        #[test]
        fn texts_put_together_are_replaced_piece_by_piece(chosen in prop::collection::vec((0_usize..18, 0_usize..18), 1..9)) {
            let text = |schema: &str| -> String {
                let pieces = chosen.iter().map(|(untouched, body)| {
                    let body = BODIES[*body].replace("{{schema}}.f", "f").replace("BODY", &format!("SELECT {schema} "));
                    format!("SELECT {} ,{schema};{};", UNTOUCHED[*untouched], body)
                });
                pieces.collect()
            };
            prop_assert_eq!(replaced(&text("{{schema}}")), text("\"Shop\""));
        }

        #[test]
        fn any_text_is_read_without_panic(text in any::<String>()) {
            let _ = Templates::new("a").unwrap().replace(&format!("{text}{{{{schema}}}}{text}"));
        }
    }
}
