//! What an API server accepts as a host or a path of an Ingress, and as a name of an object.

use std::net::IpAddr;

use crate::snapshot::PathKind;

/// Why an API server refuses `text` as a host; `None`: it does not.
pub(super) fn host_complaint(text: &str) -> Option<&'static str> {
    let name = text.strip_prefix("*.").unwrap_or(text);
    if name.trim_matches(['[', ']']).parse::<IpAddr>().is_ok() {
        return Some("is an address, not a DNS name");
    }
    (!is_dns_subdomain(name)).then_some("is not a DNS name in lower case")
}

/// Why an API server refuses `text`, which is not empty, as a path of this kind; `None`: it does not.
pub(super) fn path_complaint(kind: PathKind, text: &str) -> Option<&'static str> {
    if kind == PathKind::ImplementationSpecific {
        return None;
    }
    if text.contains("//") {
        return Some("contains //");
    }
    if text.contains("%2f") || text.contains("%2F") {
        return Some("contains an escaped /");
    }
    None
}

/// What a host and the name of an object have to be: RFC 1123 with the length of DNS, labels of `a-z 0-9 -` that start and end with a letter or digit.
pub(super) fn is_dns_subdomain(text: &str) -> bool {
    let alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let label = |label: &str| {
        let bytes = label.as_bytes();
        let ends =
            bytes.first().zip(bytes.last()).is_some_and(|(first, last)| alphanumeric(*first) && alphanumeric(*last));
        ends && bytes.iter().all(|byte| alphanumeric(*byte) || *byte == b'-')
    };
    text.len() <= 253 && text.split('.').all(label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_lower_case_dns_names() {
        for text in ["a", "a.b", "*.a.b", "1.2.3", "a-b.c--d.e", "xn--bcher-kva.example", "*.com"] {
            assert_eq!(host_complaint(text), None, "{text}");
        }
        for text in ["A.b", "a_b", "-a", "a-", "a..b", "a.", ".a", "", "*", "*.*.a", "a.*", "ä.b", "a b", "a:80"] {
            assert!(host_complaint(text).is_some(), "{text}");
        }
        assert_eq!(host_complaint(&format!("{}a", "a.".repeat(126))), None);
        assert!(host_complaint(&format!("{}aa", "a.".repeat(126))).is_some());
    }

    #[test]
    fn addresses_are_no_hosts() {
        for text in ["10.0.0.1", "[::1]", "::1"] {
            assert_eq!(host_complaint(text), Some("is an address, not a DNS name"), "{text}");
        }
    }

    #[test]
    fn exact_and_prefix_refuse_what_hides_an_element() {
        for kind in [PathKind::Exact, PathKind::Prefix] {
            assert_eq!(path_complaint(kind, "/a/b-c/~d"), None);
            assert!(path_complaint(kind, "/a//b").is_some());
            assert!(path_complaint(kind, "/a%2fb").is_some());
            assert!(path_complaint(kind, "/a%2Fb").is_some());
        }
        assert_eq!(path_complaint(PathKind::ImplementationSpecific, "/a//b%2f"), None);
    }
}
