//! What would become of one request, and why. Every step is the function that requests go through; only what depends on
//! other requests (limits that are used up, an endpoint that cannot be reached) cannot be told.

use std::net::IpAddr;
use std::sync::Arc;

use http::Version;
use http::header::{CONTENT_LENGTH, LOCATION};
use http::request::Parts;
use serde::Serialize;

use super::lost::{self, Lost};
use super::question::{NoQuestion, Question};
use super::rules::{Choice, Rules, choices};
use crate::config::{Limits, PlainPort};
use crate::proxy::client_address::{self, Resolved};
use crate::proxy::decide::{self, Asked, Next};
use crate::proxy::error::ProxyError;
use crate::proxy::framing::Bounds;
use crate::proxy::head_check::{self, Checked, Connect};
use crate::proxy::headers::{Marks, X_FORWARDED_FOR};
use crate::proxy::respond::{self, Asker};
use crate::snapshot::{Action, HostPattern, PathKind, Reference};
use crate::tables::{LiveRoute, Tables};
use crate::translate::Report;

/// What flags say about it.
#[derive(Clone, Copy, Debug)]
pub struct Site {
    /// `--max-header-size` and `--max-header-fields`.
    pub bounds: Bounds,
    /// `--https-redirect-port`.
    pub https_redirect_port: Option<u16>,
    /// What the one port of a plain proxy speaks; `None`: there are two.
    pub plain_port: Option<PlainPort>,
}

impl Site {
    pub fn new(limits: &Limits, https_redirect_port: Option<u16>, plain_port: Option<PlainPort>) -> Self {
        let bounds = Bounds { size: limits.max_header_size, fields: limits.max_header_fields };
        Site { bounds, https_redirect_port, plain_port }
    }
}

/// What ships.
impl Default for Site {
    fn default() -> Self {
        Site::new(&Limits::default(), None, None)
    }
}

/// What would become of a request.
#[derive(Clone, Debug, Serialize)]
pub struct Explanation {
    pub method: String,
    pub url: String,
    /// The port it comes in on: `http` or `https`. `None`: no port speaks what the URL has.
    pub listener: Option<&'static str>,
    /// As X-Forwarded-For has it, if who connects is trusted.
    pub client: IpAddr,
    /// In normal form, where the head can be read.
    pub host: Option<String>,
    pub path: Option<String>,
    /// The pattern whose rules count for the host.
    pub host_pattern: Option<HostPattern>,
    /// The host stands in some `tls:`.
    pub tls: bool,
    pub rule: Option<Rule>,
    /// Rules that take the path too.
    pub lost: Vec<Lost>,
    /// What the owners of rules were told that ask for the same requests.
    pub conflicts: Vec<String>,
    pub rules: Option<Rules>,
    /// One, or the members of a split.
    pub backends: Vec<Choice>,
    pub answer: Answer,
}

/// The rule that takes the request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Rule {
    Path {
        path: String,
        kind: PathKind,
        ingress: Reference,
    },
    /// `--default-backend-service`.
    DefaultBackend {
        default_backend: String,
    },
}

/// Why there is no backend's answer to a CONNECT.
const TUNNEL: &str = "a tunnel to an endpoint, if limits let the request pass";

/// What the client would get.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Answer {
    /// `None`: what the backend answers, or a tunnel; or there is no listener.
    pub status: Option<u16>,
    /// As ARCHITECTURE.md, "Statuses", has it.
    pub cause: Option<String>,
    pub reason: Option<String>,
    pub location: Option<String>,
}

/// One request on its way through the tables.
struct Walk<'a> {
    tables: &'a Tables,
    site: Site,
    head: &'a Parts,
    tls: bool,
    client: Resolved,
}

/// Asks `tables` what becomes of the request; `reports` tell who lost a conflict.
pub fn explain(
    tables: &Tables,
    reports: &[Report],
    site: Site,
    question: &Question,
) -> Result<Explanation, NoQuestion> {
    let arrival = question.arrival()?;
    let mut told = Explanation::of(question, arrival.tls);
    if let Some(port) = site.plain_port.filter(|port| arrival.tls != (*port == PlainPort::Https)) {
        told.listener = None;
        told.answer.reason = Some(format!("none, since the one port speaks {port}"));
        return Ok(told);
    }
    let outcome = arrival.parts(site.bounds).and_then(|head| {
        let chain = || head.headers.get_all(X_FORWARDED_FOR).iter();
        let client = client_address::resolve(question.client, chain, &tables.settings.trusted_proxies);
        told.client = client.client;
        Walk { tables, site, head: &head, tls: arrival.tls, client }.walk(reports, &mut told)
    });
    told.answer = outcome.unwrap_or_else(|error| told.failed(error));
    Ok(told)
}

impl Explanation {
    fn of(question: &Question, tls: bool) -> Self {
        Explanation {
            method: question.method.clone(),
            url: question.url.clone(),
            listener: Some(if tls { "https" } else { "http" }),
            client: question.client.to_canonical(),
            host: None,
            path: None,
            host_pattern: None,
            tls: false,
            rule: None,
            lost: Vec::new(),
            conflicts: Vec::new(),
            rules: None,
            backends: Vec::new(),
            answer: Answer::default(),
        }
    }

    /// A backend or a redirect answers.
    pub fn is_served(&self) -> bool {
        self.listener.is_some() && self.answer.status.is_none_or(|status| status < 400)
    }

    fn failed(&self, error: ProxyError) -> Answer {
        let told = match error {
            ProxyError::Denied => self.rules.as_ref().and_then(|rules| rules.denied.clone()),
            ProxyError::NoEndpoint => self.backends.iter().find_map(|backend| backend.unresolved.clone()),
            _ => None,
        };
        Answer {
            status: Some(error.status().as_u16()),
            cause: Some(error.cause()),
            reason: Some(told.unwrap_or_else(|| error.to_string())),
            location: None,
        }
    }
}

impl Walk<'_> {
    /// The order is that of `proxy::request`.
    fn walk(&self, reports: &[Report], told: &mut Explanation) -> Result<Answer, ProxyError> {
        let target = head_check::check(self.head, self.tls, self.site.bounds.fields)?;
        self.tell_host(&target, told);
        let found = decide::route(&self.tables.routes, &target, &self.head.uri);
        let path = target.path(&self.head.uri);
        let winner = found.as_ref().ok().copied();
        told.lost = lost::to(self.tables, target.host(), path, winner);
        let route = found?;
        self.tell_route(route, reports, told);
        let asked = Asked { head: self.head, target: &target, tls: self.tls, client: self.client };
        if decide::next(route, asked, || least_body(self.head))? == Next::Redirect {
            return self.redirect(&target);
        }
        self.tables.would_serve(decide::slot(route)?)?;
        let tunnel = target.connect == Some(Connect::Tunnel);
        Ok(Answer { reason: tunnel.then(|| TUNNEL.to_owned()), ..Answer::default() })
    }

    fn tell_host(&self, target: &Checked, told: &mut Explanation) {
        let routes = &self.tables.routes;
        told.host = Some(target.host().to_owned());
        told.path = Some(target.path(&self.head.uri).to_owned());
        told.host_pattern = routes.pattern(target.host()).cloned();
        told.tls = routes.has_tls(target.host());
    }

    fn tell_route(&self, route: &Arc<LiveRoute>, reports: &[Report], told: &mut Explanation) {
        let listed = self.tables.routes.iter().find(|listed| Arc::ptr_eq(listed.live, route));
        let slot = decide::slot(route).ok();
        told.backends = slot.map(|slot| choices(self.tables, slot, &route.policy)).unwrap_or_default();
        let denied = listed.and_then(|listed| match &listed.route.action {
            Action::Deny(reason) => Some(reason.clone()),
            Action::Forward(_) => None,
        });
        told.rules = Some(Rules::of(route, self.client.client, denied));
        told.rule = Some(match listed {
            Some(listed) => {
                told.conflicts = lost::conflicts(&listed, reports);
                let path = listed.route.path.path.as_str().to_owned();
                Rule::Path { path, kind: listed.route.path.kind, ingress: listed.route.owner.clone() }
            }
            None => {
                let name = slot.map(|slot| self.tables.backends[slot].name.clone());
                Rule::DefaultBackend { default_backend: name.unwrap_or_default() }
            }
        });
    }

    fn redirect(&self, target: &Checked) -> Result<Answer, ProxyError> {
        let asker = Asker::of(&self.head.method, Version::HTTP_11, &self.head.headers);
        let port = self.site.https_redirect_port;
        let answer = respond::redirect(target.host(), port, &self.head.uri, asker, Marks::default())?;
        let location = answer.headers().get(LOCATION).and_then(|location| location.to_str().ok());
        Ok(Answer {
            status: Some(answer.status().as_u16()),
            cause: None,
            reason: Some("http is redirected to https".to_owned()),
            location: location.map(str::to_owned),
        })
    }
}

/// What the head says of the body, which is not there.
fn least_body(head: &Parts) -> u64 {
    let length = head.headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok());
    length.and_then(|length| length.parse().ok()).unwrap_or(0)
}
