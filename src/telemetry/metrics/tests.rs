//! What a scrape shows, read back from the text by a small parser of its own.

use std::collections::BTreeMap;
use std::time::{Duration, UNIX_EPOCH};

use http::Method;

use super::*;

/// Samples by name and labels as written, for example `name{a="b"}`. Panics on what is not valid text format.
fn scrape(metrics: &Metrics) -> BTreeMap<String, f64> {
    let text = metrics.encode();
    let mut samples = BTreeMap::new();
    let mut kinds = BTreeMap::new();
    for line in text.lines() {
        if let Some(comment) = line.strip_prefix("# ") {
            let mut words = comment.splitn(3, ' ');
            let (keyword, name, rest) = (words.next().unwrap(), words.next().unwrap(), words.next().unwrap());
            match keyword {
                "TYPE" => assert!(kinds.insert(name.to_owned(), rest.to_owned()).is_none(), "{name} stands twice"),
                _ => assert_eq!(keyword, "HELP"),
            }
            continue;
        }
        let (series, value) = line.rsplit_once(' ').unwrap();
        let name = series.split('{').next().unwrap();
        let base = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| name.strip_suffix(suffix));
        assert!(kinds.contains_key(name) || base.is_some_and(|base| kinds.contains_key(base)), "no type: {line}");
        assert!(samples.insert(series.to_owned(), value.parse().unwrap()).is_none(), "stands twice: {line}");
    }
    samples
}

fn labels(ingress: &str) -> RouteLabels {
    RouteLabels { namespace: "shop".into(), ingress: ingress.into(), service: "cart".into() }
}

#[test]
fn counts_of_all_workers_are_summed() {
    let metrics = Metrics::new(4);
    let route = metrics.route(&labels("web"));
    std::thread::scope(|scope| {
        for worker in 0..4 {
            let (metrics, route) = (&metrics, &route);
            scope.spawn(move || {
                let shard = route.shard(worker);
                for _ in 0..10_000 {
                    shard.started();
                    shard.finished(&Method::GET, 200, Duration::from_millis(20), 3, 7);
                    metrics.worker(worker).connection_opened(true);
                }
                shard.started();
                shard.retried();
                shard.backend_error(BackendError::ServerError);
                metrics.worker(worker).connection_closed(true);
            });
        }
    });
    let samples = scrape(&metrics);
    let route = r#"namespace="shop",ingress="web",service="cart""#;
    let sample = |name: &str, more: &str| samples[&format!("{name}{{{route}{more}}}")];
    assert_eq!(sample("proxy_requests_total", r#",method="GET",status="200""#), 40_000.0);
    assert_eq!(sample("proxy_requests_in_flight", ""), 4.0);
    assert_eq!(sample("proxy_request_bytes_total", ""), 120_000.0);
    assert_eq!(sample("proxy_response_bytes_total", ""), 280_000.0);
    assert_eq!(sample("proxy_retries_total", ""), 4.0);
    assert_eq!(sample("proxy_backend_errors_total", r#",reason="5xx""#), 4.0);
    assert_eq!(sample("proxy_backend_errors_total", r#",reason="connect""#), 0.0);
    assert_eq!(sample("proxy_request_duration_seconds_bucket", r#",le="0.01""#), 0.0);
    assert_eq!(sample("proxy_request_duration_seconds_bucket", r#",le="0.025""#), 40_000.0);
    assert_eq!(sample("proxy_request_duration_seconds_bucket", r#",le="+Inf""#), 40_000.0);
    assert_eq!(sample("proxy_request_duration_seconds_count", ""), 40_000.0);
    assert!((sample("proxy_request_duration_seconds_sum", "") - 800.0).abs() < 1e-6);
    assert_eq!(samples[r#"proxy_connections{listener="https"}"#], 39_996.0);
    assert_eq!(samples[r#"proxy_connections{listener="http"}"#], 0.0);
    assert_eq!(samples[r#"proxy_connections_total{listener="https"}"#], 40_000.0);
}

#[test]
fn a_scrape_during_requests_never_shows_less_than_nothing() {
    let metrics = Metrics::new(1);
    let route = metrics.route(&labels("web"));
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..50_000 {
                route.shard(0).started();
                route.shard(0).finished(&Method::POST, 503, Duration::ZERO, 0, 0);
            }
            done.store(true, std::sync::atomic::Ordering::Relaxed);
        });
        while !done.load(std::sync::atomic::Ordering::Relaxed) {
            assert!(route.total().in_flight <= 50_000);
        }
    });
    assert_eq!(route.total().in_flight, 0);
}

#[test]
fn equal_labels_share_their_counters() {
    let metrics = Metrics::new(1);
    let first = metrics.route(&labels("web"));
    assert!(Arc::ptr_eq(&first, &metrics.route(&labels("web"))));
    assert!(!Arc::ptr_eq(&first, &metrics.route(&labels("other"))));
    assert!(Arc::ptr_eq(metrics.unrouted(), &metrics.route(&RouteLabels::default())));
}

#[test]
fn a_route_that_is_gone_is_no_longer_reported() {
    let metrics = Metrics::new(1);
    let kept = metrics.route(&labels("kept"));
    let gone = metrics.route(&labels("gone"));
    gone.shard(0).started();
    assert!(scrape(&metrics).keys().any(|series| series.contains("gone")));
    drop(gone);
    assert!(!scrape(&metrics).keys().any(|series| series.contains("gone")));
    assert!(scrape(&metrics).keys().any(|series| series.contains("kept")));
    drop(kept);
}

#[test]
fn labels_that_come_and_go_without_a_scrape_take_bounded_memory() {
    let metrics = Metrics::new(1);
    for number in 0..10_000 {
        metrics.route(&labels(&number.to_string()));
    }
    assert!(metrics.with_routes(|routes| routes.by_labels.len()) <= 128);
}

#[test]
fn a_route_without_requests_shows_one_series() {
    let metrics = Metrics::new(2);
    let _quiet = metrics.route(&labels("quiet"));
    let samples = scrape(&metrics);
    let series: Vec<_> = samples.iter().filter(|(series, _)| series.contains("quiet")).collect();
    assert_eq!(
        series,
        [(&r#"proxy_requests_in_flight{namespace="shop",ingress="quiet",service="cart"}"#.to_owned(), &0.0)]
    );
}

#[test]
fn every_refusal_and_handshake_has_a_series_from_the_start() {
    let metrics = Metrics::new(2);
    metrics.worker(1).connection_refused(Refusal::TlsHandshake);
    metrics.worker(0).tls_handshake(TlsVersion::V1_3, true);
    metrics.worker(1).panicked();
    let samples = scrape(&metrics);
    for (reason, count) in
        [("process", 0.0), ("address", 0.0), ("descriptors", 0.0), ("tls_handshake", 1.0), ("proxy_protocol", 0.0)]
    {
        assert_eq!(samples[&format!("proxy_connections_refused_total{{reason=\"{reason}\"}}")], count);
    }
    assert_eq!(samples[r#"proxy_tls_handshakes_total{version="1.3",resumed="true"}"#], 1.0);
    assert_eq!(samples[r#"proxy_tls_handshakes_total{version="1.2",resumed="false"}"#], 0.0);
    assert_eq!(samples["proxy_tls_handshake_errors_total"], 1.0);
    assert_eq!(samples["proxy_panics_total"], 1.0);
    assert_eq!(samples["proxy_access_log_dropped_total"], 0.0);
}

#[test]
fn the_control_side_shows_its_newest_state() {
    let metrics = Metrics::new(1);
    let control = metrics.control();
    control.published(7);
    control.held(3);
    control.translated(Duration::from_millis(2));
    control.applied(Duration::from_millis(30));
    control.set_problems(["Invalid", "Conflict", "Invalid"]);
    control.set_source_errors(2);
    control.source_succeeded(UNIX_EPOCH + Duration::from_secs(1_700_000_000));
    control.set_certificates([("shop".to_owned(), "old-tls".to_owned(), 1)]);
    control.set_certificates([("shop".to_owned(), "tls".to_owned(), 1_800_000_000)]);
    let samples = scrape(&metrics);
    let version = env!("CARGO_PKG_VERSION");
    for (series, value) in [
        (format!("headgate_build_info{{version=\"{version}\"}}").as_str(), 1.0),
        ("headgate_generation", 7.0),
        ("headgate_generations_held", 3.0),
        ("headgate_publish_total", 1.0),
        ("headgate_translate_duration_seconds_count", 1.0),
        (r#"headgate_apply_latency_seconds_bucket{le="0.05"}"#, 1.0),
        (r#"headgate_problems{reason="Invalid"}"#, 2.0),
        (r#"headgate_problems{reason="Conflict"}"#, 1.0),
        ("headgate_source_errors", 2.0),
        ("headgate_source_last_success_timestamp_seconds", 1_700_000_000.0),
        (r#"headgate_certificate_not_after_timestamp_seconds{namespace="shop",secret="tls"}"#, 1_800_000_000.0),
    ] {
        assert_eq!(samples[series], value, "{series}");
    }
    assert!(!samples.keys().any(|series| series.contains("old-tls")));
    assert!(samples["process_resident_memory_bytes"] > 0.0);
}
