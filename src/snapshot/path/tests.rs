use proptest::prelude::*;

use super::*;

#[test]
fn paths_have_one_form() {
    for (sent, normal) in [
        ("/", "/"),
        ("/a/b", "/a/b"),
        ("/a/", "/a/"),
        ("/Admin", "/Admin"),
        ("//a//b", "//a//b"),
        ("/%61%7E%2d%5F%39%5a", "/a~-_9Z"),
        ("/a%2fb%5c%3b%25", "/a%2Fb%5C%3B%25"),
        ("/caf%c3%A9%20au%23lait%3F", "/caf%C3%A9%20au%23lait%3F"),
        ("/%252e%252e%252f", "/%252e%252e%252f"),
        ("/%2541", "/%2541"),
        ("/a.b/.well-known/.../..a/a../%2eb/a%2E", "/a.b/.well-known/.../..a/a../.b/a."),
        ("/a;x=1/;y", "/a;x=1/;y"),
        ("/!$&'()*+,;=:@-._~", "/!$&'()*+,;=:@-._~"),
        ("/{\"a\"|^`<b>}[]", "/{\"a\"|^`<b>}[]"),
        ("/%01%7f", "/%01%7F"),
    ] {
        assert_eq!(normalize(sent).as_deref(), Ok(normal), "{sent}");
    }
}

#[test]
fn dot_segments_are_refused() {
    let sent = "/. /.. /a/. /a/.. /./a /a/../admin /./admin /%2e%2e /%2E. /.%2e/a /%2e /a/%2E/b /..;/a /..;x /.;/ /%2e%2e;a=b/ //..";
    for sent in sent.split(' ') {
        assert_eq!(normalize(sent), Err(InvalidPath::DotSegment), "{sent}");
    }
}

#[test]
fn bytes_that_no_path_has_are_refused() {
    for sent in
        ["/a b", "/a\t", "/\r\n", "/\0", "/\x7f", "/é", "/a\\b", "/a#b", "/a?b", "/%00", "/%0d", "/%0A", "/\u{85}"]
    {
        assert_eq!(normalize(sent), Err(InvalidPath::Byte), "{sent}");
    }
    for sent in ["/%", "/%4", "/%zz", "/%4g", "/%é", "/%4é", "/a%%41"] {
        assert_eq!(normalize(sent), Err(InvalidPath::Escape), "{sent}");
    }
    for sent in ["", "a", "*", "%2F", "http://h/", " /"] {
        assert_eq!(normalize(sent), Err(InvalidPath::NotAbsolute), "{sent}");
    }
}

#[test]
fn a_normal_path_is_borrowed() {
    for sent in ["/", "/a/b.c//", "/a%2Fb"] {
        assert!(matches!(normalize(sent), Ok(Cow::Borrowed(_))), "{sent}");
    }
}

/// All escapes decoded, once.
fn decoded(text: &str) -> Vec<u8> {
    let mut bytes = text.bytes();
    let mut decoded = Vec::new();
    while let Some(byte) = bytes.next() {
        let mut digit = || char::from(bytes.next().unwrap()).to_digit(16).unwrap() as u8;
        decoded.push(if byte == b'%' { digit() << 4 | digit() } else { byte });
    }
    decoded
}

/// Paths that are dense in what matters.
fn path() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        4 => "[/.;aZ~{]",
        2 => "%(2[efEF]|5[cC]|3[bB]|25|61|7[eE]|c3|20)",
        1 => "%[0-9a-fA-F]{2}",
        1 => "[\\x00-\\x7f%]",
    ];
    prop::collection::vec(part, 0..12).prop_map(|parts| format!("/{}", parts.concat()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn the_normal_form_is_stable_and_means_the_same(text in path()) {
        let Ok(normal) = normalize(&text) else { return Ok(()) };
        prop_assert_eq!(normalize(&normal), Ok(Cow::Borrowed(&*normal)));
        prop_assert_eq!(decoded(&normal), decoded(&text));
    }

    #[test]
    fn nothing_served_climbs_or_ends_a_line(text in path()) {
        let Ok(normal) = normalize(&text) else { return Ok(()) };
        prop_assert!(!decoded(&normal).iter().any(|byte| matches!(byte, 0 | b'\r' | b'\n')));
        for segment in normal.split('/') {
            let name = segment.split(';').next().unwrap();
            prop_assert!(name != "." && name != "..", "{}", normal);
        }
    }

    #[test]
    fn spellings_of_the_same_path_have_one_form(parts in prop::collection::vec((0..SPELLINGS.len(), 0..3usize), 0..10)) {
        let spell = |with: &dyn Fn(usize) -> usize| {
            "/".to_owned() + &parts.iter().map(|&(part, which)| SPELLINGS[part][with(which)]).collect::<String>()
        };
        let (sent, plain) = (spell(&|which| which), spell(&|_| 0));
        prop_assert_eq!(normalize(&sent), normalize(&plain));
    }
}

const SPELLINGS: [[&str; 3]; 7] = [
    ["a", "%61", "a"],
    ["Z", "%5A", "%5a"],
    [".", "%2E", "%2e"],
    ["~", "%7E", "%7e"],
    ["%2F", "%2f", "%2F"],
    ["%C3", "%c3", "%C3"],
    ["/", "/", "/"],
];
