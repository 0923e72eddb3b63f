//! Makes policies rules of the routes of an Ingress.
//!
//! Rules that answer ACME challenges keep what the Ingress itself says, and the timeouts: access lists, limits and
//! rules for requests do not count for them.

use std::sync::Arc;

use super::super::ingress::Parsed;
use super::super::problem::{Problem, Reason};
use super::client::Rules;
use super::read::{ClientWishes, Policy, Wish};
use super::shown;
use super::values::Flaw;
use crate::snapshot::{ConnectionLimit, LimitScope, Rate, RateLimit, Reference, RoutePolicy};

/// The policies of one Ingress.
#[derive(Debug, Default)]
pub(in crate::translate) struct Attached {
    /// On the Ingress itself, oldest first.
    pub own: Vec<Arc<Policy>>,
    /// The one that its class names; or why it cannot be known what that asks for.
    pub class: Option<Result<Arc<Policy>, String>>,
}

impl Attached {
    pub(in crate::translate) fn is_empty(&self) -> bool {
        self.own.is_empty() && self.class.is_none()
    }

    /// The very same policies.
    pub(in crate::translate) fn is_same(&self, other: &Attached) -> bool {
        let same_class = match (&self.class, &other.class) {
            (Some(Ok(one)), Some(Ok(other))) => Arc::ptr_eq(one, other),
            (Some(Err(one)), Some(Err(other))) => one == other,
            (one, other) => one.is_none() && other.is_none(),
        };
        same_class
            && self.own.len() == other.own.len()
            && self.own.iter().zip(&other.own).all(|(one, other)| Arc::ptr_eq(one, other))
    }

    /// What is said of one field: by the policies on the Ingress, else by that of its class. Those that were not
    /// understood are left out.
    fn said<T>(&self, field: fn(&ClientWishes) -> &Wish<T>) -> Said<'_, T> {
        fn of<T>(policy: &Arc<Policy>, field: fn(&ClientWishes) -> &Wish<T>) -> Option<(&Policy, &T)> {
            field(&policy.client).as_ref().and_then(|wish| wish.as_ref().ok()).map(|value| (&**policy, value))
        }
        let own: Vec<_> = self.own.iter().filter_map(|policy| of(policy, field)).collect();
        if !own.is_empty() {
            return Said { values: own, by_class: false };
        }
        let class = self.class.iter().flatten();
        Said { values: class.filter_map(|policy| of(policy, field)).collect(), by_class: true }
    }

    /// Why the Ingress is denied.
    fn denied(&self) -> Option<String> {
        let of_class = self.class.as_ref().and_then(|class| match class {
            Ok(policy) => policy.denies().map(|flaw| cannot_be_understood(policy, flaw)),
            Err(why) => Some(why.clone()),
        });
        let of_own = self.own.iter().find_map(|policy| policy.denies().map(|flaw| cannot_be_understood(policy, flaw)));
        of_own.or(of_class)
    }
}

struct Said<'a, T> {
    /// The oldest policy first.
    values: Vec<(&'a Policy, &'a T)>,
    by_class: bool,
}

impl<'a, T: PartialEq> Said<'a, T> {
    /// All that differ: what guards is not lost because another policy is older.
    fn different(&self) -> Vec<(&'a Policy, &'a T)> {
        let mut different: Vec<(&Policy, &T)> = Vec::new();
        for (policy, value) in &self.values {
            if !different.iter().any(|(_, known)| known == value) {
                different.push((policy, value));
            }
        }
        different
    }
}

fn cannot_be_understood(policy: &Policy, Flaw { field, what, .. }: &Flaw) -> String {
    format!("{} cannot be understood ({field}: {what}): 503 is answered; correct the policy", shown(policy))
}

/// The Ingress with the rules of its policies.
pub(in crate::translate) fn treat(parsed: &Parsed, attached: &Attached) -> Parsed {
    let mut parsed = parsed.clone();
    let timeouts = attached.said(|wishes| &wishes.timeouts);
    if let Some((by, wanted)) = timeouts.values.first() {
        for policy in [&mut parsed.policy, &mut parsed.challenge_policy] {
            let policy = Arc::make_mut(policy);
            if let Some(request) = wanted.request {
                policy.request_timeout = Some(request);
                policy.set_by.add("request_timeout", &by.age.owner);
            }
            // What an Ingress says itself counts before what is only a default.
            if let Some(idle) = wanted.idle.filter(|_| !(timeouts.by_class && parsed.annotated.idle_timeout)) {
                policy.idle_timeout = idle;
                policy.set_by.add("idle_timeout", &by.age.owner);
            }
        }
    }
    guard(Arc::make_mut(&mut parsed.policy), attached, &parsed.age.owner, parsed.annotated.body_size);
    if let Some(why) = attached.denied() {
        deny(&mut parsed, &why);
    }
    parsed
}

fn guard(policy: &mut RoutePolicy, attached: &Attached, ingress: &Reference, annotated: bool) {
    let scope = |policy: &Policy| LimitScope { policy: policy.age.owner.clone(), ingress: ingress.clone() };
    let access = attached.said(|wishes| &wishes.access).different();
    policy.access = access.iter().map(|(_, access)| Arc::clone(access)).collect();
    access.iter().for_each(|(by, _)| policy.set_by.add("access", &by.age.owner));
    let rates = attached.said(|wishes| &wishes.rate_limit).different();
    let rate_limit = |(policy, rate): (&Policy, &Rate)| RateLimit { scope: scope(policy), rate: rate.clone() };
    policy.rate_limits = rates.into_iter().map(rate_limit).collect();
    let limits = attached.said(|wishes| &wishes.connection_limit).different();
    let connection_limit =
        |(policy, limit): (&Policy, &u32)| ConnectionLimit { scope: scope(policy), per_client: *limit };
    policy.connection_limits = limits.into_iter().map(connection_limit).collect();
    let said = attached.said(|wishes| &wishes.request);
    restrict(policy, &said.different(), said.by_class && annotated);
}

/// `sized`: the Ingress itself says how large a body may be.
fn restrict(policy: &mut RoutePolicy, said: &[(&Policy, &Rules)], sized: bool) {
    let Some(rules) = said.iter().map(|(_, rules)| (*rules).clone()).reduce(|one, other| one.and(&other)) else {
        return;
    };
    let set_by = &mut policy.set_by;
    let mut name = |value, sets: &dyn Fn(&Rules) -> bool| {
        said.iter().filter(|(_, rules)| sets(rules)).for_each(|(by, _)| set_by.add(value, &by.age.owner));
    };
    if let Some(size) = rules.max_body_size.filter(|_| !sized) {
        policy.max_body_size = Some(size);
        name("max_body_size", &|rules| rules.max_body_size == Some(size));
    }
    name("methods", &|rules| rules.methods.is_some());
    name("required_headers", &|rules| !rules.required_headers.is_empty());
    if let Some(methods) = &rules.methods {
        policy.connect = methods.iter().any(|method| method == "CONNECT");
    }
    policy.methods = rules.methods;
    policy.required_headers = rules.required_headers;
}

/// Denies all claims but those of ACME challenges; what has nothing to deny is not told.
fn deny(parsed: &mut Parsed, why: &str) {
    if parsed.serves_only_challenges() {
        return;
    }
    for claim in parsed.claims.iter_mut().flat_map(|(_, claims)| claims).filter(|claim| !claim.is_acme()) {
        claim.denied.get_or_insert_with(|| why.to_owned());
    }
    parsed.problems.push(Problem::new("ProxyPolicy", Reason::Denied, why));
}
