//! Flag values that are neither numbers, durations nor sizes: text to value, or the reason and the way out.

use std::net::{IpAddr, Ipv6Addr};
use std::path::PathBuf;
use std::time::Duration;

use http::{HeaderValue, Uri};
use ipnet::IpNet;

use super::duration;
use crate::snapshot::{HostName, Reference};
use crate::telemetry::TimeBuckets;
use crate::telemetry::access_log::Target;

/// Go's booleans, as flags of Kubernetes components have them. Nothing means `true`, as a flag alone does: the values of
/// charts have no other way to write one.
pub(super) fn boolean(text: &str) -> Result<bool, String> {
    match text {
        "" | "1" | "t" | "T" | "true" | "True" | "TRUE" => Ok(true),
        "0" | "f" | "F" | "false" | "False" | "FALSE" => Ok(false),
        _ => Err("write true or false".into()),
    }
}

/// An IP address; IPv6 with or without brackets.
pub(super) fn bind_address(text: &str) -> Result<IpAddr, String> {
    let in_brackets = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    let address = match in_brackets {
        Some(inner) => inner.parse::<Ipv6Addr>().map(IpAddr::V6).ok(),
        None => text.parse().ok(),
    };
    address.ok_or_else(|| "not an IP address; write one as [::], 0.0.0.0 or 127.0.0.1, without a port".into())
}

/// `namespace/name` of an object.
pub(super) fn reference(text: &str) -> Result<Reference, String> {
    match text.split_once('/') {
        Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() && !name.contains('/') => {
            Ok(Reference::new(namespace, name))
        }
        _ => Err("write it as namespace/name".into()),
    }
}

/// `--election-ttl`: a Lease has whole seconds, and is renewed three times in its lifetime.
pub(super) fn election_ttl(text: &str) -> Result<Duration, String> {
    let ttl = duration::parse(text).map_err(|invalid| invalid.to_string())?;
    if ttl.subsec_nanos() > 0 || !(2..=i32::MAX as u64).contains(&ttl.as_secs()) {
        return Err("give whole seconds, and at least 2s: a Lease counts them, and is renewed within each third".into());
    }
    Ok(ttl)
}

/// What the status of an Ingress takes.
pub(super) fn status_address(text: &str) -> Result<String, String> {
    let is_name = HostName::parse(text).is_ok();
    let is_address = text.parse::<IpAddr>().is_ok();
    if is_name || is_address { Ok(text.into()) } else { Err("neither an IP address nor a host name".into()) }
}

/// `--apiserver-host`. As with `kubectl --server`, without a protocol it is http.
pub(super) fn api_server(text: &str) -> Result<Uri, String> {
    let whole = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    let uri = whole.parse::<Uri>().ok().filter(|uri| matches!(uri.scheme_str(), Some("http" | "https")));
    uri.filter(|uri| uri.host().is_some_and(|host| !host.is_empty()))
        .ok_or_else(|| "not the address of a server; write it as https://10.0.0.1:6443".into())
}

/// `--health-check-path`. What has another meaning there keeps it.
pub(super) fn health_check_path(text: &str) -> Result<String, String> {
    let is_path = text.starts_with('/') && text.bytes().all(|byte| byte.is_ascii_graphic() && !b"?#".contains(&byte));
    let is_taken = matches!(text, "/" | "/readyz" | "/metrics" | "/debug") || text.starts_with("/debug/");
    match is_path && !is_taken {
        true => Ok(text.into()),
        false => Err("write a path that has no other meaning on that port, as /ping".into()),
    }
}

/// `--time-buckets`.
pub(super) fn time_buckets(text: &str) -> Result<TimeBuckets, String> {
    let bounds = text.split(',').map(|bound| bound.trim().parse().ok()).collect::<Option<Vec<f64>>>();
    let complaint = || "write 1 to 50 times in seconds, ascending, as 0.005,0.1,1,10".into();
    bounds.and_then(|bounds| TimeBuckets::new(&bounds)).ok_or_else(complaint)
}

/// `--exclude-metrics`.
pub(super) fn metric_name(text: &str) -> Result<String, String> {
    let is_name = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if is_name { Ok(text.into()) } else { Err("not the name of a metric; write it as proxy_retries_total".into()) }
}

/// A network, or one address.
pub(super) fn network(text: &str) -> Result<IpNet, String> {
    let text = text.trim();
    let network = text.parse::<IpNet>().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from));
    let network = network.ok_or("not a network; write networks as 10.0.0.0/8,2001:db8::/32")?;
    Ok(network.trunc())
}

/// `--access-log`.
pub(super) fn access_log(text: &str) -> Result<Target, String> {
    match text {
        "" => Err("write stdout, off or the path of a file".into()),
        "off" => Ok(Target::Off),
        "stdout" | "-" => Ok(Target::Stdout),
        path => Ok(Target::File(PathBuf::from(path))),
    }
}

/// What a header field may hold.
pub(super) fn header_value(text: &str) -> Result<String, String> {
    match HeaderValue::from_str(text) {
        Ok(value) if value.to_str().is_ok() => Ok(text.into()),
        _ => Err("a header field cannot hold this; use visible ASCII characters, or \"\" to send none".into()),
    }
}

/// A level, or a list of `target=level`. A bare word that is no level would silently be taken for a target.
pub(super) fn log_filter(text: &str) -> Result<String, String> {
    let levels = ["off", "error", "warn", "info", "debug", "trace"];
    let is_level = |text: &str| levels.iter().any(|level| level.eq_ignore_ascii_case(text));
    let understood = text.split(',').all(|part| match part.split_once('=') {
        Some((target, level)) => !target.is_empty() && is_level(level),
        None => is_level(part),
    });
    match understood {
        true => Ok(text.into()),
        false => Err("write off, error, warn, info, debug or trace, or a list as info,headgate::source=debug".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn booleans_are_those_of_go() {
        assert_eq!((boolean("True"), boolean("")), (Ok(true), Ok(true)));
        assert_eq!(boolean("0"), Ok(false));
        assert!(boolean("yes").is_err());
    }

    #[test]
    fn an_ipv6_address_may_stand_in_brackets() {
        assert_eq!(bind_address("[::]"), bind_address("::"));
        assert_eq!(bind_address("127.0.0.1"), Ok(IpAddr::from([127, 0, 0, 1])));
        for text in ["", "[127.0.0.1]", "[::", "localhost", "127.0.0.1:80"] {
            assert!(bind_address(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_reference_has_a_namespace_and_a_name() {
        assert_eq!(reference("a/b"), Ok(Reference::new("a", "b")));
        for text in ["b", "/b", "a/", "a/b/c", ""] {
            assert!(reference(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_lease_lives_for_whole_seconds_and_two_at_least() {
        assert_eq!(election_ttl("2s"), Ok(Duration::from_secs(2)));
        assert_eq!(election_ttl("1m30s"), Ok(Duration::from_secs(90)));
        for text in ["0", "1s", "1999ms", "2500ms", "10", "600000h", ""] {
            assert!(election_ttl(text).is_err(), "{text}");
        }
        assert!(election_ttl("1s").unwrap_err().contains("at least 2s"));
    }

    #[test]
    fn a_single_address_is_a_network_of_one_and_host_bits_are_dropped() {
        assert_eq!(network("10.0.0.1").map(|network| network.to_string()), Ok("10.0.0.1/32".into()));
        assert_eq!(network(" 10.1.2.3/8").map(|network| network.to_string()), Ok("10.0.0.0/8".into()));
        assert!(network("10.0.0.0/33").is_err());
    }

    #[test]
    fn a_log_level_that_does_not_exist_is_not_taken_for_a_target() {
        for text in ["info", "DEBUG", "off", "warn,headgate::proxy=trace"] {
            assert!(log_filter(text).is_ok(), "{text}");
        }
        for text in ["verbose", "", "info,", "headgate=loud", "=info"] {
            assert!(log_filter(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_header_value_cannot_hold_a_line_break() {
        assert_eq!(header_value(""), Ok(String::new()));
        assert!(header_value("a\r\nb").is_err());
    }
}
