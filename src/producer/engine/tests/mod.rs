//! The engine's rules, shown in virtual time against a cluster in memory.
//!
//! `world` moves time and bytes, `broker`, `guard` and `log` are the other side, `history` says what was
//! promised. The scenarios are sorted by what goes wrong; `simulation` lets everything of `chaos` go
//! wrong at random, and `mutants` shows that it would notice. `F1` to `F60` are the rows of the fault
//! matrix in `semantics.md`.

mod broker;
mod guard;
mod history;
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

mod logins;

mod quiet;

mod chaos;

mod simulation;

mod mutants;
pub(super) use mutants::Mutant;
