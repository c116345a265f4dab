//! A rule where it stands.
use super::rule::HbaRule;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

/// A rule, and where it stands. It derefs to the [`HbaRule`] as it is written.
#[derive(Clone, Debug, PartialEq)]
pub struct HbaEntry {
    pub(super) rule: HbaRule,
    /// The rule with the words of `@file`s in their place, where it has any.
    pub(super) expanded: Option<Box<HbaRule>>,
    pub(super) file: Arc<str>,
    pub(super) line: usize,
}

impl HbaEntry {
    /// The file that it is in, as the server names it.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// The number of its first line in that file, from 1.
    pub fn line(&self) -> usize {
        self.line
    }

    /// The rule as the server goes by it: with the words of `@file`s in their place.
    pub fn effective(&self) -> &HbaRule {
        self.expanded.as_deref().unwrap_or(&self.rule)
    }
}

impl Deref for HbaEntry {
    type Target = HbaRule;

    fn deref(&self) -> &HbaRule {
        &self.rule
    }
}

/// The rule, as [`HbaRule`] is displayed.
impl fmt::Display for HbaEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.rule.fmt(f)
    }
}
