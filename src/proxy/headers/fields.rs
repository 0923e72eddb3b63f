//! What a field's name decides: the tables of names, in one place.
//!
//! Names are compared in lower case, as `HeaderName` has them. A name is looked up among those with its first letter,
//! so most fields of a request cost a few comparisons of length.

/// What happens to a field of a request on its way to the backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// Passes, unless Connection names it.
    Keep,
    /// Never passes: means something between two neighbours only, or is framing, or has a name that backends mix up
    /// with another.
    Drop,
    /// Written by us, always: what came under this name is replaced.
    Ours,
    /// Tells who or what the client asked for, as proxies do. Passes from trusted peers only.
    Claim,
    /// Passes, joined into one.
    Cookie,
    /// X-Forwarded-For.
    Chain,
    /// Dropped, after the fields it names.
    Connection,
    /// Dropped, unless an HTTP/2 backend may be asked for trailers.
    Te,
}

/// Fields of a request that do not simply pass; sorted by their first letter.
static REQUEST: Table<Fate> = Table::new(&[
    // Of content delivery networks and other front ends: list their addresses as trusted proxies to have them pass.
    ("ali-cdn-real-ip", Fate::Claim),
    ("cf-connecting-ip", Fate::Claim),
    ("cf-connecting-ipv6", Fate::Claim),
    ("client-cert", Fate::Claim),
    ("client-cert-chain", Fate::Claim),
    ("client-ip", Fate::Claim),
    ("connection", Fate::Connection),
    ("content-length", Fate::Drop),
    ("cookie", Fate::Cookie),
    ("do-connecting-ip", Fate::Claim),
    ("expect", Fate::Drop),
    ("fastly-client-ip", Fate::Claim),
    ("fly-client-ip", Fate::Claim),
    // RFC 7239. We speak X-Forwarded-*, so a trusted peer's would be a chain without its last hop.
    ("forwarded", Fate::Drop),
    ("forwarded-for", Fate::Claim),
    ("front-end-https", Fate::Claim),
    ("host", Fate::Ours),
    ("http2-settings", Fate::Drop),
    ("incap-client-ip", Fate::Claim),
    ("keep-alive", Fate::Drop),
    // CGI programs take it for the address of the proxy they should use.
    ("proxy", Fate::Drop),
    ("proxy-authenticate", Fate::Drop),
    ("proxy-authentication-info", Fate::Drop),
    ("proxy-authorization", Fate::Drop),
    ("proxy-client-ip", Fate::Claim),
    ("proxy-connection", Fate::Drop),
    ("remote-user", Fate::Claim),
    ("te", Fate::Te),
    ("trailer", Fate::Drop),
    ("transfer-encoding", Fate::Drop),
    ("true-client-ip", Fate::Claim),
    ("upgrade", Fate::Drop),
    ("wl-proxy-client-ip", Fate::Claim),
    ("x-appengine-user-ip", Fate::Claim),
    ("x-arr-clientcert", Fate::Claim),
    ("x-azure-clientip", Fate::Claim),
    ("x-client-cert", Fate::Claim),
    ("x-client-ip", Fate::Claim),
    ("x-client-verify", Fate::Claim),
    ("x-cluster-client-ip", Fate::Claim),
    ("x-envoy-external-address", Fate::Claim),
    ("x-envoy-original-path", Fate::Claim),
    ("x-forward-for", Fate::Claim),
    ("x-forwarded-for", Fate::Chain),
    ("x-forwarded-host", Fate::Ours),
    ("x-forwarded-port", Fate::Ours),
    ("x-forwarded-proto", Fate::Ours),
    ("x-forwarded-scheme", Fate::Ours),
    ("x-host", Fate::Claim),
    ("x-http-host-override", Fate::Claim),
    // Written again if the client sent X-Forwarded-For.
    ("x-original-forwarded-for", Fate::Drop),
    ("x-originating-ip", Fate::Claim),
    ("x-override-url", Fate::Claim),
    ("x-proxyuser-ip", Fate::Claim),
    ("x-real-ip", Fate::Ours),
    ("x-remote-addr", Fate::Claim),
    ("x-remote-ip", Fate::Claim),
    ("x-remote-user", Fate::Claim),
    ("x-request-id", Fate::Ours),
    ("x-rewrite-url", Fate::Claim),
    ("x-scheme", Fate::Ours),
    ("x-ssl-cert", Fate::Claim),
    ("x-tls-client-cert", Fate::Claim),
    ("x-url-scheme", Fate::Claim),
]);

/// Names that begin like this, and do not stand above, are [`Fate::Claim`].
const CLAIMS: [&str; 5] = ["x-forwarded", "x-original-", "x-ssl-client", "x-amzn-mtls-", "ssl-client"];

/// End-to-end fields: a client must not have them removed by naming them in Connection. Besides these, all names of
/// [`REQUEST`] and those that begin like [`END_TO_END_PREFIXES`].
const END_TO_END: [&str; 39] = [
    "age",
    "allow",
    "alt-svc",
    "authentication-info",
    "authorization",
    "b3",
    "baggage",
    "cache-control",
    "cdn-loop",
    "date",
    "dnt",
    "early-data",
    "etag",
    "expires",
    "from",
    "idempotency-key",
    "last-modified",
    "link",
    "location",
    "max-forwards",
    "origin",
    "pragma",
    "prefer",
    "priority",
    "range",
    "referer",
    "retry-after",
    "server",
    "set-cookie",
    "strict-transport-security",
    "traceparent",
    "tracestate",
    "user-agent",
    "vary",
    "via",
    "warning",
    "www-authenticate",
    "x-api-key",
    "x-csrf-token",
];

const END_TO_END_PREFIXES: [&str; 8] =
    ["accept", "access-control-", "content-", "grpc-", "if-", "sec-", "x-auth", "x-b3-"];

/// Fields of a response that do not pass to the client; sorted by their first letter. `server` is ours.
static RESPONSE: Table<()> = Table::new(&[
    ("connection", ()),
    ("content-length", ()),
    ("http2-settings", ()),
    ("keep-alive", ()),
    ("proxy-authenticate", ()),
    ("proxy-authentication-info", ()),
    ("proxy-connection", ()),
    ("server", ()),
    ("te", ()),
    ("trailer", ()),
    ("transfer-encoding", ()),
    ("upgrade", ()),
]);

/// Fields that mean nothing, or harm, once the body has been read (RFC 9110 §6.5.1): routing, authentication, request
/// modifiers, control data, content format. Content-Digest may well come last. Besides these, all of [`REQUEST`] and
/// [`RESPONSE`].
static NOT_IN_TRAILERS: Table<()> = Table::new(&[
    ("age", ()),
    ("authentication-info", ()),
    ("authorization", ()),
    ("cache-control", ()),
    ("content-encoding", ()),
    ("content-language", ()),
    ("content-location", ()),
    ("content-range", ()),
    ("content-security-policy", ()),
    ("content-type", ()),
    ("date", ()),
    ("expires", ()),
    ("location", ()),
    ("max-forwards", ()),
    ("origin", ()),
    ("pragma", ()),
    ("range", ()),
    ("retry-after", ()),
    ("set-cookie", ()),
    ("strict-transport-security", ()),
    ("vary", ()),
    ("warning", ()),
    ("www-authenticate", ()),
]);

pub(super) fn fate(name: &str) -> Fate {
    match REQUEST.find(name) {
        Some(fate) => fate,
        // Backends that speak CGI take `X_Real_IP`, and some `X.Real~IP`, for X-Real-IP; and some guess. Most such names do
        // not pass nginx either.
        None if !is_plain(name) => Fate::Drop,
        None if is_claim(name) => Fate::Claim,
        None => Fate::Keep,
    }
}

/// A field of a response, `name`, does not pass to the client.
pub(super) fn stays_behind(name: &str) -> bool {
    RESPONSE.find(name).is_some()
}

/// Connection may name the field `name`, in lower case, to have it removed.
pub(super) fn is_removable(name: &str) -> bool {
    fate(name) == Fate::Keep
        && !END_TO_END.contains(&name)
        && !END_TO_END_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// The field is never taken from trailers, of a request or of a response.
pub(super) fn is_barred_from_trailers(name: &str) -> bool {
    NOT_IN_TRAILERS.find(name).is_some()
        || REQUEST.find(name).is_some()
        || RESPONSE.find(name).is_some()
        || is_claim(name)
        || name.starts_with("if-")
        || name.starts_with("access-control-")
}

/// Words of letters and digits, with one hyphen between two of them. Without branches within, so that it is done many
/// bytes at a time.
fn is_plain(name: &str) -> bool {
    let name = name.as_bytes();
    let words = name.iter().fold(true, |fine, byte| fine & (byte.is_ascii_alphanumeric() | (*byte == b'-')));
    let single = name.windows(2).fold(true, |fine, pair| fine & (pair != b"--"));
    words && single && name.first() != Some(&b'-') && name.last() != Some(&b'-')
}

fn is_claim(name: &str) -> bool {
    matches!(name.as_bytes().first(), Some(b'x' | b's')) && CLAIMS.iter().any(|claim| name.starts_with(claim))
}

/// Rows by name, found by the name's first letter.
struct Table<T: 'static> {
    rows: &'static [(&'static str, T)],
    /// Where the rows of each letter start; those of the next letter end them.
    starts: [u8; 27],
}

impl<T: Copy> Table<T> {
    const fn new(rows: &'static [(&'static str, T)]) -> Self {
        let mut starts = [0; 27];
        let mut row = 0;
        let mut letter = 0;
        while letter < 26 {
            starts[letter] = row as u8;
            while row < rows.len() && rows[row].0.as_bytes()[0] == b'a' + letter as u8 {
                row += 1;
            }
            letter += 1;
        }
        assert!(row == rows.len() && row < 256, "rows are not sorted by their first letter");
        starts[26] = row as u8;
        Table { rows, starts }
    }

    #[inline]
    fn find(&self, name: &str) -> Option<T> {
        let letter = usize::from(name.as_bytes().first()?.wrapping_sub(b'a'));
        let (start, end) = (*self.starts.get(letter)?, *self.starts.get(letter + 1)?);
        let rows = &self.rows[usize::from(start)..usize::from(end)];
        rows.iter().find(|row| row.0 == name).map(|row| row.1)
    }
}
