//! Values that are sent and shown nowhere: not in what the driver logs, nor in what the server says of them.
use crate::error::Error;
use bytes::BytesMut;
use postgres::types::{Format, IsNull, ToSql, Type};
use std::error::Error as StdError;
use std::fmt;

/// A parameter that prints as `********`.
pub(super) struct Masked<'p>(&'p (dyn ToSql + Sync));

/// The parameters, for the driver, which logs them as they print.
pub(super) fn masked<'p>(parameters: &[&'p (dyn ToSql + Sync)]) -> impl ExactSizeIterator<Item = Masked<'p>> {
    parameters.iter().map(|parameter| Masked(*parameter))
}

impl fmt::Debug for Masked<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("********")
    }
}

impl ToSql for Masked<'_> {
    fn to_sql(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn StdError + Sync + Send>> {
        self.0.to_sql_checked(ty, out)
    }

    /// Who checks is the parameter itself.
    fn accepts(_: &Type) -> bool {
        true
    }

    fn to_sql_checked(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn StdError + Sync + Send>> {
        self.0.to_sql_checked(ty, out)
    }

    fn encode_format(&self, ty: &Type) -> Format {
        self.0.encode_format(ty)
    }
}

/// Classes of SQLSTATEs whose messages quote values: data exceptions, violated constraints and the check of a view.
const OF_VALUES: [&str; 3] = ["22", "23", "44"];

/// The error without the values that the server may have put into it: what a message about values quotes, and its detail
/// (`Key (email)=(...) already exists`).
pub(super) fn without_values(mut error: Error) -> Error {
    let Error::Server { cause, .. } = &mut error else { return error };
    let code = cause.code.code();
    if OF_VALUES.iter().any(|class| code.starts_with(class)) {
        cause.detail = None;
    }
    if code.starts_with("22") {
        // Whatever the language of the messages: what is quoted, and all that follows.
        if let Some(quoted) = cause.message.find(['"', '\'', '«', '»', '„', '“', '”', '‘', '’', '「', '《'])
        {
            cause.message.truncate(quoted);
            cause.message.push_str("********");
        }
    }
    error
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ServerMessage;
    use postgres::error::SqlState;

    fn said(code: &SqlState, message: &str, detail: &str) -> String {
        let cause = ServerMessage {
            message: message.into(),
            code: code.clone(),
            detail: Some(detail.into()),
            hint: None,
            routine: None,
        };
        without_values(Error::Server { action: "execute".into(), cause: Box::new(cause) }).to_string()
    }

    #[test]
    fn what_the_server_says_of_values_is_left_out() {
        let constraint = "duplicate key value violates unique constraint \"users_email_key\"";
        assert_eq!(
            said(&SqlState::UNIQUE_VIOLATION, constraint, "Key (email)=(s3cret) already exists."),
            format!("cannot execute: {constraint} (23505)")
        );
        for message in [
            "invalid input syntax for type integer: \"s3cret\"",
            "ungültige Eingabesyntax für Typ integer: „s3cret“",
            "syntaxe en entrée invalide pour le type integer : « s3cret »",
        ] {
            let said = said(&SqlState::INVALID_TEXT_REPRESENTATION, message, "Token \"s3cret\" is invalid.");
            assert!(!said.contains("s3cret") && said.ends_with("******** (22P02)"), "{said}");
        }
        assert_eq!(
            said(&SqlState::UNDEFINED_TABLE, "relation \"a\" does not exist", "b"),
            "cannot execute: relation \"a\" does not exist (42P01). Detail: b"
        );
    }

    #[test]
    fn a_parameter_does_not_print() {
        let parameters: [&(dyn ToSql + Sync); 2] = [&"s3cret", &7];
        assert_eq!(format!("{:?}", masked(&parameters).collect::<Vec<_>>()), "[********, ********]");
    }
}
