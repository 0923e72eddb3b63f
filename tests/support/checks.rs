//! Endpoints with health checks: the policy that asks for them, and what the proxy says of each endpoint.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, OnceLock};

use serde_json::{Value, json};

use super::{Backend, Headgate, Then, client, objects, wait};

pub const HOST: &str = "a.example";

/// The labels of the metrics of the endpoints below.
pub const SERVICE: [(&str, &str); 3] = [("namespace", "default"), ("ingress", ""), ("service", "a")];

/// [`HOST`] at these addresses, which are checked as `check` says; of what it does not say, the shortest.
pub fn site(addresses: &[SocketAddr], check: Value) -> objects::Objects {
    let mut fields = json!({
        "path": "/_health", "interval": "500ms", "timeout": "500ms", "healthyThreshold": 1, "unhealthyThreshold": 1,
    });
    fields.as_object_mut().unwrap().extend(check.as_object().unwrap().clone());
    objects::site_with_backend_policy(HOST, addresses, json!({ "healthCheck": fields }))
}

/// What `/debug/backends` tells of the endpoint.
#[track_caller]
pub fn shown(admin: SocketAddr, address: SocketAddr) -> Value {
    let view = client::get(admin, "admin", "/debug/backends").json();
    let backends = view["backends"].as_array().unwrap().iter();
    let mut endpoints = backends.flat_map(|backend| backend["endpoints"].as_array().unwrap());
    endpoints.find(|endpoint| endpoint["address"] == address.to_string()).unwrap().clone()
}

#[track_caller]
pub fn until_unhealthy(proxy: &Headgate, address: SocketAddr, unhealthy: bool) {
    wait::until(&format!("unhealthy: {unhealthy}"), || {
        (shown(proxy.admin, address)["unhealthy"] == unhealthy).then_some(())
    });
}

/// An endpoint that passes checks (`+`) and fails them (`-`) as written, the last for ever, and sees what the proxy holds
/// it to be when each of them comes.
#[derive(Debug)]
pub struct Moody {
    pub backend: Backend,
    /// The admin port of the proxy, and the address of the backend.
    asked: Arc<OnceLock<(SocketAddr, SocketAddr)>>,
    held: Arc<Mutex<Vec<bool>>>,
}

impl Moody {
    pub fn new(checks: &'static str) -> Self {
        let asked = Arc::<OnceLock<(SocketAddr, SocketAddr)>>::default();
        let held = Arc::<Mutex<Vec<bool>>>::default();
        let (at, noted) = (asked.clone(), held.clone());
        let backend = Backend::scripted(move |exchange| {
            if exchange.seen.target() != "/_health" {
                return exchange.reply("200 OK", "moody");
            }
            let (admin, address) = *at.get().expect("`watch` comes before the first check");
            let mut held = noted.lock().unwrap();
            held.push(shown(admin, address)["unhealthy"] == true);
            match checks.as_bytes().get(held.len() - 1).or(checks.as_bytes().last()) {
                Some(b'+') => exchange.reply("200 OK", "well"),
                _ => exchange.reply("503 Service Unavailable", "ill"),
            }
        });
        Moody { backend, asked, held }
    }

    /// A proxy that serves it, and checks it from when this is over.
    pub fn checked(&self, check: Value) -> Headgate {
        let proxy = Headgate::serve(&objects::site(HOST, &[self.backend.address]));
        self.watch(&proxy);
        proxy.change(&site(&[self.backend.address], check));
        proxy
    }

    /// What this proxy holds it to be is what it sees.
    pub fn watch(&self, proxy: &Headgate) {
        self.asked.set((proxy.admin, self.backend.address)).unwrap();
    }

    /// Whether it was unhealthy when each of the first `checks` checks came (`-`) or not (`+`); waits for them.
    #[track_caller]
    pub fn held(&self, checks: usize) -> String {
        for number in 1..=checks {
            wait::until(&format!("check {number}"), || (self.held.lock().unwrap().len() >= number).then_some(()));
        }
        self.held.lock().unwrap()[..checks].iter().map(|unhealthy| if *unhealthy { '-' } else { '+' }).collect()
    }
}
