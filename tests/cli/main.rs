//! The program as a person uses it: a process, its output, its exit code, on a server of this binary's own.
mod backups;
mod databases;
mod migrations;
mod monitoring;
mod objects;
mod pages;
mod prompt;
mod provision;
mod snapshots;
mod support;
mod whole;
