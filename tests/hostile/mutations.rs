//! Request lines and fields, spelt in every odd way: each is refused or has one meaning, which is what goes on.

use crate::watched::{Fate, Watched};

const TEMPLATE: &str = "POST /N HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n";

/// Every byte at every place of `NAME: VALUE`, but for those that make another name or value of the same kind.
fn bytes_put_in(name: &str, value: &str) -> Vec<Vec<u8>> {
    let (name_mid, value_mid) = (name.len() / 2, value.len() / 2);
    let places: [(String, String); 7] = [
        (String::new(), format!("{name}: {value}")),
        (name[..name_mid].to_owned(), format!("{}: {value}", &name[name_mid..])),
        (name.to_owned(), format!(": {value}")),
        (format!("{name}:"), value.to_owned()),
        (format!("{name}: "), value.to_owned()),
        (format!("{name}: {}", &value[..value_mid]), value[value_mid..].to_owned()),
        (format!("{name}: {value}"), String::new()),
    ];
    let bytes = (0..=255).filter(|byte: &u8| !byte.is_ascii_alphanumeric());
    let lines = bytes.flat_map(|byte| {
        places.iter().map(move |(before, after)| [before.as_bytes(), &[byte], after.as_bytes()].concat())
    });
    lines.collect()
}

/// Other ways in which a line was made to mean two things to two readers.
fn named_ways(name: &str, value: &str) -> Vec<Vec<u8>> {
    let spread = name.replace('-', "_");
    [
        format!("{name}:{value}"),
        format!("{name} : {value}"),
        format!(" {name}: {value}"),
        format!("X: y\r\n {name}: {value}"),
        format!("X: y\r\n\t{name}: {value}"),
        format!("{name}\r\n: {value}"),
        format!("{name}:\r\n {value}"),
        format!("{name}: \r\n\t{value}"),
        format!("{name}: {value}\r\n "),
        format!("{name}: {value}\r"),
        format!("{name}: {value}\r\r"),
        format!("{name}:: {value}"),
        format!("{name}; {value}"),
        format!("{name} {value}"),
        format!("{name}: {value}, {value}"),
        format!("{name}: {value};q=1"),
        format!("{name}: ,{value}"),
        format!("{name}: {value},"),
        format!("{name}: x{value}"),
        format!("{name}: {value}x"),
        format!("{name}: \"{value}\""),
        format!("{name}: '{value}'"),
        format!("{name}: ({value})"),
        format!("{name}: identity, {value}"),
        format!("{name}: {value}, identity"),
        format!("{name}: {value}\r\n{name}: x"),
        format!("{name}: x\r\n{name}: {value}"),
        format!("{spread}: {value}"),
        format!("X: y\n{name}: {value}"),
        format!("X: y\r{name}: {value}"),
        format!("X: y\0{name}: {value}"),
        format!("{}: {value}", name.to_uppercase()),
        format!("{name}: {}", value.to_uppercase()),
        format!("{name}: %63{value}"),
        format!("\u{feff}{name}: {value}"),
    ]
    .map(String::into_bytes)
    .into()
}

/// Each line with `beside` and `body`: refused, or forwarded once with a framing of our own.
#[track_caller]
fn one_meaning(lines: &[Vec<u8>], beside: &str, body: &str) {
    let watched = Watched::new();
    let text = |(number, line): (usize, &Vec<u8>)| {
        let start = TEMPLATE.replace("/N", &format!("/{number}"));
        [start.as_bytes(), beside.as_bytes(), line, b"\r\n\r\n", body.as_bytes()].concat()
    };
    let texts: Vec<_> = lines.iter().enumerate().map(text).collect();
    let fates = watched.send_all(&texts);
    let forwarded = watched.forwarded();
    let mut served = 0;
    for (number, (fate, text)) in fates.iter().zip(&texts).enumerate() {
        let came = forwarded.get(&format!("/{number}")).map_or(0, Vec::len);
        let expected = if fate.is_refusal() { 0 } else { 1 };
        served += came;
        let fine = came == expected && (fate.is_refusal() || *fate == Fate::Answered(200));
        assert!(fine, "{:?}: {fate:?}, forwarded {came} times", String::from_utf8_lossy(text));
    }
    // What none of the texts asks for was made by one of them.
    assert_eq!(forwarded.values().map(Vec::len).sum::<usize>(), served + 1, "{:?}", forwarded.keys());
}

fn every_way(name: &str, value: &str) -> Vec<Vec<u8>> {
    bytes_put_in(name, value).into_iter().chain(named_ways(name, value)).collect()
}

const CHUNKS: &str = "1\r\nZ\r\n0\r\n\r\n";

#[test]
fn no_spelling_of_transfer_encoding_means_two_things() {
    let lines = every_way("Transfer-Encoding", "chunked");
    one_meaning(&lines, "", CHUNKS);
    one_meaning(&lines, &format!("Content-Length: {}\r\n", CHUNKS.len()), CHUNKS);
}

#[test]
fn no_spelling_of_content_length_means_two_things() {
    let lines = every_way("Content-Length", "11");
    one_meaning(&lines, "", CHUNKS);
    one_meaning(&lines, "Transfer-Encoding: chunked\r\n", CHUNKS);
}

#[test]
fn no_spelling_of_host_means_two_things() {
    one_meaning(&every_way("Host", "b.example"), "", "");
    let watched = Watched::new();
    let around = ["\u{a0}", "\u{85}", "\u{c}", "\u{b}", "\u{2003}"];
    let hosts = around.iter().flat_map(|blank| [format!("{blank}a.example"), format!("a.example{blank}")]);
    let texts: Vec<_> = hosts.map(|host| format!("GET /0 HTTP/1.1\r\nHost: {host}\r\n\r\n").into_bytes()).collect();
    assert!(watched.send_all(&texts).into_iter().all(Fate::is_refusal));
    assert_eq!(watched.forwarded().into_keys().collect::<Vec<_>>(), ["/clean"]);
}

#[test]
fn an_escaped_name_is_another_name() {
    let watched = Watched::new();
    let line = "Transfer-%45ncoding: chunked\r\n\r\n";
    let text = format!("{}{line}{CHUNKS}", TEMPLATE.replace("/N", "/0")).into_bytes();
    assert_eq!(watched.send_all(&[text]), [Fate::Answered(200)]);
    let came = watched.backend.request_to("/0");
    assert_eq!((came.body.as_slice(), came.header("transfer-encoding")), (&b""[..], None));
}

#[test]
fn a_method_is_a_token_and_not_long() {
    let watched = Watched::new();
    let long = "M".repeat(100_000);
    let methods = ["get", "G\tET", "G(T", "\"GET\"", "GE\u{e9}T", "", &"M".repeat(33), &long];
    let text = |(number, method): (usize, &&str)| {
        format!("{method} /{number} HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n").into_bytes()
    };
    let texts: Vec<_> = methods.iter().enumerate().map(text).collect();
    let fates = watched.send_all(&texts);
    assert_eq!(fates[0], Fate::Answered(200), "a method is not ours to spell");
    assert!(fates[1..].iter().all(|fate| fate.is_refusal()), "{fates:?}");
    assert_eq!(watched.backend.request_to("/0").method(), "get");
    assert_eq!(watched.forwarded().into_keys().collect::<Vec<_>>(), ["/0", "/clean"]);
}

#[test]
fn ranges_and_cookies_are_bounded_as_fields_are() {
    let watched = Watched::new();
    let parts = (0..1000).map(|part| format!("{part}-{part}")).collect::<Vec<_>>().join(",");
    let cookies = |count: usize| "Cookie: a=b\r\n".repeat(count);
    let lines = [
        format!("Range: bytes={parts}\r\n"),
        cookies(90),
        cookies(1000),
        format!("Cookie: {}\r\n", "c".repeat(65_536)),
    ];
    let text = |(number, lines): (usize, &String)| {
        format!("{}{lines}\r\n", TEMPLATE.replace("/N", &format!("/{number}"))).into_bytes()
    };
    let texts: Vec<_> = lines.iter().enumerate().map(text).collect();
    assert_eq!(watched.send_all(&texts), [200, 200, 431, 431].map(Fate::Answered));
    assert_eq!(watched.backend.request_to("/1").all("cookie"), [["a=b"; 90].join("; ")]);
    watched.forwarded();
}
