//! Host names in `[[backends]]` that are not known, or not yet. That they are looked up again is in `tests/defaults`, as it
//! takes half a minute.

use serde_json::json;

use crate::support::wait::until;
use crate::support::{Backend, Headgate, get};

#[test]
fn a_name_that_never_resolved_is_503_and_told_until_it_does() {
    let backend = Backend::answering("here");
    let port = backend.address.port();
    let config = format!(
        "[server]\nbind_addr = \"127.0.0.1:0\"\n[[backends]]\nname = \"app\"\naddr = \"App.test:{port}\"\nweight = 2"
    );
    let proxy = Headgate::plain(&config).hosts("").start();
    assert_eq!(get(proxy.http, "a", "/nobody").status, 503);
    let line = proxy.log_of("/nobody");
    assert_eq!((&line["flag"], &line["backend"]), (&json!("UH"), &json!("")));
    let told = |start: &str| {
        let what = format!("{start}app.test:{port} does not resolve (yet)");
        let of_the_key = |line: &&str| ["Backend app", "field=\"addr\"", &what].iter().all(|part| line.contains(part));
        until("the log line", || proxy.stderr().lines().find(of_the_key).map(drop))
    };
    told("");
    proxy.folder.write_hosts("127.0.0.1 app.test");
    until("the backend", || (get(proxy.http, "a", "/").text() == "here").then_some(()));
    told("no longer: ");
}
