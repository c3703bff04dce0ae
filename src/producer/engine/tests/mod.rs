//! The engine's rules, shown in virtual time against a cluster in memory.
//!
//! `world` moves time and bytes, `broker` and `log` are the other side. The scenarios are sorted by
//! what goes wrong; `simulation` lets everything go wrong at random. `F1` to `F60` are the rows of the
//! fault matrix in `semantics.md`.

mod broker;
mod log;
mod world;

mod delivery;

mod sequences;

mod leadership;

mod connections;

mod endings;

mod codes;

mod splitting;

mod unsure;

mod movements;

mod limits;

mod greetings;

mod simulation;
