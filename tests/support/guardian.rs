//! What must hold of each request that reached a backend, whatever a test is about: one framing, one Host, no field that is
//! not to be forwarded, and no complaint of another library, the guard that load balancers of a large provider have.

use http_desync_guardian::RequestSafetyTier;
use http_desync_guardian::request_analyzer::HttpRequestData;

use super::Seen;

/// Fields that never reach a backend.
const NEVER: [&str; 9] = [
    "expect",
    "forwarded",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
];

/// Why this request should not have been forwarded as it was.
pub fn judge(seen: &Seen) -> Option<String> {
    let fields = seen.fields();
    let count = |wanted: &str| fields.iter().filter(|(name, _)| as_in_cgi(name) == as_in_cgi(wanted)).count();
    let framings = count("transfer-encoding") + count("content-length");
    let plain = seen.all("transfer-encoding").len() + seen.all("content-length").len();
    if framings > 1 || framings != plain {
        return Some(format!("{framings} fields that may be read as framing"));
    }
    if count("host") != 1 || seen.all("host").len() != 1 {
        return Some("not one Host".into());
    }
    if let Some(name) = NEVER.iter().find(|name| !seen.all(name).is_empty()) {
        return Some(format!("{name} is not to be forwarded"));
    }
    guard(seen)
}

/// A name as programs know it that speak CGI (RFC 3875 §4.1.18): whatever is no letter or digit is one character.
fn as_in_cgi(name: &str) -> String {
    name.chars().map(|letter| if letter.is_ascii_alphanumeric() { letter.to_ascii_lowercase() } else { '_' }).collect()
}

fn guard(seen: &Seen) -> Option<String> {
    // It calls a body of these ambiguous, whatever its framing.
    let framed = ["content-length", "transfer-encoding"].iter().any(|name| !seen.all(name).is_empty());
    if framed && matches!(seen.method(), "GET" | "HEAD") {
        return None;
    }
    let verdict = HttpRequestData::analyze_raw_request(&seen.raw);
    (verdict.tier != RequestSafetyTier::Compliant).then(|| format!("{:?}: {:?}", verdict.tier, verdict.message))
}
