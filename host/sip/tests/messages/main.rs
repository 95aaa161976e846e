//! Messages from outside: odd ones, broken ones, generated ones, and a second reader of plain ones.

#![allow(clippy::unwrap_used, clippy::panic)]

mod chance;
mod generate;
mod model;
mod mutated;
mod oracle;
mod torture;
