//! Where the API server is found, as flags of ingress-nginx say it.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::namespace::Namespace;
use crate::objects::{echo, ingress};

/// `headgate routes` of the namespace.
fn routes(namespace: &Namespace, flags: &[String]) -> Output {
    let mut headgate = Command::new(env!("CARGO_BIN_EXE_headgate"));
    headgate.args(["routes", "--ingress-class-by-name", "--ingress-class", &namespace.name]);
    headgate.args(["--watch-namespace", &namespace.name]).args(flags).output().unwrap()
}

#[track_caller]
fn assert_found(output: &Output) {
    let (found, why) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && found.contains("found.example"), "{found}{why}");
}

fn flag(name: &str, value: &Path) -> String {
    format!("--{name}={}", value.display())
}

#[test]
fn the_api_server_is_where_apiserver_host_says() {
    let namespace = Namespace::new();
    namespace.apply(&echo("shop", 1));
    namespace.apply(&[ingress(&namespace.name, "found.example", "shop")]);
    let view = namespace.kubectl(&["config", "view", "--raw", "--minify", "--flatten", "--output=json"]);
    let mut view: Value = serde_json::from_str(&view).unwrap();
    let cluster = &mut view["clusters"][0]["cluster"];
    let server = format!("--apiserver-host={}", cluster["server"].as_str().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, content: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    };
    let encoded = serde_json::from_value::<k8s_openapi::ByteString>(cluster["certificate-authority-data"].take());
    let authority = flag("certificate-authority", &write("ca.crt", &encoded.unwrap().0));
    // Nobody is there, and nobody's certificate would be believed.
    cluster["server"] = "https://127.0.0.1:1".into();
    cluster.as_object_mut().unwrap().remove("certificate-authority-data");
    let account = flag("kubeconfig", &write("account", view.to_string().as_bytes()));

    assert_found(&routes(&namespace, &[account.clone(), server.clone(), authority]));
    let without = [&[account.clone(), server.clone()][..], std::slice::from_ref(&account)];
    without.iter().for_each(|flags| assert!(!routes(&namespace, flags).status.success(), "{flags:?}"));
    let empty = flag("certificate-authority", &write("empty", b""));
    let refused = routes(&namespace, &[account, server, empty]);
    let why = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && why.contains("--certificate-authority"), "{why}");
}

/// It needs no account then, and no protocol is HTTP.
#[test]
fn it_may_be_a_proxy_of_kubectl() {
    let namespace = Namespace::new();
    namespace.apply(&echo("shop", 1));
    namespace.apply(&[ingress(&namespace.name, "found.example", "shop")]);
    let mut proxy = namespace.cluster.command(&["proxy", "--port=0"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut said = String::new();
    BufReader::new(proxy.stdout.take().unwrap()).read_line(&mut said).unwrap();
    let address = said.trim_end().rsplit(' ').next().unwrap();
    let output = routes(&namespace, &[format!("--apiserver-host={address}")]);
    proxy.kill().unwrap();
    proxy.wait().unwrap();
    assert_found(&output);
}
