//! Trailers: what may follow a body. Fields about framing, routing, authentication and forwarding never may, as whoever
//! merges trailers into the head would take them for checked.

use http::header::{HeaderMap, HeaderName};
use smallvec::SmallVec;

use super::fields::{self, Fate};

/// Leaves of a client's trailers what a backend may see.
pub fn request_trailers(trailers: &mut HeaderMap) {
    retain(trailers, |name| fields::fate(name) == Fate::Keep && !fields::is_barred_from_trailers(name));
}

/// Leaves of a backend's trailers what a client may see; gRPC metadata may have `_` in its names.
pub fn response_trailers(trailers: &mut HeaderMap) {
    retain(trailers, |name| !fields::is_barred_from_trailers(name));
}

fn retain(trailers: &mut HeaderMap, passes: impl Fn(&str) -> bool) {
    let dropped: SmallVec<[HeaderName; 4]> = trailers.keys().filter(|name| !passes(name.as_str())).cloned().collect();
    for name in &dropped {
        trailers.remove(name);
    }
}
