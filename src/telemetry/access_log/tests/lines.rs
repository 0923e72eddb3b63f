//! One entry, one line.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn parsed(entry: &Entry<'_>) -> Value {
    serde_json::from_str(&written(Format::Json, entry)).unwrap()
}

#[test]
fn a_json_line_holds_every_field_in_a_stable_order() {
    let tries = [attempt("10.1.0.1:8080", 2, 0, 0), attempt("[2001:db8::2]:8080", 40, 200, 512)];
    let expected = concat!(
        r#"{"timestamp":"2026-12-31T23:59:59.250Z","client_ip":"203.0.113.7","method":"GET","scheme":"https","#,
        r#""host":"shop.example","path":"/cart","query":"id=1","protocol":"HTTP/2.0","status":200,"#,
        r#""duration_ms":1234.567,"bytes_sent":512,"bytes_received":33,"backend":"shop-cart-80","#,
        r#""endpoint":"[2001:db8::2]:8080","endpoint_status":200,"endpoint_duration_ms":40.000,"retries":1,"#,
        r#""failed_tries":[{"endpoint":"10.1.0.1:8080","status":0,"duration_ms":2.000}],"flag":"","#,
        r#""namespace":"shop","ingress":"web","service":"cart","route":"shop/web shop.example /cart","#,
        r#""request_id":"5f3c","user_agent":"curl/8.9","referer":"https://shop.example/","tls_version":"1.3","#,
        r#""peer":"10.0.0.1:40000"}"#,
        "\n"
    );
    assert_eq!(written(Format::Json, &entry(&tries)), expected);
}

#[test]
fn numbers_are_numbers() {
    let line = parsed(&entry(&[attempt("10.1.0.1:8080", 40, 200, 512)]));
    assert!(line["status"].is_u64() && line["bytes_sent"].is_u64() && line["bytes_received"].is_u64());
    assert_eq!(line["duration_ms"], json!(1234.567));
    assert_eq!(line["retries"], json!(0));
    assert_eq!(line.get("failed_tries"), None);
}

#[test]
fn a_request_without_a_try_has_no_endpoint() {
    let line = parsed(&Entry { backend: "", status: 404, ..entry(&[]) });
    assert_eq!((&line["backend"], &line["endpoint"], &line["endpoint_status"]), (&json!(""), &json!(""), &json!(0)));
}

#[test]
fn an_upstreaminfo_line_is_what_ingress_nginx_writes() {
    let tries = [attempt("10.1.0.1:8080", 2, 0, 0), attempt("10.1.0.2:8080", 40, 200, 512)];
    let expected = concat!(
        r#"203.0.113.7 - - [01/Jan/2027:00:00:00 +0000] "GET /cart?id=1 HTTP/2.0" 200 512 "https://shop.example/" "#,
        r#""curl/8.9" 33 1.234 [shop-cart-80] [] 10.1.0.1:8080, 10.1.0.2:8080 0, 512 0.002, 0.040 502, 200 5f3c"#,
        "\n"
    );
    assert_eq!(written(Format::Upstreaminfo, &entry(&tries)), expected);
}

#[test]
fn what_an_upstreaminfo_line_lacks_is_a_dash() {
    let bare = Entry { query: b"", referer: b"", user_agent: b"", backend: "", status: 404, ..entry(&[]) };
    let line = written(Format::Upstreaminfo, &bare);
    assert!(line.ends_with("\"GET /cart HTTP/2.0\" 404 512 \"-\" \"-\" 33 1.234 [-] [] - - - - 5f3c\n"), "{line}");
}

#[test]
fn an_upstreaminfo_try_without_a_response_has_the_status_nginx_gives_it() {
    for (status, expected) in [(502, "502"), (504, "504"), (499, "-")] {
        let tries = [attempt("10.1.0.1:8080", 7, 0, 0)];
        let line = written(Format::Upstreaminfo, &Entry { status, ..entry(&tries) });
        assert!(line.ends_with(&format!(" 10.1.0.1:8080 0 0.007 {expected} 5f3c\n")), "{line}");
    }
}

#[test]
fn a_client_cannot_add_a_line_or_a_field() {
    let hostile = b"a\" 200\r\n{\"x\":1}\\\x1b[2J\x7f\xff\xe2\x80\xa8\xe2\x80\xae\xc2\x85";
    let entry = Entry { user_agent: hostile, path: hostile, ..entry(&[]) };
    let json = written(Format::Json, &entry);
    let shown =
        r#""path":"a\" 200\u000d\u000a{\"x\":1}\\\u001b[2J\u007f"#.to_owned() + "\u{fffd}" + r#"\u2028\u202e\u0085""#;
    assert!(json.contains(&shown), "{json}");
    let text = written(Format::Upstreaminfo, &entry);
    let shown = r#"a\x22 200\x0D\x0A{\x22x\x22:1}\x5C\x1B[2J\x7F\xFF\xE2\x80\xA8\xE2\x80\xAE\xC2\x85"#;
    assert!(text.contains(&format!("\"GET {shown}?id=1 HTTP/2.0\"")), "{text}");
}

#[test]
fn a_field_beyond_8_kib_is_cut_and_marked() {
    for (length, cut) in [(FIELD_BYTES - 1, false), (FIELD_BYTES, false), (FIELD_BYTES + 1, true)] {
        let path = vec![b'x'; length];
        let entry = Entry { path: &path, ..entry(&[]) };
        let shown = "x".repeat(length.min(FIELD_BYTES)) + if cut { "..." } else { "" };
        assert_eq!(parsed(&entry)["path"], json!(shown));
        assert!(written(Format::Upstreaminfo, &entry).contains(&format!(" {shown}?id=1 ")));
    }
}

proptest! {
    #[test]
    fn any_bytes_make_one_valid_line(
        host in any::<Vec<u8>>(), path in any::<Vec<u8>>(), query in ".*", agent in any::<Vec<u8>>(), id in ".*",
        nanos in any::<u64>(), status in any::<u16>(), sent in any::<u64>(), received in any::<u64>(), seconds in any::<u32>(),
    ) {
        let start = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds.into());
        let entry = Entry {
            start, duration: Duration::from_nanos(nanos), host: &host, path: &path, query: query.as_bytes(),
            user_agent: &agent, request_id: &id, status, bytes_sent: sent, bytes_received: received, ..entry(&[])
        };
        let json = written(Format::Json, &entry);
        prop_assert!(json.ends_with('\n') && !json.trim_end_matches('\n').contains(char::is_control));
        let line: Value = serde_json::from_str(&json).unwrap();
        prop_assert_eq!(&line["host"], &json!(String::from_utf8_lossy(&host)));
        prop_assert_eq!(&line["path"], &json!(String::from_utf8_lossy(&path)));
        prop_assert_eq!(&line["query"], &json!(query));
        prop_assert_eq!(&line["user_agent"], &json!(String::from_utf8_lossy(&agent)));
        prop_assert_eq!(&line["request_id"], &json!(id));
        prop_assert_eq!(&line["status"], &json!(status));
        prop_assert_eq!((&line["bytes_sent"], &line["bytes_received"]), (&json!(sent), &json!(received)));
        let text = written(Format::Upstreaminfo, &entry);
        prop_assert!(text.strip_suffix('\n').unwrap().bytes().all(|byte| (b' '..=b'~').contains(&byte)));
    }
}
