//! `rateLimit` and `connectionLimit` of a policy: what each lets through, and what it says to whom it refuses.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::wait::{timed, until};
use crate::support::{Backend, Client, Headgate, Response, objects};

const HOST: &str = "a.example";

fn limited(limit: Value, flags: &[(&str, &str)]) -> (Headgate, Backend) {
    let backend = Backend::answering("ok");
    let objects = objects::site_with_policy(HOST, &[backend.address], json!({ "rateLimit": limit }));
    let builder = Headgate::with(&objects);
    (flags.iter().fold(builder, |builder, (flag, value)| builder.flag(flag, value)).start(), backend)
}

/// One request from 127.0.0.`last`.
#[track_caller]
fn ask(proxy: &Headgate, last: u8, path: &str, lines: &str) -> Response {
    let mut client = Client::connect_from([127, 0, 0, last].into(), proxy.http);
    client.send(format!("GET {path} HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n{lines}\r\n"));
    client.response()
}

#[track_caller]
fn statuses<const N: usize>(proxy: &Headgate, asked: [(u8, &str); N]) -> [u16; N] {
    asked.map(|(last, lines)| ask(proxy, last, "/", lines).status)
}

#[test]
fn a_new_client_gets_exactly_the_burst_at_once() {
    for (limit, burst) in [
        (json!({ "requests": 3, "per": "1h" }), 3),
        (json!({ "requests": 3, "per": "1h", "burst": 1 }), 1),
        (json!({ "requests": 1, "per": "1h", "burst": 5 }), 5),
    ] {
        let (proxy, backend) = limited(limit, &[]);
        let passed = (0..10).filter(|_| ask(&proxy, 1, "/", "").status == 200).count();
        assert_eq!((passed, backend.seen().len()), (burst, burst));
        proxy.counted("proxy_rate_limit_exceeded_total", &[("ingress", "a")], (10 - burst) as f64);
    }
}

#[test]
fn clients_are_counted_apart() {
    let (proxy, _backend) = limited(json!({ "requests": 1, "per": "1h" }), &[]);
    assert_eq!(statuses(&proxy, [(1, ""), (1, ""), (2, ""), (2, "")]), [200, 429, 200, 429]);
}

#[test]
fn a_refusal_tells_when_to_come_again() {
    let (proxy, backend) = limited(json!({ "requests": 2, "per": "1m" }), &[]);
    let passed = ask(&proxy, 1, "/", "");
    assert_eq!(passed.status, 200);
    for name in ["retry-after", "ratelimit", "ratelimit-policy"] {
        assert_eq!(passed.header(name), None, "{name}");
    }
    ask(&proxy, 1, "/", "");
    let refused = ask(&proxy, 1, "/refused", "");
    assert_eq!((refused.status, refused.text().as_str()), (429, "429 Too Many Requests\n"));
    // 30 s for one request; a moment has passed already.
    assert_eq!(refused.header("retry-after"), Some("30"));
    assert_eq!(refused.header("ratelimit-policy"), Some("\"policy\";q=2;w=60"));
    assert_eq!(refused.header("ratelimit"), Some("\"policy\";r=0;t=30"));
    let line = proxy.log_of("/refused");
    assert_eq!((&line["status"], &line["flag"], &line["endpoint"]), (&json!(429), &json!("RL"), &json!("")));
    assert_eq!(backend.seen().len(), 2);
}

#[test]
fn the_fields_go_with_all_answers_where_the_policy_says_so() {
    let (proxy, _backend) = limited(json!({ "requests": 2, "per": "1h", "headers": true }), &[]);
    let told = |response: &Response| {
        let field = |name| response.header(name).map(str::to_owned);
        (response.status, field("ratelimit"), field("ratelimit-policy"), field("retry-after"))
    };
    let policy = || Some("\"policy\";q=2;w=3600".to_owned());
    let state = |text: &str| Some(format!("\"policy\";{text}"));
    assert_eq!(told(&ask(&proxy, 1, "/", "")), (200, state("r=1;t=1800"), policy(), None));
    assert_eq!(told(&ask(&proxy, 1, "/", "")), (200, state("r=0;t=3600"), policy(), None));
    let after = || Some("1800".to_owned());
    assert_eq!(told(&ask(&proxy, 1, "/", "")), (429, state("r=0;t=1800"), policy(), after()));
}

#[test]
fn a_policy_may_have_a_status_of_its_own() {
    for status in [400, 503, 599] {
        let (proxy, _backend) = limited(json!({ "requests": 1, "per": "1h", "status": status }), &[]);
        assert_eq!(statuses(&proxy, [(1, ""), (1, "")]), [200, status]);
        let line = proxy.log_line("a refusal", |line| line["status"] == status);
        assert_eq!(line["flag"], "RL");
    }
}

#[test]
fn a_bucket_fills_again() {
    let (proxy, _backend) = limited(json!({ "requests": 2, "per": "2s" }), &[]);
    assert_eq!(statuses(&proxy, [(1, ""), (1, "")]), [200, 200]);
    let (_, took) = timed(|| until("a token", || (ask(&proxy, 1, "/", "").status == 200).then_some(())));
    assert!(took >= Duration::from_millis(700), "after {took:?}");
    assert!(took <= Duration::from_millis(2500), "after {took:?}");
}

#[test]
fn a_key_may_be_a_field_and_the_address_where_it_is_missing() {
    let key = json!({ "type": "Header", "name": "X-Api-Key" });
    let (proxy, _backend) = limited(json!({ "requests": 1, "per": "1h", "key": key }), &[]);
    let long = |last: &str| format!("X-Api-Key: {}{last}\r\n", "k".repeat(5000));
    let asked = [
        (1, "X-Api-Key: one\r\n", 200),
        (2, "x-api-key: one\r\n", 429),
        (1, "X-Api-Key: two\r\n", 200),
        (1, "", 200),
        (1, "", 429),
        (2, "", 200),
        (1, &long("a"), 200),
        (1, &long("b"), 200),
        (1, &long("a"), 429),
        // A value that looks like an address is not that address's bucket.
        (9, "X-Api-Key: 127.0.0.1\r\n", 200),
    ];
    for (place, (last, lines, status)) in asked.into_iter().enumerate() {
        assert_eq!(ask(&proxy, last, "/", lines).status, status, "{place}");
    }
}

#[test]
fn a_host_is_counted_as_it_is_matched_however_it_is_written() {
    let key = json!({ "type": "Header", "name": "Host" });
    let backend = Backend::answering("ok");
    let limit = json!({ "requests": 1, "per": "1h", "key": key });
    let objects = objects::site_with_policy("*.a.example", &[backend.address], json!({ "rateLimit": limit }));
    let proxy = Headgate::serve(&objects);
    let status = |host| Client::connect(proxy.http).get(host, "/").status;
    assert_eq!(
        ["one.a.example", "ONE.a.example", "one.a.example.", "one.a.example:81"].map(status),
        [200, 429, 429, 429]
    );
    assert_eq!(status("two.a.example"), 200);
}

#[test]
fn everybody_may_be_counted_together() {
    let (proxy, _backend) = limited(json!({ "requests": 2, "per": "1h", "key": { "type": "Route" } }), &[]);
    assert_eq!(statuses(&proxy, [(1, ""), (2, ""), (3, "")]), [200, 200, 429]);
}

#[test]
fn behind_a_trusted_proxy_the_true_client_is_counted_and_v6_by_its_64_bits() {
    let (proxy, _backend) = limited(json!({ "requests": 1, "per": "1h" }), &[("--trusted-proxies", "127.0.0.2")]);
    for (chain, status) in [
        ("9.9.9.9", 200),
        ("9.9.9.9", 429),
        ("::ffff:9.9.9.9", 429),
        ("9.9.9.8", 200),
        ("2001:db8:0:1::1", 200),
        ("2001:db8:0:1:ffff::2", 429),
        ("2001:db8:0:2::1", 200),
    ] {
        let response = ask(&proxy, 2, "/", &format!("X-Forwarded-For: {chain}\r\n"));
        assert_eq!(response.status, status, "{chain}");
    }
}

#[test]
fn the_paths_of_an_ingress_share_a_limit_and_ingresses_do_not() {
    let backend = Backend::answering("ok");
    let fields = json!({ "rateLimit": { "requests": 2, "per": "1h" } });
    let rule = |path: &str| objects::rule(HOST, path, "Prefix", "a");
    let mut objects = objects::service("a", &[backend.address]);
    objects.push(objects::ingress("one", &[rule("/a"), rule("/b")]));
    objects.push(objects::ingress("two", &[rule("/c")]));
    let mut policy = objects::policy("policy", "Ingress", "one", fields);
    let mut other = policy["spec"]["targetRefs"][0].clone();
    other["name"] = "two".into();
    policy["spec"]["targetRefs"].as_array_mut().unwrap().push(other);
    objects.push(policy);
    let proxy = Headgate::serve(&objects);
    let status = |path| ask(&proxy, 1, path, "").status;
    assert_eq!([status("/a"), status("/b"), status("/a"), status("/b")], [200, 200, 429, 429]);
    assert_eq!([status("/c"), status("/c"), status("/c")], [200, 200, 429]);
}

#[test]
fn a_limit_goes_on_counting_when_something_else_changes() {
    let backend = Backend::answering("ok");
    let fields = json!({ "rateLimit": { "requests": 2, "per": "1h" } });
    let mut objects = objects::site_with_policy(HOST, &[backend.address], fields);
    let proxy = Headgate::serve(&objects);
    assert_eq!(statuses(&proxy, [(1, "")]), [200]);
    objects.extend(objects::site("b.example", &[backend.address]));
    proxy.change(&objects);
    assert_eq!(statuses(&proxy, [(1, ""), (1, "")]), [200, 429]);
}

#[test]
fn a_refused_request_leaves_the_connection_usable() {
    let (proxy, _backend) = limited(json!({ "requests": 1, "per": "1h" }), &[]);
    let mut client = Client::connect(proxy.http);
    let statuses = [(); 3].map(|()| client.get(HOST, "/").status);
    assert_eq!(statuses, [200, 429, 429]);
}

#[test]
fn what_64_clients_at_once_get_is_the_burst_and_the_rate() {
    let (proxy, backend) =
        limited(json!({ "requests": 100, "per": "1s", "burst": 20, "key": { "type": "Route" } }), &[]);
    let started = Instant::now();
    let admitted: usize = thread::scope(|scope| {
        let ask = || {
            let mut client = Client::connect(proxy.http);
            (0..20).filter(|_| client.get(HOST, "/").status == 200).count()
        };
        let clients: Vec<_> = (0..64).map(|_| scope.spawn(ask)).collect();
        clients.into_iter().map(|client| client.join().unwrap()).sum()
    });
    let most = 20.0 + 100.0 * started.elapsed().as_secs_f64() + 1.0;
    assert_eq!(admitted, backend.seen().len());
    assert!((20.0..=most).contains(&(admitted as f64)), "{admitted} of {most}");
    proxy.counted("proxy_rate_limit_exceeded_total", &[], (64 * 20 - admitted) as f64);
}

#[test]
fn a_refused_request_costs_less_than_a_served_one() {
    let cost = |burst: u32| {
        let (proxy, _backend) = limited(json!({ "requests": 1, "per": "1h", "burst": burst }), &[]);
        let mut client = Client::connect(proxy.http);
        client.get(HOST, "/");
        let before = proxy.cpu_ticks();
        (0..2_000).for_each(|_| drop(client.get(HOST, "/")));
        proxy.cpu_ticks() - before
    };
    let (served, refused) = (cost(10_000), cost(1));
    assert!(refused < served, "{refused} ticks of CPU for 2,000 refused requests, {served} for as many served");
}

/// A proxy that lets each client have one request in flight, and a backend that answers `/hold` never.
fn one_at_a_time(more: Value) -> (Headgate, Backend) {
    at_a_time(1, more)
}

/// The same with as many requests.
fn at_a_time(most: u32, more: Value) -> (Headgate, Backend) {
    let backend = Backend::scripted(|exchange| match exchange.seen.target() {
        "/hold" => exchange.until_abandoned(),
        "/drip" => {
            exchange.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n1")?;
            exchange.until_abandoned()
        }
        _ => exchange.reply("200 OK", "ok"),
    });
    let mut fields = more;
    fields["connectionLimit"] = json!({ "perClient": most });
    (Headgate::serve(&objects::site_with_policy(HOST, &[backend.address], fields)), backend)
}

fn holding(proxy: &Headgate, last: u8, path: &str) -> Client {
    let mut client = Client::connect_from([127, 0, 0, last].into(), proxy.http);
    client.send(format!("GET {path} HTTP/1.1\r\nHost: {HOST}\r\n\r\n"));
    client
}

#[test]
fn a_client_has_no_more_requests_in_flight_than_its_limit() {
    let (proxy, backend) = one_at_a_time(json!({}));
    assert_eq!(statuses(&proxy, [(1, ""), (1, ""), (1, "")]), [200, 200, 200], "one after the other");
    let held = holding(&proxy, 1, "/hold");
    backend.request_to("/hold");
    let refused = ask(&proxy, 1, "/refused", "");
    assert_eq!((refused.status, refused.text().as_str()), (429, "429 Too Many Requests\n"));
    assert_eq!(proxy.log_of("/refused")["flag"], "CL");
    assert_eq!(ask(&proxy, 2, "/", "").status, 200, "another client");
    held.reset();
    until("the place of the one that went away", || (ask(&proxy, 1, "/", "").status == 200).then_some(()));
}

#[test]
fn the_last_place_is_given_and_the_next_request_refused() {
    let (proxy, backend) = at_a_time(3, json!({}));
    let _held = [(); 2].map(|()| holding(&proxy, 1, "/hold"));
    backend.wait_for(2);
    assert_eq!(statuses(&proxy, [(1, ""), (1, "")]), [200, 200]);
    let _last = holding(&proxy, 1, "/hold");
    backend.wait_for(5);
    assert_eq!(statuses(&proxy, [(1, ""), (2, "")]), [429, 200]);
}

#[test]
fn a_request_is_in_flight_until_its_answer_has_ended() {
    let (proxy, backend) = one_at_a_time(json!({}));
    let mut held = holding(&proxy, 1, "/drip");
    assert_eq!(held.head().status, 200);
    assert_eq!(ask(&proxy, 1, "/", "").status, 429);
    backend.close_connections();
    until("the place of the one that broke off", || (ask(&proxy, 1, "/", "").status == 200).then_some(()));
}

#[test]
fn requests_refused_for_what_is_in_flight_take_no_token() {
    let (proxy, backend) = one_at_a_time(json!({ "rateLimit": { "requests": 2, "per": "1h" } }));
    let held = holding(&proxy, 1, "/hold");
    backend.request_to("/hold");
    for _ in 0..3 {
        assert_eq!(ask(&proxy, 1, "/", "").header("retry-after"), None);
    }
    drop(held);
    until("a place", || (ask(&proxy, 1, "/", "").status == 200).then_some(()));
    assert_eq!(ask(&proxy, 1, "/", "").header("retry-after"), Some("1800"));
}
