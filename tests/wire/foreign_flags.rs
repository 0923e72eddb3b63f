//! Flags of ingress-nginx: what the table of the documents says of each, the binary does.

use std::collections::BTreeMap;
use std::process::Command;

use crate::support::headgate::Process;
use crate::support::objects::site;
use crate::support::wait::until;
use crate::support::{Backend, Headgate, get};

/// Those of ingress-nginx 1.15 (`pkg/flags/flags.go`), and of its log.
const THERE: &str = "alsologtostderr annotations-prefix apiserver-host bucket-factor certificate-authority configmap \
    controller-class deep-inspect default-backend-service default-server-port default-ssl-certificate disable-catch-all \
    disable-full-test disable-leader-election disable-svc-external-name disable-sync-events dynamic-configuration-retries \
    election-id election-ttl enable-annotation-validation enable-metrics enable-ssl-chain-completion enable-ssl-passthrough \
    enable-topology-aware-routing exclude-socket-metrics health-check-path health-check-timeout healthz-host healthz-port \
    http-port https-port ingress-class ingress-class-by-name internal-logger-address kubeconfig length-buckets log_dir \
    logtostderr max-buckets maxmind-edition-ids maxmind-license-key maxmind-mirror maxmind-retries-count \
    maxmind-retries-timeout metrics-per-host metrics-per-undefined-host monitor-max-batch-size post-shutdown-grace-period \
    profiler-address profiler-port profiling publish-service publish-status-address report-node-internal-ip-address \
    report-status-classes shutdown-grace-period size-buckets ssl-passthrough-proxy-port status-port status-update-interval \
    stderrthreshold stream-port sync-period sync-rate-limit tcp-services-configmap time-buckets udp-services-configmap \
    update-status update-status-on-shutdown v validating-webhook validating-webhook-certificate validating-webhook-key \
    version watch-ingress-without-class watch-namespace watch-namespace-selector";

/// What stands before the reason why one is without effect.
const NO_EFFECT: &str = "no effect: ";

/// Flag and what is said of it.
fn table() -> BTreeMap<String, String> {
    let text = include_str!("../../docs/ingress-nginx-flags.md");
    let rows = text.lines().filter_map(|line| line.strip_prefix("| `--")?.strip_suffix(" |")?.split_once("` | "));
    rows.map(|(flag, here)| (flag.to_owned(), here.to_owned())).collect()
}

/// Flags and their other names as `--help` lists them: how a value is given, and what is said.
fn help() -> BTreeMap<String, (String, String)> {
    let output = Command::new(env!("CARGO_BIN_EXE_headgate")).args(["serve", "--help"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let mut flags = BTreeMap::new();
    let mut lines = text.lines().map(str::trim).peekable();
    while let Some(line) = lines.next() {
        let Some((_, flag)) = line.split_once("--").filter(|(short, _)| matches!(*short, "" | "-v, ")) else {
            continue;
        };
        // Beside the flag or below it.
        let (flag, about) = flag.split_once("  ").unwrap_or((flag, lines.peek().copied().unwrap_or_default()));
        let (name, usage) = flag.split_at(flag.find([' ', '[']).unwrap_or(flag.len()));
        let alias = about.split("[alias: --").nth(1).map(|alias| alias.trim_end_matches(']'));
        for name in [name].into_iter().chain(alias) {
            flags.insert(name.to_owned(), (usage.to_owned(), about.trim().to_owned()));
        }
    }
    flags
}

#[test]
fn the_table_has_every_flag_and_says_what_help_says() {
    let (table, help) = (table(), help());
    assert!(table.keys().map(String::as_str).eq(THERE.split_whitespace()), "{:?}", table.keys());
    for (flag, here) in table.iter().filter(|(flag, _)| *flag != "version") {
        let (_, about) = help.get(flag).unwrap_or_else(|| panic!("--{flag} is unknown: {help:#?}"));
        match here.strip_prefix(NO_EFFECT) {
            Some(why) => assert_eq!(why, about, "--{flag}"),
            None => assert!(here.starts_with("as there"), "--{flag}: {here}"),
        }
    }
}

/// Each that asks for something is told in one line, and nothing else is different.
#[test]
fn flags_without_effect_are_taken_and_told() {
    let backend = Backend::answering("ok");
    let (table, help) = (table(), help());
    let without: Vec<_> = table.iter().filter_map(|(flag, here)| Some((flag, here.strip_prefix(NO_EFFECT)?))).collect();
    let is_boolean = |flag: &str| help[flag].0 == "[=<BOOL>]";
    let told_with = |boolean: &str| {
        let mut proxy = Headgate::with(&site("a.example", &[backend.address]));
        for (flag, _) in &without {
            proxy = proxy.flag(&format!("--{flag}"), if is_boolean(flag) { boolean } else { "5" });
        }
        let proxy = proxy.start();
        assert_eq!(get(proxy.http, "a.example", "/").status, 200);
        proxy.stderr()
    };
    let (asked, declined) = (told_with("true"), told_with("false"));
    for (flag, why) in without {
        let lines =
            |told: &str| told.lines().filter(|line| line.contains(&format!("--{flag} has no effect: {why}"))).count();
        let expected = if is_boolean(flag) { 1 } else { 2 };
        assert_eq!(lines(&asked) + lines(&declined), expected, "--{flag}: {asked}");
        assert!(lines(&asked) <= 1 && lines(&declined) <= 1, "--{flag}");
    }
}

/// The arguments of the pod that ingress-nginx's chart makes.
#[test]
fn the_arguments_of_its_chart_start_it() {
    let backend = Backend::answering("ok");
    let proxy = Headgate::with(&site("a.example", &[backend.address]))
        .flag("--publish-service", "ingress-nginx/ingress-nginx-controller")
        .flag("--election-id", "ingress-nginx-leader")
        .flag("--controller-class", "k8s.io/ingress-nginx")
        .flag("--ingress-class", "nginx")
        .flag("--validating-webhook", ":8443")
        .flag("--validating-webhook-certificate", "/usr/local/certificates/cert")
        .flag("--validating-webhook-key", "/usr/local/certificates/key")
        .flag("--shutdown-grace-period", "0")
        .flag("-v", "2")
        .start();
    assert_eq!(get(proxy.http, "a.example", "/").status, 200);
}

#[test]
fn a_wrong_value_is_refused_all_the_same() {
    for (flag, way_out) in [
        ("--profiling=maybe", "true or false"),
        ("--status-port", "--status-port"),
        ("--disable-catch-all=5", "true or false"),
        ("--report-status-classes=some", "true or false"),
        ("--enable-topology-aware-routing=Auto", "true or false"),
        ("--health-check-path=ping", "as /ping"),
        ("--health-check-path=/readyz", "as /ping"),
        ("--health-check-path=/debug/x", "as /ping"),
        ("--health-check-path=/a?b", "as /ping"),
        ("--healthz-host=localhost", "127.0.0.1"),
        ("--apiserver-host=ftp://10.0.0.1", "https://10.0.0.1:6443"),
        ("--time-buckets=1,1", "ascending"),
        ("--time-buckets=", "ascending"),
        ("--exclude-metrics=a b", "proxy_retries_total"),
        ("--shutdown-grace-period=-5", "1h30m"),
        ("--some-flag-of-another", "--help"),
    ] {
        let mut process = Process::start(&["serve", "--dir=.", flag]);
        assert_eq!(process.exit_status().code(), Some(2), "{flag}");
        let said = until("its last words", || Some(process.stderr()).filter(|text| text.contains("error")));
        assert!(said.contains(flag.split('=').next().unwrap()) && said.contains(way_out), "{flag}: {said}");
    }
}

#[test]
fn the_health_check_has_one_more_path_and_an_address_of_its_own() {
    let backend = Backend::answering("ok");
    let proxy = Headgate::with(&site("a.example", &[backend.address]))
        .flag("--health-check-path", "/is-there-anybody")
        .flag("--healthz-host", "127.0.0.2")
        .start();
    assert_eq!(proxy.admin.ip().to_string(), "127.0.0.2");
    for path in ["/is-there-anybody", "/healthz"] {
        assert_eq!(get(proxy.admin, "admin", path).text(), "ok\n", "{path}");
    }
    assert_eq!(get(proxy.admin, "admin", "/is-there-anybody/else").status, 404);
    assert_eq!(get(proxy.http, "a.example", "/").status, 200);
}

#[test]
fn metrics_are_counted_and_shown_as_flags_say() {
    let backend = Backend::answering("ok");
    let proxy = Headgate::with(&site("a.example", &[backend.address]))
        .flag("--report-status-classes", "true")
        .flag("--time-buckets", "0.000001,60")
        .flag("--exclude-metrics", "proxy_connections,headgate_build_info,nginx_ingress_controller_success")
        .start();
    for path in ["/", "/again"] {
        assert_eq!(get(proxy.http, "a.example", path).status, 200);
    }
    let route = [("namespace", "default"), ("ingress", "a"), ("service", "a")];
    let request = [&route[..], &[("method", "GET"), ("status", "2xx")]].concat();
    assert_eq!(proxy.counted("proxy_requests_total", &request, 2.0), 2.0);
    let text = get(proxy.admin, "admin", "/metrics").text();
    assert!(!text.contains("status=\"200\""), "{text}");
    let bucket = |bound: &str| {
        let labels = [&route[..], &[("le", bound)]].concat();
        proxy.metrics().value("proxy_request_duration_seconds_bucket", &labels)
    };
    assert_eq!((bucket("0.000001"), bucket("60"), bucket("+Inf")), (0.0, 2.0, 2.0));
    assert_eq!(text.matches("proxy_request_duration_seconds_bucket{").count(), 3, "{text}");
    assert!(!text.contains("headgate_build_info") && !text.contains("proxy_connections{"), "{text}");
    assert!(text.contains("proxy_connections_total"), "{text}");
    let told = proxy.stderr();
    let unknown: Vec<_> = told.lines().filter(|line| line.contains("--exclude-metrics")).collect();
    assert!(
        unknown.len() == 1 && unknown[0].contains("nginx_ingress_controller_success: there is no metric"),
        "{told}"
    );
}

#[test]
fn where_it_runs_only_a_pod_knows() {
    let backend = Backend::answering("ok");
    let proxy =
        Headgate::with(&site("a.example", &[backend.address])).switch("--enable-topology-aware-routing").start();
    assert_eq!(get(proxy.http, "a.example", "/").status, 200);
    assert!(proxy.stderr().contains("--enable-topology-aware-routing has no effect: only a pod with NODE_NAME"));
}
