//! What a routine may be like, in the catalogue's letters and in SQL's words.

/// What sort of routine it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Routine {
    /// One that is called in an expression.
    Function,
    /// One that is called by `CALL`.
    Procedure,
    /// One that makes one value of many rows.
    Aggregate,
    /// One that looks at the rows around, `OVER` a window.
    Window,
}

/// What a call may do, and whether equal calls give equal results
/// ([Function Volatility Categories](https://www.postgresql.org/docs/current/xfunc-volatility.html)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Volatility {
    /// It changes nothing, and gives the same for ever.
    Immutable,
    /// It changes nothing, and gives the same within a statement.
    Stable,
    /// It may do anything.
    Volatile,
}

/// Whose rights a routine has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Security {
    /// Those of the role that calls it.
    Invoker,
    /// Those of its owner.
    Definer,
}

/// Whether a function may run in a parallel query
/// ([Parallel Safety](https://www.postgresql.org/docs/current/parallel-safety.html)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parallel {
    /// A query with it is not parallel.
    Unsafe,
    /// In the leader only.
    Restricted,
    /// Anywhere.
    Safe,
}

words! { Routine { Function = "function", Procedure = "procedure", Aggregate = "aggregate", Window = "window" } }
words! { Volatility { Immutable = "immutable", Stable = "stable", Volatile = "volatile" } }
words! { Security { Invoker = "invoker", Definer = "definer" } }
words! { Parallel { Unsafe = "unsafe", Restricted = "restricted", Safe = "safe" } }

impl Routine {
    pub(super) fn read(code: &str) -> Self {
        match code {
            "p" => Self::Procedure,
            "a" => Self::Aggregate,
            "w" => Self::Window,
            _ => Self::Function,
        }
    }

    /// What SQL calls it.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Function | Self::Window => "FUNCTION",
            Self::Procedure => "PROCEDURE",
            Self::Aggregate => "AGGREGATE",
        }
    }

    pub(super) fn alter(self) -> &'static str {
        match self {
            Self::Function | Self::Window => "ALTER FUNCTION",
            Self::Procedure => "ALTER PROCEDURE",
            Self::Aggregate => "ALTER AGGREGATE",
        }
    }

    pub(super) fn comment(self) -> &'static str {
        match self {
            Self::Function | Self::Window => "COMMENT ON FUNCTION",
            Self::Procedure => "COMMENT ON PROCEDURE",
            Self::Aggregate => "COMMENT ON AGGREGATE",
        }
    }
}

impl Volatility {
    pub(super) fn read(code: &str) -> Self {
        match code {
            "i" => Self::Immutable,
            "s" => Self::Stable,
            _ => Self::Volatile,
        }
    }

    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Immutable => "IMMUTABLE",
            Self::Stable => "STABLE",
            Self::Volatile => "VOLATILE",
        }
    }
}

impl Security {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Invoker => "INVOKER",
            Self::Definer => "DEFINER",
        }
    }
}

impl Parallel {
    pub(super) fn read(code: &str) -> Self {
        match code {
            "s" => Self::Safe,
            "r" => Self::Restricted,
            _ => Self::Unsafe,
        }
    }

    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Unsafe => "UNSAFE",
            Self::Restricted => "RESTRICTED",
            Self::Safe => "SAFE",
        }
    }
}
