//! A change is never felt: the full form of `swap`, minutes in an optimised build. Run by `make soak`.
#![allow(clippy::unwrap_used, reason = "in a test an unexpected error is a failure, and this is where it shows")]

mod support;
#[path = "swap/mod.rs"]
mod trial;

use trial::Plan;

#[test]
fn nobody_notices_two_thousand_generations_under_a_million_requests() {
    let figures = trial::run(&Plan { requests: 1_000_000, generations: 2_000, websockets: 1_000, streams: 1_000 });
    println!("{figures}");
    figures.hold();
}
