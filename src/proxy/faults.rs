//! Panics that tests put into the data plane, for no request is known to cause one. Nothing of this is in the binary.
//!
//! A request arms a fault with its `x-fault` field; the fault strikes on that request's worker, the next time that the
//! code there passes the place.

use std::cell::Cell;

use http::HeaderMap;

/// Where a panic can be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Request,
    RequestBody,
    ResponseBody,
    Accept,
    Tick,
}

thread_local! {
    static ARMED: Cell<Option<Place>> = const { Cell::new(None) };
}

/// Arms the fault that a request's head asks for; one in the request itself strikes here.
pub(super) fn arm(headers: &HeaderMap) {
    let Some(wanted) = headers.get("x-fault") else { return };
    let place = match wanted.as_bytes() {
        b"request" => Place::Request,
        b"request-body" => Place::RequestBody,
        b"response-body" => Place::ResponseBody,
        b"accept" => Place::Accept,
        b"tick" => Place::Tick,
        other => unreachable!("no such fault: {other:?}"),
    };
    ARMED.set(Some(place));
    strike(Place::Request);
}

/// The code passes `place`.
pub(super) fn strike(place: Place) {
    if ARMED.get() == Some(place) {
        ARMED.set(None);
        panic!("a fault in {place:?}");
    }
}
