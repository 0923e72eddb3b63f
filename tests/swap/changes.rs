//! What changes, one generation after the other, and when which answer is possible.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::origin::Origin;
use super::question::{NOWHERE, ONE, ROUTED, SAFE, SOMETIMES, TURN, TWO, certificate, routed};
use super::timeline::Timeline;
use crate::support::folder::to_yaml;
use crate::support::objects::{ingress, rule, service, service_speaking, tls_secret, with_tls};
use crate::support::{Headgate, Objects, TestCertificate, wait};

const ENDPOINTS: usize = 4;
const CERTIFICATES: usize = 8;

/// Services that routes may lead to.
const SIDES: [&str; 2] = ["left", "right"];

/// How long a backend goes on listening after it was removed.
const NOTICE: Duration = Duration::from_secs(1);

/// The proxy, what it serves, and who is behind it.
pub(super) struct Changes {
    pub(super) headgate: Headgate,
    pub(super) timeline: Arc<Timeline>,
    /// The newest generation that is known to be in use.
    pub(super) generation: u64,
    step: usize,
    origins: usize,
    /// Endpoints of the two Services whose endpoints change, oldest first.
    one: VecDeque<Origin>,
    two: VecDeque<Origin>,
    /// Those of [`SIDES`], which stay.
    _sides: [Origin; 2],
    /// Which of them [`TURN`] leads to.
    side: usize,
    /// Whether there is a rule for [`SOMETIMES`].
    sometimes: bool,
    certificates: Vec<TestCertificate>,
    certificate: usize,
}

impl Changes {
    /// Starts the backends and the proxy.
    pub(super) fn start() -> Self {
        let origins =
            |name: &str| (0..ENDPOINTS).map(|n| Origin::start(format!("{name}-{n}"))).collect::<VecDeque<_>>();
        let (one, two) = (origins("one"), origins("two"));
        let sides = SIDES.map(|side| Origin::start(side.to_owned()));
        let certificates: Vec<_> = (0..CERTIFICATES).map(|_| TestCertificate::for_names(&[SAFE])).collect();
        let timeline = Timeline::default();
        one.iter().chain(&two).for_each(|origin| timeline.begins(&origin.id));
        timeline.begins(&routed(TURN, SIDES[0]));
        timeline.begins(&routed(SOMETIMES, NOWHERE));
        timeline.begins(&certificate(&certificates[0].der));
        let headgate = Headgate::with(&what_stays(&sides))
            .file("one.yaml", &to_yaml(&speaking_http1(&one)))
            .file("two.yaml", &to_yaml(&speaking_h2c(&two)))
            .file("routes.yaml", &to_yaml(&[routes(SIDES[0], false)]))
            .file("certificate.yaml", &to_yaml(&[tls_secret("safe", &certificates[0])]))
            .flag("--access-log", "/dev/null")
            .start();
        Changes {
            generation: headgate.generation(),
            headgate,
            timeline: Arc::new(timeline),
            step: 0,
            origins: ENDPOINTS,
            one,
            two,
            _sides: sides,
            side: 0,
            sometimes: false,
            certificates,
            certificate: 0,
        }
    }

    /// Changes one thing and waits until the change is in use.
    pub(super) fn next(&mut self) {
        self.step += 1;
        match self.step % 5 {
            0 => self.replace_an_endpoint_of_one(),
            1 => self.turn(),
            2 => self.replace_an_endpoint_of_two(),
            3 => self.renew_the_certificate(),
            _ => self.add_or_remove_a_rule(),
        }
    }

    fn replace_an_endpoint_of_one(&mut self) {
        let added = self.origin("one");
        self.one.push_back(added);
        let removed = self.one.pop_front().unwrap();
        self.publish("one.yaml", &speaking_http1(&self.one));
        self.dismiss(removed);
    }

    fn replace_an_endpoint_of_two(&mut self) {
        let added = self.origin("two");
        self.two.push_back(added);
        let removed = self.two.pop_front().unwrap();
        self.publish("two.yaml", &speaking_h2c(&self.two));
        self.dismiss(removed);
    }

    fn turn(&mut self) {
        let before = SIDES[self.side];
        self.side = 1 - self.side;
        self.timeline.begins(&routed(TURN, SIDES[self.side]));
        self.publish("routes.yaml", &[routes(SIDES[self.side], self.sometimes)]);
        self.timeline.ends(&routed(TURN, before));
    }

    fn add_or_remove_a_rule(&mut self) {
        let answer = |there: bool| routed(SOMETIMES, if there { SIDES[0] } else { NOWHERE });
        self.timeline.begins(&answer(!self.sometimes));
        self.sometimes = !self.sometimes;
        self.publish("routes.yaml", &[routes(SIDES[self.side], self.sometimes)]);
        self.timeline.ends(&answer(!self.sometimes));
    }

    fn renew_the_certificate(&mut self) {
        let before = certificate(&self.certificates[self.certificate].der);
        self.certificate = (self.certificate + 1) % CERTIFICATES;
        self.timeline.begins(&certificate(&self.certificates[self.certificate].der));
        self.publish("certificate.yaml", &[tls_secret("safe", &self.certificates[self.certificate])]);
        self.timeline.ends(&before);
    }

    fn origin(&mut self, name: &str) -> Origin {
        let origin = Origin::start(format!("{name}-{}", self.origins));
        self.origins += 1;
        self.timeline.begins(&origin.id);
        origin
    }

    /// Writes a file and waits until it is in use.
    fn publish(&mut self, file: &str, objects: &[Value]) {
        self.headgate.folder.write(file, objects);
        let before = self.generation;
        self.generation = wait::until("the next generation", || {
            Some(self.headgate.generation()).filter(|generation| *generation > before)
        });
        assert_eq!(self.generation, before + 1, "one change is one generation");
    }

    /// Nobody knows this endpoint any more.
    fn dismiss(&self, origin: Origin) {
        self.timeline.ends(&origin.id);
        tokio::spawn(async move {
            tokio::time::sleep(NOTICE).await;
            origin.leave();
        });
    }
}

fn what_stays(sides: &[Origin; 2]) -> Objects {
    let safe = ingress("safe", &[rule(SAFE, "/", "Prefix", "one")]);
    let mut objects = vec![
        ingress("one", &[rule(ONE, "/", "Prefix", "one")]),
        ingress("two", &[rule(TWO, "/", "Prefix", "two")]),
        with_tls(safe, &[SAFE], "safe"),
    ];
    for side in sides {
        objects.extend(service(&side.id, &[side.address]));
    }
    objects
}

fn routes(turn: &str, sometimes: bool) -> Value {
    let mut rules = vec![rule(ROUTED, TURN, "Exact", turn)];
    if sometimes {
        rules.push(rule(ROUTED, SOMETIMES, "Exact", SIDES[0]));
    }
    ingress("routed", &rules)
}

fn speaking_http1(origins: &VecDeque<Origin>) -> Objects {
    service("one", &addresses(origins))
}

fn speaking_h2c(origins: &VecDeque<Origin>) -> Objects {
    service_speaking("two", &addresses(origins), Some("kubernetes.io/h2c"))
}

fn addresses(origins: &VecDeque<Origin>) -> Vec<SocketAddr> {
    origins.iter().map(|origin| origin.address).collect()
}
