//! An API server for tests, on a paused clock: it has objects, lists them in pages, tells watches of each change, and errs
//! as it is told to.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::{Request, Response};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};
use tokio::sync::watch as latest;
use tokio::time::{Instant, sleep, timeout_at};

/// How long each answer takes, half of it on the way there.
const LATENCY: Duration = Duration::from_millis(20);

/// After which the client gives up an answer that does not come.
const SILENCE: Duration = Duration::from_secs(75);

/// How long it takes until an answer is torn.
const LATE: Duration = Duration::from_secs(1);

/// What is wrong with an answer.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fault {
    Status(u16),
    /// Of a watch: it begins well and has an ERROR event.
    Event(u16),
    Refused,
    /// It never comes.
    Silence,
    /// It comes late.
    After(Duration),
    /// It ends in the middle.
    Torn,
    /// It is no JSON.
    Nonsense,
    /// Of a list: so many objects are in it, and it says that these are all.
    /// Of a list: so many objects are in it, and it says that these are all.
    Short(usize),
}

/// What a client asked for.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) resource: String,
    namespace: Option<String>,
    query: BTreeMap<String, String>,
}

type Faults = Box<dyn Fn(&Asked) -> Option<Fault> + Send>;
type Answer = Response<UnsyncBoxBody<Bytes, io::Error>>;

pub(super) struct ApiServer {
    state: Mutex<State>,
    /// Grows with each change, and when all watches are to end.
    moment: latest::Sender<(u64, u64)>,
}

struct State {
    objects: BTreeMap<(String, String), Value>,
    /// By the version that it led to.
    events: BTreeMap<u64, (String, Value)>,
    version: u64,
    faults: Faults,
    asked: Vec<Asked>,
}

impl Asked {
    fn of(request: &Request<Body>) -> Self {
        let plain = |text: &str| {
            [("%3D", "="), ("%2C", ","), ("%2F", "/"), ("%21", "!")]
                .iter()
                .fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
        };
        let query = request.uri().query().unwrap_or_default().split('&');
        let query = query.filter_map(|pair| pair.split_once('=')).map(|(name, value)| (name.to_owned(), plain(value)));
        let path: Vec<&str> = request.uri().path().split('/').collect();
        let namespace = path.iter().position(|part| *part == "namespaces").and_then(|at| path.get(at + 1));
        let resource = path.last().copied().unwrap_or_default().to_owned();
        Asked { resource, namespace: namespace.map(|name| (*name).to_owned()), query: query.collect() }
    }

    pub(super) fn is_watch(&self) -> bool {
        self.query.contains_key("watch")
    }

    /// The second page of a list, or a later one.
    pub(super) fn continues(&self) -> bool {
        self.query.contains_key("continue")
    }

    /// Exactly this object is asked for.
    pub(super) fn name(&self) -> Option<&str> {
        self.query.get("fieldSelector")?.split(',').find_map(|selector| selector.strip_prefix("metadata.name="))
    }

    fn number(&self, name: &str) -> Option<u64> {
        self.query.get(name)?.parse().ok()
    }

    fn is_about(&self, resource: &str, object: &Value) -> bool {
        let metadata = &object["metadata"];
        let labelled = self.query.get("labelSelector").and_then(|selector| selector.split_once('='));
        self.resource == resource
            && self.namespace.as_deref().is_none_or(|namespace| metadata["namespace"] == namespace)
            && self.name().is_none_or(|name| metadata["name"] == name)
            && labelled.is_none_or(|(label, value)| metadata["labels"][label] == value)
    }
}

impl ApiServer {
    pub(super) fn new() -> Arc<Self> {
        let state = State {
            objects: BTreeMap::new(),
            events: BTreeMap::new(),
            version: 100,
            faults: Box::new(|_| None),
            asked: Vec::new(),
        };
        Arc::new(ApiServer { state: Mutex::new(state), moment: latest::channel((0, 0)).0 })
    }

    /// One that does not retry by itself, as that of `connect`.
    pub(super) fn client(self: &Arc<Self>) -> Client {
        let server = self.clone();
        let answer = move |request: Request<Body>| {
            let server = server.clone();
            async move { server.answer(Asked::of(&request)).await }
        };
        Client::new(tower::service_fn(answer), "default")
    }

    /// Makes or changes an object. `name`: with its namespace, if it has one.
    pub(super) fn put(&self, resource: &str, name: &str, object: Value) {
        self.change(resource, name, Some(object));
    }

    pub(super) fn delete(&self, resource: &str, name: &str) {
        self.change(resource, name, None);
    }

    fn change(&self, resource: &str, name: &str, object: Option<Value>) {
        let mut state = self.state();
        state.version += 1;
        let key = (resource.to_owned(), name.to_owned());
        let (kind, mut object) = match object {
            Some(object) if state.objects.contains_key(&key) => ("MODIFIED", object),
            Some(object) => ("ADDED", object),
            None => ("DELETED", state.objects.remove(&key).expect("an object that is there")),
        };
        let (namespace, name) = name.split_once('/').unwrap_or(("", name));
        object["metadata"]["name"] = name.into();
        if !namespace.is_empty() {
            object["metadata"]["namespace"] = namespace.into();
        }
        object["metadata"]["resourceVersion"] = state.version.to_string().into();
        if kind != "DELETED" {
            state.objects.insert(key, object.clone());
        }
        let version = state.version;
        state.events.insert(version, (resource.to_owned(), json!({"type": kind, "object": object})));
        drop(state);
        self.moment.send_modify(|(changes, _)| *changes += 1);
    }

    /// From now on answers are as `faults` has it, and all watches that were begun before end.
    pub(super) fn err(&self, faults: impl Fn(&Asked) -> Option<Fault> + Send + 'static) {
        self.state().faults = Box::new(faults);
        self.moment.send_modify(|(_, ends)| *ends += 1);
    }

    /// What happened until now is forgotten: watches have to begin with a list.
    pub(super) fn forget(&self) {
        let mut state = self.state();
        state.version += 1;
        state.events.clear();
    }

    /// Each object, with its version.
    pub(super) fn versions(&self) -> BTreeSet<String> {
        let shown = |((resource, name), object): (&(String, String), &Value)| {
            format!("{resource} {name} {}", object["metadata"]["resourceVersion"].as_str().unwrap())
        };
        self.state().objects.iter().map(shown).collect()
    }

    /// What was asked for since this was called last.
    pub(super) fn asked(&self) -> Vec<Asked> {
        std::mem::take(&mut self.state().asked)
    }

    async fn answer(self: Arc<Self>, asked: Asked) -> io::Result<Answer> {
        sleep(LATENCY / 2).await;
        let fault = (self.state().faults)(&asked);
        self.state().asked.push(asked.clone());
        let failed = |kind: io::ErrorKind| Err(io::Error::from(kind));
        match fault {
            Some(Fault::Refused) => return failed(io::ErrorKind::ConnectionRefused),
            Some(Fault::Silence) => {
                sleep(SILENCE).await;
                return failed(io::ErrorKind::TimedOut);
            }
            Some(Fault::After(late)) => sleep(late).await,
            Some(Fault::Torn) => sleep(LATE).await,
            _ => {}
        }
        let answer = match fault {
            Some(Fault::Status(code)) => whole(code, failure(code).to_string()),
            Some(Fault::Nonsense) => whole(200, "<html>\n".into()),
            Some(Fault::Event(code)) => whole(200, json!({"type": "ERROR", "object": failure(code)}).to_string()),
            _ if asked.is_watch() => self.watch(asked, matches!(fault, Some(Fault::Torn))),
            Some(Fault::Torn) => {
                let list = self.list(&asked, None).to_string();
                whole(200, list[..list.len() / 2].to_owned())
            }
            Some(Fault::Short(of)) => whole(200, self.list(&asked, Some(of)).to_string()),
            _ => whole(200, self.list(&asked, None).to_string()),
        };
        sleep(LATENCY / 2).await;
        Ok(answer)
    }

    /// `all`: so many objects are told to be all.
    fn list(&self, asked: &Asked, all: Option<usize>) -> Value {
        let state = self.state();
        let of_kind = state.objects.iter().filter(|((resource, _), object)| asked.is_about(resource, object));
        let objects: Vec<&Value> = of_kind.map(|(_, object)| object).take(all.unwrap_or(usize::MAX)).collect();
        let begin = asked.number("continue").unwrap_or(0) as usize;
        let end = asked.number("limit").map_or(objects.len(), |limit| objects.len().min(begin + limit as usize));
        let next = (end < objects.len()).then(|| end.to_string());
        let metadata = json!({"resourceVersion": state.version.to_string(), "continue": next});
        json!({"metadata": metadata, "items": objects[begin..end]})
    }

    /// What happened since the version that is named, and then all that happens. `is_torn`: the first event is cut off.
    fn watch(self: Arc<Self>, asked: Asked, is_torn: bool) -> Answer {
        let from = asked.number("resourceVersion").unwrap_or(0);
        if self.state().has_forgotten(from) {
            return whole(200, json!({"type": "ERROR", "object": failure(410)}).to_string() + "\n");
        }
        let end = Instant::now() + Duration::from_secs(asked.number("timeoutSeconds").unwrap_or(300));
        let moment = self.moment.subscribe();
        let ends = moment.borrow().1;
        let events = stream::unfold((self, asked, moment, from), move |(server, asked, mut moment, seen)| async move {
            loop {
                if moment.borrow_and_update().1 > ends {
                    return None;
                }
                if let Some((version, mut line)) = server.event(&asked, seen) {
                    line.truncate(if is_torn { line.len() / 2 } else { line.len() });
                    return Some((Ok(Frame::data(Bytes::from(line))), (server, asked, moment, version)));
                }
                timeout_at(end, moment.changed()).await.ok()?.ok()?;
            }
        });
        let events = events.take(if is_torn { 1 } else { usize::MAX });
        Response::new(BodyExt::boxed_unsync(StreamBody::new(events)))
    }

    /// The first event behind `seen`, as a line.
    fn event(&self, asked: &Asked, seen: u64) -> Option<(u64, String)> {
        let state = self.state();
        let mut news = state.events.range(seen + 1..);
        let (version, (_, event)) = news.find(|(_, (resource, event))| asked.is_about(resource, &event["object"]))?;
        Some((*version, format!("{event}\n")))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

impl State {
    /// Whether events behind `version` may be forgotten.
    fn has_forgotten(&self, version: u64) -> bool {
        version < self.events.keys().next().map_or(self.version, |first| first - 1)
    }
}

fn whole(status: u16, body: String) -> Answer {
    let body = Full::from(body).map_err(|never| match never {});
    Response::builder().status(status).body(BodyExt::boxed_unsync(body)).unwrap()
}

fn failure(code: u16) -> Value {
    json!({"kind": "Status", "status": "Failure", "code": code, "message": "for a test", "reason": "ForATest"})
}
