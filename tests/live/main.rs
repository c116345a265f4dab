//! Tests on a real server, which this binary starts by itself; a database each.
mod conformance;
mod support;
