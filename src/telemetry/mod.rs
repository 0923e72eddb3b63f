//! What can be seen from outside: metrics, access log, application log. Uses nothing of ours; everything may use it.

pub mod access_log;
mod application_log;
pub mod metrics;
mod seldom;

pub use access_log::AccessLog;
pub use application_log::{LogFormat, init as init_application_log};
pub use metrics::{
    BackendError, ControlMetrics, EndpointLabels, Metrics, Refusal, RouteLabels, RouteMetrics, RouteShard, TimeBuckets,
    TlsVersion, WatchedKind, WorkerShard,
};
pub use seldom::Seldom;
