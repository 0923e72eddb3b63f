//! What the chart has for Prometheus and Grafana, in a Prometheus that its operator runs: it finds the controller by the
//! monitors, every expression gives data, and each alert fires when its cause is there. A Grafana is not to be had here; the
//! dashboard's questions are asked as it would ask them.
//!
//! In short form the alerts that fire are copies that wait for 1 s, while those of the chart are pending; `make e2e` waits
//! for the chart's own.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::{Value, json};

use crate::controller::{CHART, Controller, helm, succeed, values};
use crate::dashboard::dashboard_gives_data;
use crate::namespace::Namespace;
use crate::objects::{echo, ingress, of_class, service, tls_ingress};
use crate::prometheus::{Prometheus, SELECTED, operator};
use crate::serving::{HOST, self_signed};
use crate::support::TestCertificate;
use crate::support::client::get;
use crate::support::objects::{self, policy, rule, rule_to, tls_secret, with_annotation, with_tls};
use crate::support::tls::Tls;
use crate::support::wait::{PATIENCE, until, within};

/// A day, and the certificate that is about to end has two.
const DAY: Duration = Duration::from_secs(86_400);

/// The group of the chart's alerts, and that of their copies.
const CHARTS: &str = "headgate";
const SOON: &str = "soon";

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

    let alerts = Alerts(&prometheus);
    for reason in ["NoEndpoints", "ServiceNotFound", "PortNotFound"] {
        alerts.fires("HeadgateServiceEmpty", &[("reason", reason)], "have nobody behind them");
    }
    let of = |name| [("namespace", &*namespace.name), name];
    alerts.fires("HeadgateErrorRatio", &of(("ingress", "shop")), "% of the answers of Ingress");
    alerts.fires("HeadgateSlow", &of(("ingress", "shop")), "takes longer than 4.");
    alerts.fires("HeadgateCertificateExpires", &of(("secret", "ending")), "/ending expires in 1d 23h");
    alerts.fires("HeadgateNoEndpoints", &of(("service", "sick")), "/sick is healthy");
    // Its watches end within a minute, and it may not take them up.
    namespace.kubectl(&["delete", "rolebinding", "headgate", "headgate-served"]);
    alerts.fires("HeadgateLeaderMissing", &[], "No replica");
    alerts.fires("HeadgateSnapshotStale", &[("kind", "Service")], "list of Service");
    alerts.fires("HeadgateConfigApplyFailing", &[], "cannot read");
    for rule in alerts.rules() {
        assert_eq!(rule["state"], "firing", "an alert whose cause this test does not know: {rule:#}");
    }

    requests.end();
    namespace.kubectl(&["scale", "deployment", "headgate", "--replicas=0"]);
    until("an alert that there is no process", || {
        let leader = alerts.rules().into_iter().find(|rule| rule["name"] == "HeadgateLeaderMissing")?;
        (leader["alerts"][0]["value"] == "1e+00").then_some(())
    });
}

fn is_long() -> bool {
    std::env::var_os("E2E_LONG").is_some()
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
        // Before the first scrape there is no leader.
        let quiet = within(PATIENCE, || prometheus.rules(group)?.iter().all(is_quiet).then_some(()));
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

struct Alerts<'a>(&'a Prometheus);

impl Alerts<'_> {
    /// Waits until an alert with these labels fires that says so, and the chart's own one is at least pending.
    #[track_caller]
    fn fires(&self, name: &str, labels: &[(&str, &str)], says: &str) {
        let is_it = |alert: &&Value| labels.iter().all(|(label, value)| alert["labels"][label] == *value);
        let alert = |group: &str, states: &[&str]| {
            let rule = self.0.rules(group)?.into_iter().find(|rule| rule["name"] == name)?;
            let alerts = rule["alerts"].as_array()?;
            alerts.iter().filter(is_it).find(|alert| states.iter().any(|state| alert["state"] == *state)).cloned()
        };
        let patience = Duration::from_secs(if is_long() { 900 } else { 90 });
        let fires = within(patience, || alert(Self::group(), &["firing"]));
        let fires =
            fires.unwrap_or_else(|| panic!("{name} {labels:?} does not fire: {:#?}", self.0.rules(Self::group())));
        assert!(fires["annotations"]["summary"].as_str().unwrap().contains(says), "{fires:#}");
        until(&format!("the chart's {name}"), || alert(CHARTS, &["pending", "firing"]));
    }

    /// The rules that this test sees to fire.
    fn rules(&self) -> Vec<Value> {
        self.0.rules(Self::group()).unwrap()
    }

    fn group() -> &'static str {
        if is_long() { CHARTS } else { SOON }
    }
}
