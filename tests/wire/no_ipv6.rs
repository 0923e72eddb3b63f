//! Endpoints of an address family that the machine does not have, as in a container without IPv6. In a network namespace,
//! whose loopback loses its IPv6 address.

use serde_json::json;

use crate::support::checks::{HOST, site};
use crate::support::folder::Folder;
use crate::support::namespace;

/// Asks once, and waits until the endpoint is shown as unhealthy.
const ASK: &str = r#"
    curl -s -m 5 -o /dev/null -w '%{http_code}\n' -H 'Host: HOST' http://127.0.0.1:8080/
    for _ in $(seq 300); do
        curl -s -m 5 http://127.0.0.1:10254/debug/backends | tr -d ' \n' | grep -q '"unhealthy":true' && exit 0
        sleep 0.1
    done
    exit 1
"#;

#[test]
fn an_endpoint_that_no_address_of_the_machine_can_reach_fails_its_requests_and_its_checks() {
    let folder = Folder::new();
    folder.write("objects.yaml", &site(&["[::1]:9".parse().unwrap()], json!({ "interval": "2s", "timeout": "2s" })));
    let dir = format!("--dir={}", folder.objects().display());
    let flags = ["--http-port=8080", "--https-port=0", "--bind-address=127.0.0.1", &dir];
    let told = namespace::ask("ip -6 address flush dev lo", &flags, &ASK.replace("HOST", HOST));
    assert_eq!(told, "502\n");
}
