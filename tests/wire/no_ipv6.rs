//! Endpoints of an address family that the machine does not have, as in a container without IPv6. In a network namespace,
//! whose loopback loses its IPv6 address.

use serde_json::json;

use crate::support::checks::{HOST, site};
use crate::support::folder::Folder;
use crate::support::namespace;
use crate::support::objects::{self, Objects};

const ENDPOINT: &str = "[::1]:9";

#[test]
fn a_request_to_an_endpoint_that_no_address_of_the_machine_can_reach_is_502() {
    let ask = "curl -s -m 5 -o /dev/null -w '%{http_code}' -H 'Host: HOST' http://127.0.0.1:8080/";
    let told = without_ipv6(&objects::site(HOST, &[ENDPOINT.parse().unwrap()]), &ask.replace("HOST", HOST));
    assert_eq!(told, "502");
}

#[test]
fn a_check_of_an_endpoint_that_no_address_of_the_machine_can_reach_fails() {
    let wait = r#"
        for _ in $(seq 300); do
            curl -s -m 5 http://127.0.0.1:10254/debug/backends | tr -d ' \n' | grep -o '"unhealthy":true' && exit 0
            sleep 0.1
        done
        exit 1
    "#;
    let told = without_ipv6(&site(&[ENDPOINT.parse().unwrap()], json!({})), wait);
    assert_eq!(told, "\"unhealthy\":true\n");
}

/// What a shell prints to these questions beside a proxy of these objects.
#[track_caller]
fn without_ipv6(objects: &Objects, questions: &str) -> String {
    let folder = Folder::new();
    folder.write("objects.yaml", objects);
    let dir = format!("--dir={}", folder.objects().display());
    let flags = ["--http-port=8080", "--https-port=0", "--bind-address=127.0.0.1", &dir];
    namespace::ask("ip -6 address flush dev lo", &flags, questions)
}
