//! What tells a client that is being made, or was half made, from one that is complete: its role's comment.
use crate::server_process::ServerProcess;

fn start(database: &str) -> String {
    format!("pgsteward: database {database:?} is not complete; process ")
}

/// The comment of a role whose database is being made or dropped by this process.
pub(super) fn mark(database: &str, process: &ServerProcess) -> String {
    format!("{}{} since {}", start(database), process.pid, process.began)
}

/// Which process left the mark, if the comment is one.
pub(super) fn marked_by(comment: Option<&str>, database: &str) -> Option<ServerProcess> {
    let (pid, began) = comment?.strip_prefix(&start(database))?.split_once(" since ")?;
    Some(ServerProcess { pid: pid.parse().ok()?, began: began.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_read_as_it_was_written_and_nothing_else_is_one() {
        let process = ServerProcess { pid: 7, began: "1700000000.25".into() };
        for database in ["shop", "we\"ird; since \n", "é"] {
            assert_eq!(marked_by(Some(&mark(database, &process)), database), Some(process.clone()));
            assert_eq!(marked_by(Some(&mark(database, &process)), "other"), None);
        }
        for comment in
            [None, Some(""), Some("the shop"), Some("pgsteward: database \"shop\" is not complete; process x")]
        {
            assert_eq!(marked_by(comment, "shop"), None);
        }
    }
}
