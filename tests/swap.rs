//! A change is never felt: requests, connections and streams live through publications of everything that can change.
#![allow(clippy::unwrap_used, reason = "in a test an unexpected error is a failure, and this is where it shows")]

mod support;

use support::{Backend, Headgate, get, site};

#[test]
fn a_change_of_endpoints_is_followed() {
    let (first, second) = (Backend::answering("first"), Backend::answering("second"));
    let headgate = Headgate::before(&first);
    assert_eq!(get(headgate.http, "a.example", "/").text(), "first");
    headgate.change(&site("a.example", &[second.address]));
    assert_eq!(get(headgate.http, "a.example", "/").text(), "second");
}
