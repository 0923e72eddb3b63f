//! Hostile traffic and faults. `cases.yaml` has every case that is known and says which test shows what becomes of it, here
//! or elsewhere; `make hostile` runs them and prints which held.
//!
//! Reading order: `cases` (the list), `watched` (what must hold whatever was sent), then what is sent.
#![allow(clippy::unwrap_used, reason = "in a test an unexpected error is a failure, and this is where it shows")]

#[path = "../support/mod.rs"]
mod support;

mod attack;
mod attacks;
mod bodies;
mod cases;
mod cost;
mod differential;
mod faults;
mod floods;
mod frames;
mod guardian;
mod hellos;
mod memory;
mod mutations;
mod unread;
mod upgrades;
mod watched;
