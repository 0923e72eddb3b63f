//! How soon a change is live: from the API server's answer to a write to the first request that shows it. The controller
//! is a process outside the node here, so that its memory and its start can be measured too.
//!
//! In short form 100 routes and bounds that a busy machine holds; `make figures` prints those of an optimised build with
//! 5,000 routes (README has the last ones).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use futures_util::{StreamExt, stream};
use headgate::source::kubernetes::connect;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::networking::v1::Ingress;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client as ApiClient};
use serde_json::json;
use tokio::runtime::Runtime;

use crate::namespace::Namespace;
use crate::objects::ingress;
use crate::support::client::{Client, get};
use crate::support::headgate::{Process, bound};
use crate::support::metrics::Metrics;
use crate::support::{Backend, wait};

/// Where processes outside the node are reached, which is no loopback address.
const OUTSIDE: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 89, 0, 1));

/// Between two changes, so that each is the first after quiet.
const QUIET: Duration = Duration::from_millis(60);

#[test]
fn a_change_is_live_in_milliseconds() {
    let long = std::env::var_os("E2E_LONG").is_some();
    for routes in if long { vec![100, 5000] } else { vec![100] } {
        let figures = Site::new(routes).measure(if long { 200 } else { 20 });
        println!("{routes} routes: {figures}");
        let most = Duration::from_millis(500);
        assert!(figures.ingress.mean < most && figures.endpoint_slice.mean < most, "{figures}");
    }
}

struct Figures {
    start: Duration,
    memory_mib: f64,
    ingress: Times,
    endpoint_slice: Times,
}

struct Times {
    mean: Duration,
    p50: Duration,
    p99: Duration,
    longest: Duration,
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Figures { start, memory_mib, ingress, endpoint_slice } = self;
        write!(f, "ready in {start:?}, {memory_mib:.1} MiB; Ingress: {ingress}; EndpointSlice: {endpoint_slice}")
    }
}

impl fmt::Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Times { mean, p50, p99, longest } = self;
        write!(f, "mean {mean:?}, p50 {p50:?}, p99 {p99:?}, longest {longest:?}")
    }
}

/// A Service with one of two backends behind it, and many Ingresses to it.
struct Site {
    namespace: Namespace,
    runtime: Runtime,
    api: ApiClient,
    backends: [Backend; 2],
}

impl Site {
    #[track_caller]
    fn new(routes: usize) -> Self {
        let namespace = Namespace::alone();
        namespace.cluster.node();
        let runtime = Runtime::new().unwrap();
        let api = runtime.block_on(connect(Some(&namespace.cluster.kubeconfig), None, None)).unwrap();
        let any = SocketAddr::new(OUTSIDE, 0);
        let backends = ["one", "other"].map(|body| Backend::answering_at(any, body));
        let site = Site { namespace, runtime, api, backends };
        let name = &site.namespace.name;
        site.namespace.cluster.apply(&[json!({
            "apiVersion": "networking.k8s.io/v1", "kind": "IngressClass", "metadata": {"name": name},
            "spec": {"controller": format!("headgate.dev/{name}")},
        })]);
        site.namespace.apply(&[
            json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "app"}, "spec": {"ports": [{"port": 80}]}}),
            json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
                "metadata": {"name": "app", "labels": {"kubernetes.io/service-name": "app"}},
                "endpoints": [{"addresses": [OUTSIDE]}], "ports": [{"port": site.backends[0].address.port()}]}),
        ]);
        let hosts = (0..routes).map(|number| site.create(format!("r{number}")));
        site.runtime.block_on(stream::iter(hosts).buffer_unordered(32).collect::<Vec<()>>());
        site
    }

    /// Makes an Ingress for the host `NAME.test`.
    async fn create(&self, name: String) {
        let mut object = ingress(&self.namespace.name, &format!("{name}.test"), "app");
        object["metadata"] = json!({ "name": name });
        let object: Ingress = serde_json::from_value(object).unwrap();
        let ingresses: Api<Ingress> = Api::namespaced(self.api.clone(), &self.namespace.name);
        ingresses.create(&PostParams::default(), &object).await.unwrap();
    }

    /// Lets requests go to one of the backends.
    async fn turn(&self, to: &Backend) {
        let slices: Api<EndpointSlice> = Api::namespaced(self.api.clone(), &self.namespace.name);
        let patch = Patch::Merge(json!({"ports": [{"port": to.address.port()}]}));
        slices.patch("app", &PatchParams::default(), &patch).await.unwrap();
    }

    #[track_caller]
    fn measure(&self, changes: usize) -> Figures {
        let begun = Instant::now();
        let (_process, http, admin) = self.controller();
        wait::until("/readyz", || (get(admin, "admin", "/readyz").status == 200).then_some(()));
        let start = begun.elapsed();
        let mut client = Client::connect(http);
        assert_eq!(client.get("r0.test", "/").text(), "one");
        let metrics = Metrics::parse(&get(admin, "admin", "/metrics").text());
        let memory_mib = metrics.value("process_resident_memory_bytes", &[]) / f64::from(1 << 20);
        let ingress = times((0..changes).map(|number| {
            // How soon after quiet is the question, so the quiet is part of it.
            std::thread::sleep(QUIET);
            let name = format!("new-{number}");
            self.runtime.block_on(self.create(name.clone()));
            let (written, host) = (Instant::now(), format!("{name}.test"));
            wait_for(&mut client, &host, |status, _| status == 200);
            written.elapsed()
        }));
        let endpoint_slice = times((1..=changes).map(|number| {
            // As above.
            std::thread::sleep(QUIET);
            let (to, body) = (&self.backends[number % 2], ["one", "other"][number % 2]);
            self.runtime.block_on(self.turn(to));
            let written = Instant::now();
            wait_for(&mut client, "r0.test", |_, text| text == body);
            written.elapsed()
        }));
        Figures { start, memory_mib, ingress, endpoint_slice }
    }

    /// A controller of this namespace's class, which takes part in no election.
    fn controller(&self) -> (Process, SocketAddr, SocketAddr) {
        let mut process = Process::start(&[
            "serve",
            &format!("--kubeconfig={}", self.namespace.cluster.kubeconfig.display()),
            &format!("--controller-class=headgate.dev/{}", self.namespace.name),
            &format!("--ingress-class={}", self.namespace.name),
            "--disable-leader-election",
            "--bind-address=127.0.0.1",
            "--http-port=0",
            "--https-port=0",
            "--healthz-port=0",
            "--access-log=off",
            "--log-level=info,headgate::app::control=warn",
        ]);
        let line = process.wait_for_line("listening");
        let [http, admin] = ["http", "admin"].map(|port| bound(&line, port).unwrap());
        (process, http, admin)
    }
}

/// Asks without a pause until the answer is the one that is waited for.
#[track_caller]
fn wait_for(client: &mut Client, host: &str, wanted: impl Fn(u16, &str) -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let answer = client.get(host, "/");
        if wanted(answer.status, &answer.text()) {
            return;
        }
        assert!(Instant::now() < deadline, "{host} still answers {}: {}", answer.status, answer.text());
    }
}

fn times(times: impl Iterator<Item = Duration>) -> Times {
    let mut times: Vec<Duration> = times.collect();
    times.sort();
    let at = |share: usize| times[(times.len() * share / 100).min(times.len() - 1)];
    let mean = times.iter().sum::<Duration>() / u32::try_from(times.len()).unwrap();
    Times { mean, p50: at(50), p99: at(99), longest: at(100) }
}
