//! Builds one generation from a snapshot, carrying live state over from the one before.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use http::HeaderValue;
use rustls::sign::CertifiedKey;

use super::backends::Backends;
use super::counts::Counts;
use super::{Certs, LiveBackend, LiveSettings, Routes, Tables};
use crate::snapshot::{Backend, BackendId, Settings, Snapshot};
use crate::telemetry::Metrics;

impl Tables {
    /// The live form of `snapshot`. Endpoints, cursors, routes and certificates that did not change are taken from
    /// `previous`. `fallback` is the self-made certificate.
    pub fn build(
        snapshot: Arc<Snapshot>,
        previous: Option<&Tables>,
        fallback: &Arc<CertifiedKey>,
        metrics: &Metrics,
    ) -> Tables {
        let counts = previous.map_or_else(Counts::default, |previous| previous.counts.clone());
        let backends = Backends::carry(&snapshot.backends, previous, &counts.ejections);
        Tables {
            generation: previous.map_or(1, |previous| previous.generation + 1),
            routes: Routes::compile(&snapshot, &backends, &counts, previous, metrics),
            backends: backends.live,
            slots: backends.slots,
            certs: Certs::compile(&snapshot, previous, fallback),
            settings: LiveSettings::new(&snapshot.settings),
            counts,
            snapshot,
        }
    }

    /// What logs call the backend of this id for its requests to `endpoint`.
    pub fn name_at(&self, id: &BackendId, endpoint: SocketAddr) -> String {
        self.backend(id).map_or_else(|| id.to_string(), |live| live.name_at(Some(endpoint)).to_owned())
    }

    /// The backend of this id as it lives.
    pub(super) fn backend(&self, id: &BackendId) -> Option<&Arc<LiveBackend>> {
        let place = self.slots.binary_search_by(|&slot| (*self.backends[slot].id).cmp(id)).ok()?;
        Some(&self.backends[self.slots[place]])
    }

    /// All backends as the snapshot has them and as they live, in the snapshot's order.
    pub fn backends(&self) -> impl Iterator<Item = (&BackendId, &Backend, &Arc<LiveBackend>)> {
        let backends = self.snapshot.backends.iter().zip(&*self.slots);
        backends.map(|((id, backend), &slot)| (id, &**backend, &self.backends[slot]))
    }
}

impl LiveSettings {
    fn new(settings: &Settings) -> Self {
        let hsts = settings.hsts.as_ref().map(|hsts| hsts.header_value());
        LiveSettings {
            trusted_proxies: settings.trusted_proxies.as_slice().into(),
            proxy_protocol: settings.proxy_protocol,
            client_only_forwarded_for: settings.client_only_forwarded_for,
            hsts: hsts.and_then(|value| HeaderValue::try_from(value).ok()),
        }
    }
}

/// The whole of it stands in the snapshot.
impl fmt::Debug for Tables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tables").field("generation", &self.generation).finish_non_exhaustive()
    }
}
