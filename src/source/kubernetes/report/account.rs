//! What becomes of requests that write. What is refused in a namespace is not asked for again at once, and what fails is
//! told once for all that failed together.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::super::store::Store;
use super::super::trouble::chain;
use super::RESYNC;
use crate::snapshot::Reference;

/// As roles name what is written.
pub(super) const EVENTS: &str = "events.events.k8s.io";
pub(super) const INGRESSES: &str = "ingresses.networking.k8s.io/status";
pub(super) const POLICIES: &str = "proxypolicies.headgate.dev/status";

/// How long nothing is asked for that was refused.
const REFUSED: Duration = Duration::from_secs(5);

pub(super) struct Account {
    store: Arc<Store>,
    state: Mutex<State>,
}

/// What became of a request, or of several: the worst counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Outcome {
    /// Or there is nothing left to write to.
    Written,
    /// It will never be taken as it is.
    Invalid,
    /// It is to be tried again.
    Failed,
}

#[derive(Default)]
struct State {
    /// Resources and namespaces in which they may not be written, since when that is known, and what the API server says.
    refused: BTreeMap<(&'static str, String), (Instant, String)>,
    /// What failed since it was told last: how many, and the first of them.
    failed: usize,
    first: Option<String>,
}

impl Account {
    pub(super) fn new(store: Arc<Store>) -> Account {
        Account { store, state: Mutex::default() }
    }

    /// What becomes of `request`, which writes an object of this name.
    pub(super) async fn write<T>(
        &self,
        resource: &'static str,
        name: &Reference,
        request: impl Future<Output = kube::Result<T>>,
    ) -> Outcome {
        let place = (resource, name.namespace.clone());
        if self.state().refused.get(&place).is_some_and(|(since, _)| since.elapsed() < REFUSED) {
            return Outcome::Failed;
        }
        let outcome = request.await;
        let mut state = self.state();
        let Err(error) = outcome else {
            state.refused.remove(&place);
            return Outcome::Written;
        };
        match &error {
            // Gone, or nothing is written any more in a namespace that is being deleted.
            kube::Error::Api(status) if status.code == 404 || status.message.contains("being terminated") => {
                return Outcome::Written;
            }
            // Changed in the meantime, of which the watch will tell.
            kube::Error::Api(status) if status.code == 409 => return Outcome::Failed,
            kube::Error::Api(status) if status.code == 403 => {
                state.refused.insert(place, (Instant::now(), status.message.clone()));
                return Outcome::Failed;
            }
            _ => {}
        }
        state.failed += 1;
        state.first.get_or_insert_with(|| format!("{resource} of {name}: {}", chain(&error)));
        match error {
            kube::Error::Api(status) if status.code == 422 => Outcome::Invalid,
            _ => Outcome::Failed,
        }
    }

    /// Says what has failed since it was said last, and what may not be written.
    pub(super) fn tell(&self) {
        let mut state = self.state();
        if let Some(first) = state.first.take() {
            let failed = std::mem::take(&mut state.failed);
            tracing::warn!(failed, "cannot be written, first {first}");
        }
        // What was not asked for again for so long has nothing more to be written.
        state.refused.retain(|_, (since, _)| since.elapsed() < RESYNC * 2);
        let trouble = |resource| (resource, refusal(resource, &state.refused));
        let troubles = [EVENTS, INGRESSES, POLICIES].map(trouble);
        drop(state);
        troubles.into_iter().for_each(|(resource, trouble)| self.store.set_trouble_writing(resource, trouble));
    }

    /// Nothing is written any more, so nothing stands in the way.
    pub(super) fn close(&self) {
        *self.state() = State::default();
        self.tell();
    }

    /// Nothing is left half-written under this lock.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What it means that they may not be written, if there are any.
fn refusal(resource: &str, all: &BTreeMap<(&'static str, String), (Instant, String)>) -> Option<String> {
    let mut refused = all.iter().filter(|((refused, _), _)| *refused == resource);
    let ((_, first), (_, message)) = refused.next()?;
    let more = match refused.count() {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let verbs = if resource == EVENTS { "create and patch" } else { "patch" };
    Some(format!(
        "the API server does not let this account write them in namespace {first}{more}; grant it {verbs} on {resource}, or \
         mend what else refuses it: {message}"
    ))
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;

    fn answer(code: u16, message: &str) -> kube::Result<()> {
        Err(kube::Error::Api(Box::new(Status { code, message: message.into(), ..Status::default() })))
    }

    fn problems(account: &Account) -> Vec<String> {
        account.tell();
        account.store.problems_of_writing().into_iter().map(|problem| problem.reason).collect()
    }

    #[tokio::test]
    async fn what_can_never_be_written_is_done_and_what_failed_is_not() {
        let account = Account::new(Arc::default());
        for (outcome, expected) in [
            (Ok(()), Outcome::Written),
            (answer(404, ""), Outcome::Written),
            (answer(403, "... because it is being terminated"), Outcome::Written),
            (answer(422, ""), Outcome::Invalid),
            (answer(409, ""), Outcome::Failed),
            (answer(500, ""), Outcome::Failed),
            (Err(kube::Error::LinesCodecMaxLineLengthExceeded), Outcome::Failed),
        ] {
            let told = format!("{outcome:?}");
            let written = account.write(EVENTS, &Reference::new("n", "e"), async { outcome }).await;
            assert_eq!(written, expected, "{told}");
        }
        assert_eq!(account.state().failed, 3);
        assert!(account.state().first.as_ref().unwrap().starts_with("events.events.k8s.io of n/e: "));
        assert_eq!(problems(&account), [""; 0]);
        assert_eq!(account.state().failed, 0);
        assert_eq!(account.state().first, None);
    }

    #[tokio::test]
    async fn what_is_refused_in_a_namespace_is_told_and_not_asked_for_again_at_once() {
        let account = Account::new(Arc::default());
        let name = |namespace: &str| Reference::new(namespace, "e");
        assert_eq!(account.write(EVENTS, &name("a"), async { answer(403, "not by me") }).await, Outcome::Failed);
        assert_eq!(
            account.write(EVENTS, &name("a"), async { panic!("it was asked for") as kube::Result<()> }).await,
            Outcome::Failed
        );
        assert_eq!(account.write(EVENTS, &name("b"), async { Ok(()) }).await, Outcome::Written);
        assert_eq!(account.write(INGRESSES, &name("a"), async { Ok(()) }).await, Outcome::Written);
        assert_eq!(problems(&account).len(), 1, "what goes well elsewhere does not hide it");
        assert!(problems(&account)[0].ends_with(
            "in namespace a; grant it create and patch on events.events.k8s.io, or mend what else refuses it: not by me"
        ));
        assert_eq!(account.write(EVENTS, &name("c"), async { answer(403, "not by me") }).await, Outcome::Failed);
        assert!(problems(&account)[0].contains("namespace a and 1 more"));

        let past = |span| Instant::now().checked_sub(span).unwrap();
        account.state().refused.insert((EVENTS, "a".into()), (past(REFUSED), String::new()));
        assert_eq!(account.write(EVENTS, &name("a"), async { Ok(()) }).await, Outcome::Written);
        account.state().refused.insert((EVENTS, "c".into()), (past(RESYNC * 2), String::new()));
        assert_eq!(problems(&account), [""; 0]);

        assert_eq!(account.write(EVENTS, &name("a"), async { answer(403, "not by me") }).await, Outcome::Failed);
        assert_eq!(
            (problems(&account).len(), account.store.problems().len()),
            (1, 0),
            "nothing of it is about reading"
        );
        account.close();
        assert_eq!(problems(&account), [""; 0]);
        assert_eq!(
            account.write(EVENTS, &name("a"), async { Ok(()) }).await,
            Outcome::Written,
            "the next leader asks for it"
        );
    }
}
