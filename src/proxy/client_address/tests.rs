use proptest::prelude::*;

use super::*;

fn networks(list: &[&str]) -> Vec<IpNet> {
    list.iter().map(|text| text.parse().unwrap()).collect()
}

fn values(list: &[&str]) -> Vec<HeaderValue> {
    list.iter().map(|text| HeaderValue::from_str(text).unwrap()).collect()
}

fn client(peer: &str, chain: &[&str], trusted: &[&str]) -> (String, bool) {
    let chain = values(chain);
    let found = resolve(peer.parse().unwrap(), || chain.iter(), &networks(trusted));
    (found.client.to_string(), found.trusted_peer)
}

#[test]
fn an_untrusted_peer_is_the_client_whatever_it_says() {
    assert_eq!(client("192.0.2.1", &["10.0.0.1"], &["10.0.0.0/8"]), ("192.0.2.1".into(), false));
    assert_eq!(client("192.0.2.1", &["198.51.100.7"], &[]), ("192.0.2.1".into(), false));
}

#[test]
fn behind_trusted_proxies_the_rightmost_untrusted_entry_counts() {
    let trusted = ["10.0.0.0/8", "2001:db8::/32"];
    let table: [(&[&str], &str); 17] = [
        (&[], "10.0.0.1"),
        (&[""], "10.0.0.1"),
        (&["203.0.113.5"], "203.0.113.5"),
        (&["6.6.6.6, 203.0.113.5"], "203.0.113.5"),
        (&["6.6.6.6, 203.0.113.5, 10.0.0.9"], "203.0.113.5"),
        (&["6.6.6.6", "203.0.113.5", "10.0.0.9"], "203.0.113.5"),
        (&["6.6.6.6,203.0.113.5", "10.0.0.8 ,10.0.0.9"], "203.0.113.5"),
        (&["10.0.0.7, 10.0.0.8"], "10.0.0.7"),
        (&["203.0.113.5:4711"], "203.0.113.5"),
        (&["[2001:db9::5]:4711, 10.0.0.8:80"], "2001:db9::5"),
        (&["[2001:db9::5]"], "2001:db9::5"),
        (&["2001:db9::5, 2001:db8::1"], "2001:db9::5"),
        (&["::ffff:203.0.113.5"], "203.0.113.5"),
        (&["[::ffff:203.0.113.5]:80"], "203.0.113.5"),
        (&["6.6.6.6, ::ffff:10.0.0.9"], "6.6.6.6"),
        (&["203.0.113.5,, ,"], "203.0.113.5"),
        (&["203.0.113.5, 10.0.0.9", ""], "203.0.113.5"),
    ];
    for (chain, expected) in table {
        assert_eq!(client("10.0.0.1", chain, &trusted), (expected.into(), true), "{chain:?}");
        assert_eq!(client("::ffff:10.0.0.1", chain, &trusted), (expected.into(), true), "{chain:?} mapped");
    }
}

#[test]
fn nothing_left_of_garbage_is_believed() {
    let garbage =
        ["unknown", "_hidden", "1.2.3", "1.2.3.4:", "1.2.3.4:x", "1.2.3.4:70000", "[::1", "::1]", "fe80::1%eth0"];
    for garbage in garbage.iter().chain(&["\"1.2.3.4\"", "1.2.3.4 5.6.7.8", "[1.2.3.4]", "01.2.3.4", "localhost"]) {
        let chain = format!("6.6.6.6, {garbage}");
        assert_eq!(client("10.0.0.1", &[&chain], &["10.0.0.0/8"]), ("10.0.0.1".into(), true), "{chain}");
        let chain = format!("6.6.6.6, {garbage}, 10.0.0.9");
        assert_eq!(client("10.0.0.1", &[&chain], &["10.0.0.0/8"]), ("10.0.0.9".into(), true), "{chain}");
    }
}

#[test]
fn bytes_beyond_ascii_are_garbage() {
    let value = HeaderValue::from_bytes(b"6.6.6.6, \xff, 10.0.0.9").unwrap();
    let found = resolve("10.0.0.1".parse().unwrap(), || [&value].into_iter(), &networks(&["10.0.0.0/8"]));
    assert_eq!(found.client.to_string(), "10.0.0.9");
}

#[test]
fn addresses_become_their_canonical_text() {
    for (address, text) in [("1.2.3.4", "1.2.3.4"), ("::ffff:1.2.3.4", "1.2.3.4"), ("2001:DB8:0::1", "2001:db8::1")] {
        assert_eq!(header_value(address.parse().unwrap()), text);
    }
    let longest = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
    assert_eq!(header_value(longest.parse().unwrap()), longest);
}

/// The rule over a list of already parsed entries, by recursion from the left.
fn model(entries: &[Option<IpAddr>], trusted: impl Fn(IpAddr) -> bool, hop: IpAddr) -> IpAddr {
    match entries.split_last() {
        _ if !trusted(hop) => hop,
        Some((Some(entry), rest)) => model(rest, trusted, *entry),
        Some((None, _)) | None => hop,
    }
}

proptest! {
    #[test]
    fn the_walk_agrees_with_the_rule(entries in proptest::collection::vec(0u8..8, 0..8), split in 0usize..8, peer in 0u8..8) {
        // Below 4: trusted, 4 to 6: not trusted, 7: garbage.
        let address = |n: u8| IpAddr::from([10, 0, 0, n]);
        let trusted: Vec<IpNet> = networks(&["10.0.0.0/30"]);
        let text = |n: &u8| if *n == 7 { "unknown".to_string() } else { address(*n).to_string() };
        let (left, right) = entries.split_at(split.min(entries.len()));
        let lines: Vec<String> =
            [left, right].iter().map(|part| part.iter().map(text).collect::<Vec<_>>().join(", ")).collect();
        let lines: Vec<HeaderValue> = lines.iter().map(|line| HeaderValue::from_str(line).unwrap()).collect();
        let parsed: Vec<_> = entries.iter().map(|n| (*n != 7).then(|| address(*n))).collect();
        let expected = model(&parsed, |hop| covers(&trusted, hop), address(peer));
        prop_assert_eq!(resolve(address(peer), || lines.iter(), &trusted).client, expected);
    }

    #[test]
    fn no_chain_is_too_odd(chain in "\\PC{0,200}") {
        let Ok(value) = HeaderValue::from_str(&chain) else { return Ok(()) };
        let everybody = networks(&["0.0.0.0/0", "::/0"]);
        prop_assert!(resolve(IpAddr::from([10, 0, 0, 1]), || [&value].into_iter(), &everybody).trusted_peer);
    }
}

#[test]
fn the_fields_of_a_peer_that_is_not_trusted_are_not_read() {
    let unread = || -> std::slice::Iter<'static, HeaderValue> { unreachable!("who sent them is not believed") };
    for trusted in [&[][..], &["10.0.0.0/8"]] {
        let found = resolve("192.0.2.1".parse().unwrap(), unread, &networks(trusted));
        assert_eq!(found, Resolved { client: "192.0.2.1".parse().unwrap(), trusted_peer: false });
    }
}
