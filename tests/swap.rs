//! A change is never felt: requests, connections and streams live through publications of everything that can change.
//! The short form; `soak` is the full one.
#![allow(clippy::unwrap_used, reason = "in a test an unexpected error is a failure, and this is where it shows")]

mod support;
#[path = "swap/mod.rs"]
mod trial;

use trial::Plan;

#[test]
fn nobody_notices_a_hundred_generations_under_load() {
    let figures = trial::run(&Plan { requests: 10_000, generations: 100, websockets: 50, streams: 50 });
    println!("{figures}");
    figures.hold();
}
