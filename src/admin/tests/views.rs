//! What each path answers, and to whom.

use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use serde_json::{Value, json};

use super::*;
use crate::admin::document::Document;
use crate::admin::respond::respond;
use crate::translate::{ObjectKind, ObjectRef, Problem, Reason};

const HERE: &str = "127.0.0.1:4000";

async fn ask(state: &Arc<State>, peer: &str, method: &str, path: &str) -> Response<Document> {
    let request = Request::builder().method(method).uri(path).body(()).unwrap();
    respond(state.clone(), peer.parse::<SocketAddr>().unwrap(), request).await
}

async fn get(state: &Arc<State>, path: &str) -> (StatusCode, String) {
    let response = ask(state, HERE, "GET", path).await;
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

async fn get_json(state: &Arc<State>, path: &str) -> Value {
    let (status, text) = get(state, path).await;
    assert_eq!(status, 200, "{text}");
    serde_json::from_str(&text).unwrap()
}

#[tokio::test]
async fn liveness_does_not_wait_for_readiness() {
    let state = state(false);
    let pending = state.readiness.wait_for("first tables");
    for path in ["/healthz", "/livez"] {
        assert_eq!(get(&state, path).await, (StatusCode::OK, "ok\n".into()));
    }
    let not_ready = "not ready: waiting for first tables\n";
    assert_eq!(get(&state, "/readyz").await, (StatusCode::SERVICE_UNAVAILABLE, not_ready.into()));
    pending.done();
    assert_eq!(get(&state, "/readyz").await, (StatusCode::OK, "ok\n".into()));
    state.readiness.leave();
    let leaving = "not ready: shutting down\n";
    assert_eq!(get(&state, "/readyz").await, (StatusCode::SERVICE_UNAVAILABLE, leaving.into()));
    assert_eq!(get(&state, "/livez").await.0, 200);
}

#[tokio::test]
async fn metrics_are_in_the_text_format_by_name() {
    let state = state(false);
    let response = ask(&state, "203.0.113.9:1", "GET", "/metrics").await;
    assert_eq!(response.headers()["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    let (_, text) = get(&state, "/metrics").await;
    assert!(
        text.contains("\nproxy_requests_in_flight{namespace=\"shop\",ingress=\"web\",service=\"cart\"} 0\n"),
        "{text}"
    );
}

#[tokio::test]
async fn only_questions_are_taken() {
    let state = state(false);
    for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "X"] {
        let response = ask(&state, HERE, method, "/metrics").await;
        assert_eq!((response.status().as_u16(), &response.headers()["allow"]), (405, &"GET, HEAD".parse().unwrap()));
    }
    assert_eq!(ask(&state, HERE, "HEAD", "/debug/snapshot").await.status(), 200);
    for path in ["/metrics/", "//", "/debug/secrets", "/debugging", "/healthz/x", "/HEALTHZ"] {
        assert_eq!(get(&state, path).await.0, 404, "{path}");
    }
}

#[tokio::test]
async fn debug_is_for_loopback_peers_unless_told_otherwise() {
    let peers = [
        ("127.0.0.1:1", 200),
        ("127.9.9.9:1", 200),
        ("[::1]:1", 200),
        ("[::ffff:127.0.0.1]:1", 200),
        ("10.0.0.1:1", 403),
        ("[::ffff:10.0.0.1]:1", 403),
        ("[2001:db8::1]:1", 403),
    ];
    let (closed, open) = (state(false), state(true));
    for (peer, status) in peers {
        for view in ["", "/", "/snapshot", "/routes", "/backends", "/problems"] {
            let path = format!("/debug{view}");
            assert_eq!(ask(&closed, peer, "GET", &path).await.status(), status, "{peer} {path}");
            assert_eq!(ask(&open, peer, "GET", &path).await.status(), 200, "{peer} {path}");
        }
        assert_eq!(ask(&closed, peer, "GET", "/healthz").await.status(), 200);
    }
    assert_eq!(ask(&closed, "10.0.0.1:1", "GET", "/debug/nothing").await.status(), 403, "nothing is told");
}

#[tokio::test]
async fn the_root_lists_paths_that_are_there() {
    let state = state(false);
    let (status, all) = get(&state, "/").await;
    assert_eq!(status, 200);
    let paths: Vec<_> = all.lines().map(|line| line.split_once(' ').expect(line).0).collect();
    assert_eq!(paths.len(), 9, "{all}");
    for path in &paths {
        let query = if *path == "/debug/explain" { "?url=shop.example/cart" } else { "" };
        assert_eq!(get(&state, &format!("{path}{query}")).await.0, 200, "{path}");
    }
    for path in ["/debug", "/debug/"] {
        let below: Vec<_> = all.lines().filter(|line| line.starts_with("/debug/")).collect();
        assert_eq!(get(&state, path).await, (StatusCode::OK, below.join("\n") + "\n"));
    }
}

#[tokio::test]
async fn the_snapshot_is_shown_with_its_generation() {
    let shown = get_json(&state(false), "/debug/snapshot").await;
    assert_eq!(shown["generation"], 1);
    assert_eq!(shown["hosts"]["shop.example"]["routes"][1]["action"]["Forward"], "shop/cart:http");
    assert_eq!(shown["backends"]["shop/cart:http"]["endpoints"], json!(["10.0.0.1:8080", "10.0.0.2:8080"]));
    let certificate = json!({"names": ["shop.example"], "not_after": 1_800_000_000});
    assert_eq!(shown["secrets"]["shop/tls"], certificate);
}

#[tokio::test]
async fn routes_are_one_line_each() {
    let state = state(false);
    let (_, text) = get(&state, "/debug/routes").await;
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!((lines.len(), lines[0], lines[4]), (5, "[", "]"));
    let common =
        r#""host":"shop.example","path":"/cart","kind":"Prefix","tls":true,"https_redirect":true,"ingress":"shop/web""#;
    assert_eq!(lines[2], format!("{{{common},\"backend\":\"shop/cart:http\",\"endpoints\":2}},"));
    let shown: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(shown[0]["denied"], "auth-url is not honoured");
    assert_eq!((&shown[2]["endpoints"], &shown[2]["unresolved"]), (&json!(0), &json!("the Service does not exist")));
}

#[tokio::test]
async fn a_table_without_routes_is_an_empty_array() {
    let state = state(false);
    state.published.publish(Arc::default());
    assert_eq!(get_json(&state, "/debug/routes").await, json!([]));
    assert_eq!(get_json(&state, "/debug/backends").await, json!({"generation": 2, "backends": []}));
}

#[tokio::test]
async fn backends_show_what_is_in_flight_now() {
    let state = state(false);
    let tables = state.published.load();
    let (_, _, live) = tables.backends().next().unwrap();
    let lease = live.pick([127, 0, 0, 1].into(), 0, &[]).unwrap();
    let shown = get_json(&state, "/debug/backends").await;
    let in_flight = |shown: &Value| {
        let endpoints = shown["backends"][0]["endpoints"].as_array().unwrap();
        endpoints.iter().map(|endpoint| endpoint["in_flight"].as_u64().unwrap()).sum::<u64>()
    };
    assert_eq!(shown["backends"][0]["name"], "shop-cart-http");
    assert_eq!(shown["backends"][0]["protocol"], "Http1");
    assert_eq!(shown["backends"][1]["unresolved"], "the Service does not exist");
    assert_eq!(in_flight(&shown), 1);
    drop(lease);
    assert_eq!(in_flight(&get_json(&state, "/debug/backends").await), 0);
}

#[tokio::test]
async fn problems_are_those_last_told() {
    let state = state(false);
    assert_eq!(get_json(&state, "/debug/problems").await, json!({"reports": [], "policies": [], "source": []}));
    let report = Report {
        object: ObjectRef { kind: ObjectKind::Ingress, namespace: "shop".into(), name: "web".into() },
        problems: vec![Problem::new("spec.tls", Reason::Invalid, "it is broken")],
    };
    state.set_reports(Arc::new([report]));
    state.set_source_problems(json!([{"file": "a.yaml", "line": 3}]));
    let shown = get_json(&state, "/debug/problems").await;
    let problem = json!({"field": "spec.tls", "reason": "Invalid", "message": "it is broken"});
    assert_eq!(shown["reports"], json!([{"object": "Ingress shop/web", "problems": [problem]}]));
    assert_eq!(shown["source"], json!([{"file": "a.yaml", "line": 3}]));
}

#[tokio::test]
async fn key_material_is_never_shown() {
    let state = state(false);
    let pem = shop_key().serialize_pem();
    let der = shop_key().serialized_der();
    // The parts that only the key has: lines of its PEM, and runs of its bytes as JSON or hex would show them.
    let mut secret: Vec<String> = pem.lines().filter(|line| !line.starts_with('-')).map(str::to_lowercase).collect();
    for run in der.windows(8) {
        secret.push(run.iter().map(u8::to_string).collect::<Vec<_>>().join(","));
        secret.push(run.iter().map(|byte| format!("{byte:02x}")).collect());
    }
    for path in ["/debug/snapshot", "/debug/routes", "/debug/backends", "/debug/problems", "/metrics", "/readyz"] {
        let (_, text) = get(&state, path).await;
        assert!(!text.contains("BEGIN") && !text.contains("PRIVATE"), "{path}");
        let text: String = text.chars().filter(|c| !c.is_whitespace()).collect::<String>().to_lowercase();
        assert!(!secret.iter().any(|part| text.contains(part)), "{path}");
    }
    assert!(!format!("{state:?}").contains("KEY"));
}
