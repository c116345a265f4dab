//! Which servers of a list will do (`target_session_attrs`)
//! ([Parameter Key Words](https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNECT-TARGET-SESSION-ATTRS)). Pure.
use super::conninfo::Parameters;
use super::tls_parameters::word;
use crate::error::Result;

/// What a session has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TargetSession {
    Any,
    ReadWrite,
    ReadOnly,
    Primary,
    Standby,
    /// A standby, or any if there is none.
    PreferStandby,
}

/// What a server says of a new session.
#[derive(Clone, Copy, Debug)]
pub(super) struct Session {
    pub(super) standby: bool,
    /// Whether transactions are read-only unless they say otherwise.
    pub(super) read_only: bool,
}

/// What the parameters ask for.
pub(super) fn wanted(parameters: &Parameters) -> Result<TargetSession> {
    use TargetSession::{Any, PreferStandby, Primary, ReadOnly, ReadWrite, Standby};
    let words = [
        ("any", Any),
        ("read-write", ReadWrite),
        ("read-only", ReadOnly),
        ("primary", Primary),
        ("standby", Standby),
        ("prefer-standby", PreferStandby),
    ];
    word(parameters, "target_session_attrs", Any, &words)
}

impl TargetSession {
    /// What to look for, in one round through all hosts after the other.
    pub(super) fn rounds(self) -> &'static [Self] {
        match self {
            Self::Any => &[Self::Any],
            Self::ReadWrite => &[Self::ReadWrite],
            Self::ReadOnly => &[Self::ReadOnly],
            Self::Primary => &[Self::Primary],
            Self::Standby => &[Self::Standby],
            Self::PreferStandby => &[Self::Standby, Self::Any],
        }
    }

    /// Why a session will not do; none if it will.
    pub(super) fn objection(self, session: Session) -> Option<&'static str> {
        let Session { standby, read_only } = session;
        let writes = !standby && !read_only;
        match self {
            Self::ReadWrite if !writes => Some("the session is read-only (target_session_attrs=read-write)"),
            Self::ReadOnly if writes => Some("the session is not read-only (target_session_attrs=read-only)"),
            Self::Primary if standby => Some("the server is a standby (target_session_attrs=primary)"),
            Self::Standby | Self::PreferStandby if !standby => Some("the server is no standby (target_session_attrs)"),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_will_do_or_not() {
        use TargetSession::{Any, Primary, ReadOnly, ReadWrite, Standby};
        let primary = Session { standby: false, read_only: false };
        let quiet = Session { standby: false, read_only: true };
        let standby = Session { standby: true, read_only: false };
        for (target, will_do) in [
            (Any, [true, true, true]),
            (ReadWrite, [true, false, false]),
            (ReadOnly, [false, true, true]),
            (Primary, [true, true, false]),
            (Standby, [false, false, true]),
        ] {
            assert_eq!(
                [primary, quiet, standby].map(|session| target.objection(session).is_none()),
                will_do,
                "{target:?}"
            );
        }
    }
}
