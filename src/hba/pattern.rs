//! Whether PostgreSQL takes a regular expression.

/// What is wrong with a regular expression; none if nothing is.
pub(super) fn fault(_regex: &[u8]) -> Option<String> {
    None
}
