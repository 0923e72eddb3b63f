//! The cases that come with the crate http_desync_guardian: what it calls dangerous is refused or made harmless, what it
//! calls right is served.

use std::path::PathBuf;
use std::process::Command;

use serde::Deserialize;

use crate::support::{Backend, Client};
use crate::watched::{Fate, Watched};

/// Of the bodies that are sent.
const LONGEST: usize = 1 << 20;

#[derive(Debug, Deserialize)]
struct Case {
    name: String,
    uri: String,
    method: String,
    version: String,
    #[serde(default)]
    headers: Vec<Field>,
    expected: Expected,
}

#[derive(Debug, Deserialize)]
struct Field {
    name: String,
    #[serde(deserialize_with = "as_text")]
    value: String,
}

#[derive(Debug, Deserialize)]
struct Expected {
    tier: String,
}

/// A text or a number.
fn as_text<'de, D: serde::Deserializer<'de>>(value: D) -> Result<String, D::Error> {
    Ok(match serde_yaml::Value::deserialize(value)? {
        serde_yaml::Value::String(text) => text,
        other => serde_yaml::to_string(&other).unwrap().trim_end().to_owned(),
    })
}

/// Where the source of the crate is, with its tests.
fn folder() -> PathBuf {
    let host = Command::new("rustc").args(["--print", "host-tuple"]).output().unwrap();
    let host = String::from_utf8(host.stdout).unwrap();
    // What other platforms need was not fetched to build this.
    let platform = format!("--filter-platform={}", host.trim());
    let cargo = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--locked", "--offline", &platform])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    let metadata: serde_json::Value = serde_json::from_slice(&cargo.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let guardian = packages.iter().find(|package| package["name"] == "http_desync_guardian").unwrap();
    PathBuf::from(guardian["manifest_path"].as_str().unwrap()).with_file_name("tests")
}

fn cases() -> Vec<Case> {
    let files = std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path());
    let files = files.filter(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    let read = |path: PathBuf| {
        let text = std::fs::read_to_string(&path).unwrap();
        serde_yaml::from_str::<Vec<Case>>(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    };
    files.flat_map(read).collect()
}

/// The bytes of a text whose characters below 256 stand for bytes.
fn bytes(text: &str) -> Vec<u8> {
    let mut utf8 = [0; 4];
    text.chars()
        .flat_map(|character| match u8::try_from(character) {
            Ok(byte) => vec![byte],
            Err(_) => character.encode_utf8(&mut utf8).as_bytes().to_vec(),
        })
        .collect()
}

impl Case {
    fn length(&self) -> usize {
        let lengths = self.headers.iter().filter(|field| field.name.eq_ignore_ascii_case("content-length"));
        lengths.filter_map(|field| field.value.trim().parse().ok()).max().unwrap_or(0)
    }

    /// It takes this for right, which RFC 3986 or this proxy does not: a target with a line end or beyond ASCII, or a coding
    /// besides chunked.
    fn is_refused_here(&self) -> bool {
        let mut codings = self.headers.iter().filter(|field| field.name.eq_ignore_ascii_case("transfer-encoding"));
        let only = codings.next().is_none_or(|first| first.value.trim() == "chunked") && codings.next().is_none();
        let odd = self.uri.is_empty() || self.uri.contains(|letter: char| letter == '#' || !letter.is_ascii());
        !only || odd || ["%0D", "%0A"].iter().any(|escape| self.uri.contains(escape))
    }

    /// Its head with a Host, if it has none, and all of the body that a length in it may mean.
    fn text(&self) -> Vec<u8> {
        let mut text = [&bytes(&self.method)[..], b" ", &bytes(&self.uri)].concat();
        if !self.version.is_empty() {
            text.extend([b" ", &bytes(&self.version)[..]].concat());
        }
        text.extend(b"\r\n");
        if !self.headers.iter().any(|field| field.name.eq_ignore_ascii_case("host")) {
            text.extend(b"Host: a.example\r\n");
        }
        for field in &self.headers {
            text.extend([&bytes(&field.name)[..], b": ", &bytes(&field.value), b"\r\n"].concat());
        }
        let mut body = b"0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a.example\r\n\r\n".to_vec();
        body.resize(self.length().min(LONGEST).max(body.len()), b'x');
        [text, b"\r\n".to_vec(), body].concat()
    }
}

#[test]
fn what_it_calls_dangerous_is_refused_or_made_harmless() {
    let cases = cases();
    assert!(cases.len() >= 158, "{} cases", cases.len());
    let watched = Watched::new();
    let fates = watched.send_all(&cases.iter().map(Case::text).collect::<Vec<_>>());
    watched.forwarded();
    for (case, fate) in cases.iter().zip(fates) {
        match case.expected.tier.as_str() {
            "Severe" => assert!(fate.is_refusal(), "{}: {fate:?}", case.name),
            "Compliant" if case.is_refused_here() => assert_eq!(fate, Fate::Answered(400), "{}", case.name),
            // Nobody sends the body of this one.
            "Compliant" if case.length() > LONGEST => {}
            "Compliant" => assert_ne!(fate, Fate::Answered(400), "{}", case.name),
            _ => {}
        }
    }
}

#[test]
#[should_panic(expected = "may be read as framing")]
fn every_backend_judges_what_reached_it() {
    reach(b"Content_Length: 5\r\n");
}

#[test]
#[should_panic(expected = "Severe")]
fn every_backend_shows_the_guard_what_reached_it() {
    reach(b"X: \0\r\n");
}

/// What no proxy forwards.
fn reach(line: &[u8]) {
    let backend = Backend::answering("ok");
    let mut client = Client::connect(backend.address);
    client.send([b"GET / HTTP/1.1\r\nHost: a\r\n", line, b"\r\n"].concat());
    client.response();
}
