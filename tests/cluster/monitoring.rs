//! What the chart has for Prometheus and Grafana, in a Prometheus that its operator runs: it finds the controller by the
//! monitors, every expression gives data, and each alert fires when its cause is there. A Grafana is not to be had here; the
//! dashboard's questions are asked as it would ask them.
//!
//! The alerts that fire are copies that wait for 1 s, while those of the chart are pending; in the long form these have to
//! fire too.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::{Value, json};

use crate::controller::{CHART, Controller, helm, succeed, values};
use crate::dashboard::dashboard_gives_data;
use crate::kubernetes::until;
use crate::namespace::Namespace;
use crate::objects::{echo, ingress, of_class, service, tls_ingress};
use crate::prometheus::{Prometheus, SELECTED, operator};
use crate::serving::{HOST, self_signed};
use crate::support::TestCertificate;
use crate::support::client::get;
use crate::support::objects::{self, policy, rule, rule_to, tls_secret, with_annotation, with_tls};
use crate::support::tls::Tls;
use crate::support::wait::within;

/// A day, and the certificate that is about to end has two.
const DAY: Duration = Duration::from_secs(86_400);

/// The group of the chart's alerts, and that of their copies.
const CHARTS: &str = "headgate";
const SOON: &str = "soon";

/// Its name, a label if it has any to tell it from others, and what is in its summary.
type Alert = (&'static str, Option<(&'static str, &'static str)>, &'static str);

const OF_OBJECTS: [Alert; 7] = [
    ("HeadgateServiceEmpty", Some(("reason", "NoEndpoints")), "have nobody behind them"),
    ("HeadgateServiceEmpty", Some(("reason", "ServiceNotFound")), "have nobody behind them"),
    ("HeadgateServiceEmpty", Some(("reason", "PortNotFound")), "have nobody behind them"),
    ("HeadgateErrorRatio", Some(("ingress", "shop")), "/shop are 5xx"),
    ("HeadgateSlow", Some(("ingress", "shop")), "/shop takes longer than 4."),
    ("HeadgateCertificateExpires", Some(("secret", "ending")), "/ending expires in 1d 23h"),
    ("HeadgateNoEndpoints", Some(("service", "sick")), "/sick is healthy"),
];

const OF_RIGHTS: [Alert; 4] = [
    ("HeadgateLeaderMissing", None, "No replica"),
    ("HeadgateSnapshotStale", Some(("kind", "Service")), "list of Service"),
    ("HeadgateConfigApplyFailing", None, "cannot read"),
    ("HeadgateWritingFails", None, "cannot write "),
];

#[test]
fn prometheus_finds_the_controller_and_each_alert_fires_for_its_cause() {
    let namespace = Namespace::new();
    operator(&namespace);
    let controller = monitored_shop(&namespace);
    let [prometheus, by_pods] = Prometheus::start(&namespace, ["service", "pod"]);
    is_scraped(&prometheus, &namespace, "serviceMonitor");
    is_scraped(&by_pods, &namespace, "podMonitor");
    is_quiet(&prometheus, &controller);

    let requests = Requests::start(controller.http);
    causes(&namespace);
    until("a refusal", || (get(controller.http, "limited.example", "/").status == 429).then_some(()));
    dashboard_gives_data(&prometheus, &namespace);

    alerts_fire(&prometheus, &namespace);
    requests.end();
    namespace.kubectl(&["scale", "deployment", "headgate", "--replicas=0"]);
    until("an alert that there is no process", || {
        let rules = prometheus.rules(SOON)?;
        let leader = rules.iter().find(|rule| rule["name"] == "HeadgateLeaderMissing")?;
        (leader["alerts"][0]["value"] == "1e+00").then_some(())
    });
}

/// Headgate with all that its chart has for monitoring, before a good backend and a certificate that lasts.
fn monitored_shop(namespace: &Namespace) -> Controller {
    let ingress = tls_ingress(&namespace.name, HOST, "shop");
    let ingress = with_annotation(ingress, "nginx.ingress.kubernetes.io/ssl-redirect", "false");
    namespace.apply(&[echo("shop", 2), vec![tls_secret("shop", &self_signed()), ingress]].concat());
    let controller = Controller::with(namespace, &monitored(namespace, "serviceMonitor"));
    namespace.rolled_out("shop");
    until("an answer", || (get(controller.http, HOST, "/").status == 200).then_some(()));
    assert_eq!(Tls::to(HOST).connect(controller.https).get(HOST, "/").status, 200);

    let mut copied = namespace.object(&["prometheusrule", "headgate"]);
    copied["metadata"] = json!({ "name": SOON, "labels": copied["metadata"]["labels"] });
    copied["spec"]["groups"][0]["name"] = SOON.into();
    for rule in copied["spec"]["groups"][0]["rules"].as_array_mut().unwrap() {
        rule["for"] = "1s".into();
    }
    namespace.apply(&[copied]);
    // The chart has it in place of the other.
    let template = ["template", "headgate", CHART, "--show-only=templates/podmonitor.yaml"];
    let monitor = helm(namespace, &template, Some(&monitored(namespace, "podMonitor")));
    succeed(&monitor);
    namespace.apply(&[serde_yaml::from_slice(&monitor.stdout).unwrap()]);
    controller
}

fn monitored(namespace: &Namespace, monitor: &str) -> Value {
    let mut values = values(namespace);
    let labels = json!({ SELECTED.0: SELECTED.1 });
    values["controller"]["metrics"] = json!({
        "enabled": true,
        monitor: { "enabled": true, "additionalLabels": labels, "scrapeInterval": "1s" },
        // An upper bound of the histogram, which no good request comes near to.
        "prometheusRule": { "enabled": true, "additionalLabels": labels, "thresholds": { "p99Seconds": 2.5 } },
        "dashboards": { "enabled": true },
    });
    values
}

/// One target, found by this monitor, is up and is the job that the rules are about.
fn is_scraped(prometheus: &Prometheus, namespace: &Namespace, monitor: &str) {
    let pool = format!("{monitor}/{}/headgate/0", namespace.name);
    let target = until("the target", || {
        let targets = prometheus.targets();
        assert!(targets.iter().all(|target| target["scrapePool"] == *pool), "{targets:#?}");
        targets.into_iter().find(|target| target["health"] == "up")
    });
    assert_eq!(target["labels"]["job"], "headgate", "{target:#}");
    assert_eq!(target["labels"]["controller_namespace"], *namespace.name, "{target:#}");
    assert_eq!(prometheus.query("up").len(), 1);
}

/// While all is well and requests are answered, all rules work and none says anything.
fn is_quiet(prometheus: &Prometheus, controller: &Controller) {
    for _ in 0..10 {
        assert_eq!(get(controller.http, HOST, "/").status, 200);
    }
    let counted = || prometheus.query("rate(proxy_requests_total[1m]) > 0").len();
    until("the requests", || (counted() > 0).then_some(()));
    let is_quiet = |rule: &Value| rule["health"] == "ok" && rule["state"] == "inactive";
    for group in [CHARTS, SOON] {
        // Before the first scrape there is no leader, and a watch that failed once as it began is doubted for 80 s.
        let quiet = within(Duration::from_secs(120), || prometheus.rules(group)?.iter().all(is_quiet).then_some(()));
        assert!(quiet.is_some(), "{:#?}", prometheus.rules(group));
    }
}

/// What the alerts are about, but for what the process may not read; and what the dashboard shows of limits.
fn causes(namespace: &Namespace) {
    let class = &*namespace.name;
    let ending = TestCertificate::ending(&["ending.example"], 2 * DAY);
    let other_port = json!({ "service": { "name": "shop", "port": { "number": 81 } } });
    let other_port = objects::ingress("other-port", &[rule_to("port.example", "/", "Prefix", other_port)]);
    let limited = objects::ingress("limited", &[rule("limited.example", "/", "Prefix", "shop")]);
    let mut sick = service("sick");
    sick["spec"]["selector"]["app"] = "shop".into();
    namespace.apply(&[
        policy(
            "eager",
            "Service",
            "shop",
            json!({
                "outlier": { "consecutiveErrors": 1 }, "retry": { "attempts": 2, "on": ["500"] },
            }),
        ),
        of_class(class, limited),
        policy("limit", "Ingress", "limited", json!({ "rateLimit": { "requests": 1, "per": "1h" } })),
        with_tls(ingress(class, "ending.example", "sick"), &["ending.example"], "ending"),
        tls_secret("ending", &ending),
        sick,
        policy("check", "Service", "sick", json!({ "healthCheck": { "interval": "200ms", "path": "/?status=500" } })),
        service("nobody"),
        ingress(class, "nobody.example", "nobody"),
        ingress(class, "absent.example", "absent"),
        of_class(class, other_port),
    ]);
}

/// Requests to the shop without end, of which a third fails and a third takes long.
struct Requests {
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Requests {
    fn start(address: SocketAddr) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let ended = Arc::clone(&over);
        let ask = move || {
            while !ended.load(Relaxed) {
                for path in ["/", "/?status=500", "/?delay=2600ms"] {
                    get(address, HOST, path);
                }
            }
        };
        Requests { over, thread: Some(std::thread::spawn(ask)) }
    }

    fn end(mut self) {
        self.over.store(true, Relaxed);
        self.thread.take().unwrap().join().unwrap();
    }
}

/// Once the objects are there and requests fail, each alert about them fires; once the process may not read any more, the
/// others do.
fn alerts_fire(prometheus: &Prometheus, namespace: &Namespace) {
    OF_OBJECTS.iter().for_each(|alert| fires(prometheus, SOON, alert));
    // Its watches end within a minute, and it may not take them up.
    namespace.kubectl(&["delete", "rolebinding", "headgate", "headgate-served"]);
    OF_RIGHTS.iter().for_each(|alert| fires(prometheus, SOON, alert));
    // Requests that are shed would hide the causes of the others.
    let by_others = |rule: &Value| rule["name"] != "HeadgateMemoryScarce";
    for rule in prometheus.rules(SOON).unwrap().into_iter().filter(by_others) {
        assert_eq!(rule["state"], "firing", "an alert whose cause this test does not know: {rule:#}");
    }
    for rule in prometheus.rules(CHARTS).unwrap().into_iter().filter(by_others) {
        assert_ne!(rule["state"], "inactive", "{rule:#}");
    }
    if std::env::var_os("E2E_LONG").is_some() {
        OF_OBJECTS.iter().chain(&OF_RIGHTS).for_each(|alert| fires(prometheus, CHARTS, alert));
    }
}

/// Waits until an alert of the group fires.
#[track_caller]
fn fires(prometheus: &Prometheus, group: &str, (name, label, says): &Alert) {
    let is_it = |alert: &&Value| label.is_none_or(|(label, value)| alert["labels"][label] == value);
    // The chart's wait for up to 10 minutes.
    let patience = Duration::from_secs(if group == CHARTS { 900 } else { 90 });
    let alert = within(patience, || {
        let rule = prometheus.rules(group)?.into_iter().find(|rule| rule["name"] == *name)?;
        rule["alerts"].as_array()?.iter().filter(is_it).find(|alert| alert["state"] == "firing").cloned()
    });
    let alert = alert.unwrap_or_else(|| panic!("{name} {label:?} does not fire: {:#?}", prometheus.rules(group)));
    assert!(alert["annotations"]["summary"].as_str().unwrap().contains(says), "{alert:#}");
}
