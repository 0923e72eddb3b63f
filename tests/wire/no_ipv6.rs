//! Endpoints of an address family that the machine does not have, as in a container without IPv6. In a network namespace,
//! whose loopback loses its IPv6 address.

use std::process::Stdio;

use serde_json::json;

use crate::support::checks::{HOST, site};
use crate::support::folder::Folder;
use crate::support::namespace;

/// Starts the proxy that its arguments say, asks it once, and waits until the endpoint is shown as unhealthy.
const ASK_WITHOUT_IPV6: &str = r#"
    ip -6 address flush dev lo
    "$@" >/dev/null 2>&1 &
    proxy=$!
    trap 'kill -9 $proxy' EXIT
    until curl -sf -m 5 -o /dev/null http://127.0.0.1:10254/readyz; do
        kill -0 $proxy || exit 1
        sleep 0.05
    done
    curl -s -m 5 -o /dev/null -w '%{http_code}\n' -H "Host: $HOST" http://127.0.0.1:8080/
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
    let mut command = namespace::command("sh");
    command.args(["-c", ASK_WITHOUT_IPV6, "sh", env!("CARGO_BIN_EXE_headgate"), "serve"]).env("HOST", HOST);
    command.args(["--http-port=8080", "--https-port=0", "--bind-address=127.0.0.1"]);
    command.arg(format!("--dir={}", folder.objects().display()));
    let output = command.stdin(Stdio::null()).output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{told}{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(told, "502\n");
}
