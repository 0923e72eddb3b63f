//! One question on the admin port, one answer.

use std::net::SocketAddr;
use std::sync::Arc;

use http::header::{ALLOW, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};

use super::State;
use super::debug::{self, View};
use super::document::Document;
use crate::explain::Question;

/// What can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Resource {
    /// The paths that begin so, with what they are.
    Index(&'static str),
    Alive,
    Ready,
    Metrics,
    Debug(View),
    Explain,
}

/// All paths, with what the index says of them; nothing: the same as another one.
const PATHS: [(&str, Resource, &str); 12] = [
    ("/", Resource::Index("/"), ""),
    ("/healthz", Resource::Alive, "the process is alive; the same as /livez"),
    ("/livez", Resource::Alive, ""),
    ("/readyz", Resource::Ready, "it should get traffic, or why not"),
    ("/metrics", Resource::Metrics, "for Prometheus"),
    ("/debug", Resource::Index("/debug"), ""),
    ("/debug/", Resource::Index("/debug"), "the paths below; from the process's own host, or with --debug-remote"),
    ("/debug/routes", Resource::Debug(View::Routes), "where each host and path goes"),
    ("/debug/backends", Resource::Debug(View::Backends), "each Service port with its endpoints and requests in flight"),
    ("/debug/problems", Resource::Debug(View::Problems), "what is wrong with objects and files"),
    ("/debug/explain", Resource::Explain, "what becomes of one request: ?url=, also &method= &header= &client="),
    ("/debug/snapshot", Resource::Debug(View::Snapshot), "all that is served, as data"),
];

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const METRICS: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
const JSON: HeaderValue = HeaderValue::from_static("application/json");

pub(super) async fn respond<B>(state: Arc<State>, peer: SocketAddr, request: Request<B>) -> Response<Document> {
    let path = request.uri().path();
    if (path == "/debug" || path.starts_with("/debug/")) && !may_debug(&state, peer) {
        return plain(StatusCode::FORBIDDEN, "only from the process's own host, or with --debug-remote".into());
    }
    let Some(resource) = resource(path, &state.health_check_path) else {
        return plain(StatusCode::NOT_FOUND, "not found; what is there: /".into());
    };
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut refusal = plain(StatusCode::METHOD_NOT_ALLOWED, "method not allowed".into());
        refusal.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return refusal;
    }
    match resource {
        Resource::Index(under) => plain(StatusCode::OK, index(under)),
        Resource::Alive => plain(StatusCode::OK, "ok".into()),
        Resource::Ready => match state.readiness.check() {
            Ok(()) => plain(StatusCode::OK, "ok".into()),
            Err(reason) => plain(StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {reason}")),
        },
        Resource::Metrics => long(state, METRICS, |state| Ok(state.metrics.encode().into_bytes())).await,
        Resource::Explain => match Question::of_query(request.uri().query().unwrap_or_default()) {
            Ok(question) => long(state, JSON, move |state| debug::explain(state, &question)).await,
            Err(error) => plain(StatusCode::BAD_REQUEST, error.to_string()),
        },
        Resource::Debug(view) => long(state, JSON, move |state| view.render(state)).await,
    }
}

fn resource(path: &str, health_check_path: &str) -> Option<Resource> {
    if path == health_check_path {
        return Some(Resource::Alive);
    }
    PATHS.iter().find(|(known, ..)| *known == path).map(|(_, resource, _)| *resource)
}

fn index(under: &str) -> String {
    let shown = PATHS.iter().filter(|(path, _, about)| path.starts_with(under) && !about.is_empty());
    let lines: Vec<_> = shown.map(|(path, _, about)| format!("{path:<16} {about}")).collect();
    lines.join("\n")
}

/// A port-forward into a pod comes from loopback, too.
fn may_debug(state: &State, peer: SocketAddr) -> bool {
    state.debug_remote || peer.ip().to_canonical().is_loopback()
}

/// What may take milliseconds to make and be megabytes long: made on a thread that may block, few at a time.
async fn long(
    state: Arc<State>,
    kind: HeaderValue,
    render: impl FnOnce(&State) -> serde_json::Result<Vec<u8>> + Send + 'static,
) -> Response<Document> {
    let Ok(permit) = state.documents.clone().try_acquire_owned() else {
        return plain(StatusCode::SERVICE_UNAVAILABLE, "too many at a time".into());
    };
    // The permit goes along, so that it is held for as long as the work is done, whether or not somebody still waits.
    let rendered = tokio::task::spawn_blocking(move || render(&state).map(|bytes| Document::long(bytes, permit))).await;
    let error: Box<dyn std::error::Error> = match rendered {
        Ok(Ok(document)) => return with_body(StatusCode::OK, kind, document),
        Ok(Err(error)) => error.into(),
        Err(error) => error.into(),
    };
    tracing::error!(%error, "a document of the admin port cannot be made");
    plain(StatusCode::INTERNAL_SERVER_ERROR, "cannot be shown".into())
}

fn plain(status: StatusCode, mut text: String) -> Response<Document> {
    text.push('\n');
    with_body(status, TEXT, Document::short(text))
}

fn with_body(status: StatusCode, kind: HeaderValue, body: Document) -> Response<Document> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}
