use proptest::prelude::*;

use super::*;

#[test]
fn hosts_have_one_form() {
    for (sent, normal) in [
        ("example.com", "example.com"),
        ("EXAMPLE.Com", "example.com"),
        ("example.com.", "example.com"),
        ("localhost", "localhost"),
        ("my_service-1.local", "my_service-1.local"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("-odd-.example", "-odd-.example"),
        ("10.0.0.1", "10.0.0.1"),
        ("[::1]", "[::1]"),
        ("[2001:DB8:0:0:0::1]", "[2001:db8::1]"),
        ("[1::0]", "[1::]"),
        ("[::ffff:10.0.0.1]", "[::ffff:10.0.0.1]"),
    ] {
        assert_eq!(normalize(sent).as_deref(), Ok(normal), "{sent}");
    }
}

#[test]
fn what_is_no_host_is_refused() {
    for (sent, reason) in [
        ("", InvalidHost::Empty),
        (".", InvalidHost::Label),
        ("..", InvalidHost::Label),
        ("a..b", InvalidHost::Label),
        (".a", InvalidHost::Label),
        ("a..", InvalidHost::Label),
        ("a,b", InvalidHost::Byte),
        ("u@h", InvalidHost::Byte),
        ("h/p", InvalidHost::Byte),
        ("h#f", InvalidHost::Byte),
        ("h?q", InvalidHost::Byte),
        ("a b", InvalidHost::Byte),
        (" a", InvalidHost::Byte),
        ("a\t", InvalidHost::Byte),
        ("a\0", InvalidHost::Byte),
        ("a%41", InvalidHost::Byte),
        ("*.example.com", InvalidHost::Byte),
        ("bücher.example", InvalidHost::Byte),
        ("h:80", InvalidHost::Byte),
        ("[::1", InvalidHost::Address),
        ("[]", InvalidHost::Address),
        ("[10.0.0.1]", InvalidHost::Address),
        ("[fe80::1%25eth0]", InvalidHost::Address),
        ("[v1.x]", InvalidHost::Address),
        ("[::1].", InvalidHost::Byte),
        ("[::1]x", InvalidHost::Byte),
    ] {
        assert_eq!(normalize(sent), Err(reason), "{sent}");
    }
}

#[test]
fn labels_end_at_63_bytes_and_names_at_253() {
    let label = |length| "a".repeat(length);
    assert!(normalize(&label(63)).is_ok());
    assert_eq!(normalize(&label(64)), Err(InvalidHost::Label));
    assert_eq!(normalize(&format!("{}.b", label(64))), Err(InvalidHost::Label));
    let name = |last| [label(63), label(63), label(63), label(last)].join(".");
    assert!(normalize(&name(61)).is_ok());
    assert!(normalize(&(name(61) + ".")).is_ok());
    assert_eq!(normalize(&name(62)), Err(InvalidHost::TooLong));
}

#[test]
fn a_port_is_split_off() {
    for (sent, host, port) in [
        ("h", "h", None),
        ("h:", "h", None),
        ("H.:80", "h", Some(80)),
        ("h:1", "h", Some(1)),
        ("h:65535", "h", Some(65535)),
        ("h:00080", "h", Some(80)),
        ("[::1]", "[::1]", None),
        ("[::1]:", "[::1]", None),
        ("[::0001]:8443", "[::1]", Some(8443)),
    ] {
        assert_eq!(split_port(sent), Ok((host.into(), port)), "{sent}");
    }
}

#[test]
fn what_is_no_port_is_refused() {
    for sent in
        ["h:0", "h:65536", "h:x", "h:+80", "h:-1", "h: 80", "h:80 ", "h:8080:", "h:1:2", "u:p@h", "h:000080", "[::1]:0"]
    {
        assert_eq!(split_port(sent), Err(InvalidHost::Port), "{sent}");
    }
    for (sent, reason) in [
        (":80", InvalidHost::Empty),
        ("", InvalidHost::Empty),
        (".:80", InvalidHost::Label),
        ("a,b:80", InvalidHost::Byte),
        ("h/:80", InvalidHost::Byte),
        ("[::1]80", InvalidHost::Byte),
        ("::1", InvalidHost::Empty),
    ] {
        assert_eq!(split_port(sent), Err(reason), "{sent}");
    }
}

#[test]
fn a_normal_host_is_borrowed() {
    for sent in ["example.com", "example.com.", "[2001:db8::1]", "a_b:80"] {
        assert!(matches!(split_port(sent), Ok((Cow::Borrowed(_), _))), "{sent}");
    }
}

#[test]
fn wildcard_covers_exactly_one_label() {
    let pattern = HostPattern::parse("*.Example.com").unwrap();
    for (host, covered) in
        [("a.example.com", true), ("example.com", false), ("b.a.example.com", false), ("a.example.org", false)]
    {
        assert_eq!(pattern.covers(&HostName::parse(host).unwrap()), covered, "{host}");
    }
}

#[test]
fn a_name_covers_itself_and_the_empty_pattern_everything() {
    let covers = |pattern, host| HostPattern::parse(pattern).unwrap().covers(&HostName::parse(host).unwrap());
    assert!(covers("a.example.com", "A.example.com."));
    assert!(!covers("a.example.com", "b.example.com"));
    assert!(covers("", "a.example.com"));
}

#[test]
fn patterns_print_as_they_are_written() {
    for (text, shown) in [("", "*"), ("*.example.com", "*.example.com"), ("a.example.com", "a.example.com")] {
        assert_eq!(HostPattern::parse(text).unwrap().to_string(), shown);
    }
    assert_eq!(HostPattern::parse("*."), Err(InvalidHost::Empty));
    assert_eq!(HostPattern::parse("*.*.com"), Err(InvalidHost::Byte));
}

proptest! {
    #[test]
    fn the_normal_form_is_stable_and_the_same_name(text in "[aAzZ09._:-]{0,12}|[a-zA-Z0-9.-]{1,70}|\\[[0-9aF:]{0,20}\\]|\\PC{0,8}") {
        let Ok(host) = normalize(&text) else { return Ok(()) };
        prop_assert_eq!(normalize(&host), Ok(Cow::Borrowed(&*host)));
        match text.strip_prefix('[') {
            None => prop_assert_eq!(text.strip_suffix('.').unwrap_or(&text).to_lowercase(), &*host),
            Some(_) => {
                let address = |text: &str| text.trim_matches(['[', ']']).parse::<Ipv6Addr>().unwrap();
                prop_assert_eq!(address(&text), address(&host));
            }
        }
    }

    #[test]
    fn host_and_port_are_the_host_and_the_port(host in "[a-zA-Z0-9._-]{0,9}|\\[[0-9a:]{0,9}\\]", port in 0..70_000u32) {
        let split = split_port(&format!("{host}:{port}")).ok().map(|(host, port)| (host.into_owned(), port));
        let parts = normalize(&host).ok().filter(|_| (1..=65_535).contains(&port));
        prop_assert_eq!(split, parts.map(|host| (host.into_owned(), Some(port as u16))));
    }
}
