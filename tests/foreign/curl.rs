//! curl: the client that everyone tries first.

use std::net::SocketAddr;

use serde_json::json;

use super::tools::{Run, fed, run};
use crate::support::objects::{site_with_policy, tls_site};
use crate::support::{Backend, Headgate, TestCertificate};

const HOST: &str = "a.example";

/// A proxy for one host with a certificate that curl can verify, and one without.
struct Site {
    headgate: Headgate,
    authority: String,
}

impl Site {
    fn before(backend: &Backend) -> Self {
        let certificate = TestCertificate::for_names(&[HOST]);
        let mut objects = tls_site(HOST, &[backend.address], &certificate);
        objects.extend(crate::support::site("plain.example", &[backend.address]));
        let headgate = Headgate::with(&objects).start();
        let authority = headgate.folder.beside("authority.pem").display().to_string();
        std::fs::write(&authority, &certificate.pem).unwrap();
        Site { headgate, authority }
    }

    /// Over HTTPS.
    #[track_caller]
    fn safely(&self, path: &str, arguments: &[&str]) -> Run {
        let url = format!("https://{HOST}:{}{path}", self.headgate.https.port());
        run("curl", &self.all(HOST, self.headgate.https, &url, arguments))
    }

    /// Over HTTP.
    #[track_caller]
    fn plainly(&self, path: &str, arguments: &[&str]) -> Run {
        self.plainly_fed(path, arguments, b"")
    }

    #[track_caller]
    fn plainly_fed(&self, path: &str, arguments: &[&str], input: &[u8]) -> Run {
        let url = format!("http://plain.example:{}{path}", self.headgate.http.port());
        fed("curl", &self.all("plain.example", self.headgate.http, &url, arguments), input)
    }

    fn all(&self, host: &str, address: SocketAddr, url: &str, arguments: &[&str]) -> Vec<String> {
        let resolve = format!("{host}:{}:127.0.0.1", address.port());
        let own = ["--silent", "--show-error", "--max-time", "30", "--resolve", &resolve, "--cacert", &self.authority];
        own.iter().chain(arguments).chain([&url]).map(|argument| (*argument).to_owned()).collect()
    }
}

#[test]
fn a_page_over_every_protocol() {
    let backend = Backend::answering("hello");
    let site = Site::before(&backend);
    let written = ["-w", " %{http_version} %{response_code} %{ssl_verify_result}"];
    let with = |more: &[&'static str]| [&written[..], more].concat();
    assert_eq!(site.plainly("/", &with(&["--http1.1"])).text(), "hello 1.1 200 0");
    assert_eq!(site.plainly("/", &with(&["--http1.0"])).text(), "hello 1 200 0");
    assert_eq!(site.plainly("/", &with(&["--http2-prior-knowledge"])).text(), "hello 2 200 0");
    assert_eq!(site.safely("/", &with(&["--http1.1"])).text(), "hello 1.1 200 0");
    assert_eq!(site.safely("/", &with(&["--http2"])).text(), "hello 2 200 0");
    assert_eq!(site.safely("/", &with(&["--http2", "--tls-max", "1.2"])).text(), "hello 2 200 0");
    assert_eq!(site.safely("/", &with(&["--no-alpn"])).text(), "hello 1.1 200 0");
}

#[test]
fn an_offer_to_upgrade_to_h2c_is_served_over_http1() {
    let backend = Backend::answering("hello");
    let answer = Site::before(&backend).plainly("/", &["--http2", "-w", " %{http_version} %{response_code}"]);
    assert_eq!(answer.text(), "hello 1.1 200");
    assert_eq!(backend.only().all("upgrade"), Vec::<String>::new());
}

#[test]
fn a_redirect_to_https_is_followed() {
    let backend = Backend::answering("safe");
    let certificate = TestCertificate::for_names(&[HOST]);
    let headgate = Headgate::with(&tls_site(HOST, &[backend.address], &certificate)).start();
    let (http, https) = (headgate.http.port(), headgate.https.port());
    // The redirect names the standard port, which --connect-to leads to the one of this test.
    let connect = format!("{HOST}:443:127.0.0.1:{https}");
    let resolve = format!("{HOST}:{http}:127.0.0.1");
    let url = format!("http://{HOST}:{http}/a%20b?c=d");
    let answer = run(
        "curl",
        &["-sSLk", "--connect-to", &connect, "--resolve", &resolve, "-w", " %{num_redirects} %{url_effective}", &url],
    );
    assert_eq!(answer.text(), format!("safe 1 https://{HOST}/a%20b?c=d"));
}

#[test]
fn head_tells_the_length_and_sends_no_body() {
    let backend = Backend::answering("hello");
    let site = Site::before(&backend);
    for protocol in ["--http1.1", "--http2-prior-knowledge"] {
        let answer = site.plainly("/", &["--head", protocol, "-w", "%{size_download}"]).text();
        assert!(answer.to_ascii_lowercase().contains("\r\ncontent-length: 5\r\n"), "{answer}");
        assert!(answer.ends_with("\r\n\r\n0"), "{answer}");
    }
    assert!(backend.seen().iter().all(|seen| seen.method() == "HEAD"));
}

#[test]
fn an_upload_waits_for_the_100_of_the_proxy() {
    let backend = Backend::answering("stored");
    let site = Site::before(&backend);
    let expecting = ["--http1.1", "-v", "-H", "Expect: 100-continue", "--expect100-timeout", "20", "-d", "content"];
    let answer = site.plainly("/", &expecting);
    assert_eq!(answer.text(), "stored");
    let (interim, last) = (answer.stderr.find("< HTTP/1.1 100 "), answer.stderr.find("< HTTP/1.1 200 "));
    assert!(interim.is_some() && interim < last, "{}", answer.stderr);
    let seen = backend.only();
    assert_eq!((seen.body.as_slice(), seen.header("expect")), (&b"content"[..], None));
}

#[test]
fn a_megabyte_goes_up_unchanged() {
    let backend = Backend::answering("stored");
    let site = Site::before(&backend);
    let bytes = megabyte();
    let file = site.headgate.folder.beside("upload");
    std::fs::write(&file, &bytes).unwrap();
    let data = format!("@{}", file.display());
    for protocol in ["--http1.1", "--http2-prior-knowledge"] {
        assert_eq!(site.plainly("/", &[protocol, "--data-binary", &data]).text(), "stored");
        assert!(backend.last().body == bytes, "{protocol}");
        assert_eq!(site.safely("/", &[protocol, "--data-binary", &data]).text(), "stored");
        assert!(backend.last().body == bytes, "{protocol} over TLS");
    }
}

#[test]
fn a_megabyte_of_unknown_length_goes_up_unchanged() {
    let backend = Backend::answering("stored");
    let site = Site::before(&backend);
    let bytes = megabyte();
    for protocol in ["--http1.1", "--http2-prior-knowledge"] {
        assert_eq!(site.plainly_fed("/up", &[protocol, "-T", "-"], &bytes).text(), "stored");
        assert!(backend.last().body == bytes, "{protocol}");
        assert_eq!(backend.last().header("content-length"), None);
    }
}

#[test]
fn a_megabyte_comes_down_unchanged() {
    let bytes = megabyte();
    let sized = [format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", bytes.len()).into_bytes(), bytes.clone()];
    let chunked = [
        format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n", bytes.len()).into_bytes(),
        bytes.clone(),
        b"\r\n0\r\n\r\n".to_vec(),
    ];
    for response in [sized.concat(), chunked.concat()] {
        let backend = Backend::sending(response);
        let site = Site::before(&backend);
        for protocol in ["--http1.1", "--http2-prior-knowledge"] {
            assert!(site.plainly("/", &[protocol]).stdout == bytes, "{protocol}");
            assert!(site.safely("/", &[protocol]).stdout == bytes, "{protocol} over TLS");
        }
    }
}

#[test]
fn one_connection_serves_many_urls() {
    let backend = Backend::answering("x");
    let site = Site::before(&backend);
    let expected = format!("x 1\n{}", "x 0\n".repeat(19));
    let written = ["-w", " %{num_connects}\n"];
    assert_eq!(site.plainly("/[1-20]", &[&written[..], &["--http1.1"]].concat()).text(), expected);
    // Not with prior knowledge: some versions of curl cannot use such a connection twice.
    assert_eq!(site.safely("/[1-20]", &[&written[..], &["--http2"]].concat()).text(), expected);
}

#[test]
fn parallel_streams_share_one_connection() {
    let backend = Backend::answering("x");
    let site = Site::before(&backend);
    let parallel = ["--http2", "--parallel", "--parallel-max", "20", "-o", "/dev/null"];
    let answers = site.safely("/[1-50]", &[&parallel[..], &["-w", "%{http_version} %{response_code}\n"]].concat());
    assert_eq!(answers.text(), "2 200\n".repeat(50));
    assert_eq!(site.headgate.metrics().value("proxy_connections_total", &[]), 1.0);
}

/// Not the same at any two places of a buffer.
fn megabyte() -> Vec<u8> {
    (0..1u32 << 18).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect()
}

#[test]
fn a_tunnel_leads_to_the_backend_with_tls_from_end_to_end() {
    let certificate = TestCertificate::for_names(&[HOST]);
    let pem = certificate.pem.clone();
    let plain = Backend::answering("plain");
    let safe = Backend::tls(certificate, |exchange| exchange.reply("200 OK", "safe"));
    let fields = json!({ "request": { "methods": ["CONNECT"] } });
    let proxy = Headgate::serve(&site_with_policy(HOST, &[plain.address], fields.clone()));
    let authority = proxy.folder.beside("authority.pem").display().to_string();
    std::fs::write(&authority, pem).unwrap();
    let through = format!("http://127.0.0.1:{}", proxy.http.port());
    let ask = |url: &str, more: &[&str]| {
        let own = ["--silent", "--show-error", "--max-time", "30", "--cacert", &authority, "--proxy", &through];
        let written = ["-w", " %{http_connect} %{response_code} %{ssl_verify_result}", "--proxytunnel"];
        run("curl", &[&own[..], &written, more, &[url]].concat()).text()
    };
    assert_eq!(ask("http://a.example/x", &[]), "plain 200 200 0");
    assert_eq!(ask("http://a.example:8080/x", &["--proxy1.0", &through]), "plain 200 200 0");
    assert_eq!(plain.last().header("host").as_deref(), Some("a.example:8080"));
    proxy.change(&site_with_policy(HOST, &[safe.address], fields));
    assert_eq!(ask("https://a.example/", &["--http1.1"]), "safe 200 200 0");
}
