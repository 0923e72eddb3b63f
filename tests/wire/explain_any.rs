//! Whatever is served and whatever is asked: what is explained is what a request gets.

use std::cell::Cell;
use std::net::SocketAddr;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};

use super::explain::explained;
use crate::support::objects::{Objects, ingress, policy, rule, service};
use crate::support::{Backend, Headgate, Response, request, wait};

const SERVICES: [&str; 4] = ["s0", "s1", "s2", "s3"];
const HOSTS: [&str; 4] = ["a.example", "*.example", "b.example", ""];
const PATHS: [&str; 5] = ["/", "/x", "/x/", "/x/y", "/xy"];
const KINDS: [&str; 3] = ["Prefix", "Exact", "ImplementationSpecific"];

/// What the objects are made of, one Ingress and one Service in a row of each list.
#[derive(Clone, Debug)]
struct Site {
    ingresses: Vec<Vec<Rule>>,
    /// The policy of each Ingress.
    treated: Vec<Option<Treatment>>,
    /// Which of the backends each Service has, and the weights of the others if it is split.
    services: Vec<(Vec<usize>, Option<Vec<u16>>)>,
}

/// Host, path, kind and Service.
type Rule = (&'static str, &'static str, &'static str, &'static str);

/// Listed methods, whether a field is required, who is let in.
type Treatment = (Option<Vec<&'static str>>, bool, u8);

#[derive(Clone, Debug)]
struct Asked {
    method: &'static str,
    host: &'static str,
    path: &'static str,
    key: bool,
}

fn sites() -> impl Strategy<Value = Site> {
    let rules = vec((select(&HOSTS[..]), select(&PATHS[..]), select(&KINDS[..]), select(&SERVICES[..])), 1..5);
    let methods = subsequence(vec!["GET", "POST", "DELETE"], 1..=3);
    let treated = option::of((option::of(methods), any::<bool>(), 0..4_u8));
    let weights = option::weighted(0.3, vec(0..3_u16, SERVICES.len()));
    let services = (subsequence(vec![0, 1, 2, 3], 0..=3), weights);
    (vec(rules, 1..5), vec(treated, 4), vec(services, SERVICES.len())).prop_map(|(ingresses, treated, services)| Site {
        ingresses,
        treated,
        services,
    })
}

fn asked() -> impl Strategy<Value = Asked> {
    let hosts = select(vec!["a.example", "b.example", "c.example", "d.c.example", "elsewhere"]);
    let paths = select(vec!["/", "/x", "/%78", "/x/", "/x/y", "/x/y/z", "/xyz", "/xy?q", "/x%2fy", "//x", "/X"]);
    (select(vec!["GET", "GET", "POST", "DELETE"]), hosts, paths, any::<bool>())
        .prop_map(|(method, host, path, key)| Asked { method, host, path, key })
}

/// The objects of `site`. Each policy has a limit that refuses nothing and so names itself in every answer. `turn` makes
/// them differ from those before.
fn objects(site: &Site, backends: &[SocketAddr], turn: usize) -> Objects {
    let mut objects = vec![ingress(&format!("turn-{turn}"), &[rule("turn.example", "/", "Prefix", "s0")])];
    for (place, rules) in site.ingresses.iter().enumerate() {
        let name = format!("i{place}");
        let rules: Vec<Value> = rules.iter().map(|(host, path, kind, to)| rule(host, path, kind, to)).collect();
        objects.push(ingress(&name, &rules));
        if let Some((methods, key, access)) = &site.treated[place] {
            let mut fields = json!({ "rateLimit": { "requests": 1_000_000, "per": "1s", "headers": true } });
            let mut rules = json!({ "maxBodySize": "1Mi" });
            if let Some(methods) = methods {
                rules["methods"] = json!(methods);
            }
            if *key {
                rules["requiredHeaders"] = json!(["X-Key"]);
            }
            fields["request"] = rules;
            match access {
                0 => fields["access"] = json!({ "deny": ["127.0.0.0/8"] }),
                1 => fields["access"] = json!({ "allow": ["127.0.0.1"] }),
                _ => {}
            }
            objects.push(policy(&format!("p{place}"), "Ingress", &name, fields));
        }
    }
    for (name, (endpoints, split)) in SERVICES.into_iter().zip(&site.services) {
        let endpoints: Vec<SocketAddr> = endpoints.iter().map(|&place| backends[place]).collect();
        objects.extend(service(name, &endpoints));
        if let Some(weights) = split {
            let member = |(service, weight)| json!({ "service": service, "port": 80, "weight": weight });
            let members: Vec<Value> = SERVICES.iter().zip(weights).map(member).collect();
            objects.push(policy(&format!("split-{name}"), "Service", name, json!({ "trafficSplit": members })));
        }
    }
    objects
}

fn ask(proxy: &Headgate, asked: &Asked, id: &str) -> Response {
    let Asked { method, host, path, key } = asked;
    let key = if *key { "X-Key: k\r\n" } else { "" };
    request(proxy.http, format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nX-Request-ID: {id}\r\n{key}\r\n"))
}

/// The policy that a response names: `RateLimit-Policy: "p1";q=1000000;w=1`.
fn named(response: &Response) -> Option<&str> {
    response.header("ratelimit-policy")?.split('"').nth(1)
}

/// Every value that a policy has set is told to be of the one of the Ingress, or of the split of the Service.
fn compare_policies(asked: &Asked, told: &Value, got: &Response, limit: Option<&str>) {
    let Some(set_by) = told["rules"]["set_by"].as_object() else { return };
    assert_eq!(set_by.contains_key("max_body_size"), limit.is_some(), "{asked:?} {told:#}");
    for policies in set_by.values() {
        assert_eq!(policies, &json!([limit]), "{asked:?} {told:#}");
    }
    let refused_by = match got.status {
        403 => "access",
        405 => "methods",
        400 if told["answer"]["cause"] == "field_missing" => "required_headers",
        _ => return,
    };
    assert!(set_by.contains_key(refused_by), "{asked:?} {told:#}");
}

/// `line`: what the access log has of it.
fn compare(asked: &Asked, told: &Value, got: &Response, line: &Value) {
    let context = || format!("{asked:?}\ntold {told:#}\ngot {} {line:#}", got.status);
    assert_eq!(u64::from(got.status), told["answer"]["status"].as_u64().unwrap_or(200), "{}", context());
    let rule = &told["rule"];
    let route = match rule["path"].as_str() {
        Some(path) => {
            format!("{} {} {path}", rule["ingress"].as_str().unwrap(), told["host_pattern"].as_str().unwrap())
        }
        None => String::new(),
    };
    assert_eq!(line["route"], route, "{}", context());
    let limit = told["rules"]["rate_limits"][0]["policy"].as_str();
    compare_policies(asked, told, got, limit);
    if got.status != 200 {
        return assert_eq!(line["endpoint"], "", "{}", context());
    }
    assert_eq!(named(got), limit.map(|name| name.trim_start_matches("default/")), "{}", context());
    let mut backends = told["backends"].as_array().unwrap().iter();
    let chosen = backends.find(|backend| backend["name"] == line["backend"]).unwrap_or_else(|| panic!("{}", context()));
    assert!(chosen["weight"].as_u64().unwrap() > 0, "{}", context());
    let endpoints = chosen["endpoints"].as_array().unwrap();
    assert!(endpoints.iter().any(|endpoint| endpoint["address"] == line["endpoint"]), "{}", context());
}

#[test]
fn what_is_explained_of_any_request_to_any_site_is_what_it_gets() {
    let backends = ["0", "1", "2", "3"].map(Backend::answering);
    let addresses = backends.each_ref().map(|backend| backend.address);
    let proxy = Headgate::serve(&[]);
    let (turn, by_policy) = (Cell::new(0), Cell::new(0));
    let config = Config { cases: 16, max_shrink_iters: 64, failure_persistence: None, ..Config::default() };
    let outcome = TestRunner::new(config).run(&(sites(), vec(asked(), 30)), |(site, asked)| {
        turn.set(turn.get() + 1);
        proxy.change(&objects(&site, &addresses, turn.get()));
        let id = |place: usize| format!("{}-{place}", turn.get());
        let key = |asked: &Asked| if asked.key { &["X-Key: k"][..] } else { &[] };
        let told: Vec<Value> = asked
            .iter()
            .map(|asked| explained(&proxy, asked.method, &format!("http://{}{}", asked.host, asked.path), key(asked)))
            .collect();
        let got: Vec<Response> =
            asked.iter().enumerate().map(|(place, asked)| ask(&proxy, asked, &id(place))).collect();
        let lines = wait::until("the lines of all requests", || {
            let log = proxy.log();
            let line = |place| log.iter().find(|line| line["request_id"] == id(place)).cloned();
            (0..asked.len()).map(line).collect::<Option<Vec<Value>>>()
        });
        for (((asked, told), got), line) in asked.iter().zip(&told).zip(&got).zip(&lines) {
            compare(asked, told, got, line);
        }
        by_policy.set(by_policy.get() + got.iter().filter(|got| named(got).is_some()).count());
        Ok(())
    });
    outcome.unwrap_or_else(|failure| panic!("{failure}"));
    assert!(by_policy.get() >= 10, "only {} requests were served under a policy", by_policy.get());
}
