//! The cluster itself: it runs our binary, and is reached from outside.

use std::net::Ipv4Addr;

use crate::namespace::Namespace;
use crate::objects::echo;
use crate::support::client;

#[test]
fn a_node_is_ready() {
    Namespace::new().kubectl(&["wait", "--for=condition=Ready", "node", "--all", "--timeout=1s"]);
}

#[test]
fn the_binary_runs_in_an_image_from_scratch() {
    let namespace = Namespace::new();
    namespace.apply(&echo("shop", 1));
    namespace.rolled_out("shop");
    let address: Ipv4Addr =
        namespace.object(&["service", "shop"])["spec"]["clusterIP"].as_str().unwrap().parse().unwrap();
    let answer = client::get((address, 80).into(), "a.example", "/x").json();
    assert_eq!((&answer["namespace"], &answer["service"]), (&namespace.name.as_str().into(), &"shop".into()));
    let pods = namespace.kubectl(&["get", "pods", "--output=name"]);
    assert_eq!(pods.trim_end(), format!("pod/{}", answer["pod"].as_str().unwrap()));
}
