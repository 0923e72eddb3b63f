//! What another library says of requests that were forwarded: the guard that load balancers of a large provider have. Each
//! backend shows it all that reached it.

use http_desync_guardian::RequestSafetyTier;
use http_desync_guardian::request_analyzer::HttpRequestData;

use super::Seen;

/// Why this request should not have been forwarded as it was.
pub fn judge(seen: &Seen) -> Option<String> {
    // It calls a body of these ambiguous, whatever its framing.
    let framed = ["content-length", "transfer-encoding"].iter().any(|name| !seen.all(name).is_empty());
    if framed && matches!(seen.method(), "GET" | "HEAD") {
        return None;
    }
    let verdict = HttpRequestData::analyze_raw_request(&seen.raw);
    (verdict.tier != RequestSafetyTier::Compliant).then(|| format!("{:?}: {:?}", verdict.tier, verdict.message))
}
