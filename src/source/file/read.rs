//! From the text of a configuration file to what it asks for, or to all that is wrong with it.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::table::{Complaints, Table, shown};
use crate::snapshot::{Access, Algorithm, Certificate, HealthCheck, HostName, LimitKey, Rate};
use crate::translate::{self, Place, Plain, PlainBackend};

/// What a file asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// `[server]`: flags of `serve`, by the id of the argument, and what is their default now.
    pub server: BTreeMap<&'static str, String>,
    /// `None`: the file has no `[[backends]]`.
    pub plain: Option<Plain>,
}

/// Reads a file that the configuration file names.
pub(super) type Load<'a> = &'a dyn Fn(&Path) -> io::Result<Vec<u8>>;

const TABLES: [&str; 7] =
    ["[server]", "[[backends]]", "[load_balancer]", "[health_check]", "[rate_limit]", "[access]", "[tls]"];
const DAY: u64 = 24 * 60 * 60;
/// As a ProxyPolicy has it.
const MOST: u64 = 1_000_000;

/// What is wrong comes with its line.
pub(super) fn read(text: &str, load: Load<'_>) -> Result<Settings, Vec<(usize, String)>> {
    let complaints = Complaints::about(text);
    let (document, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        complaints.add(error.span().map_or(0, |span| span.start), format!("it is not TOML: {}", error.message()));
    }
    let reading = Reading { document: document.get_ref(), complaints: &complaints, load };
    let settings = if errors.is_empty() { reading.settings() } else { Settings::default() };
    match complaints.into_vec() {
        wrong if wrong.is_empty() => Ok(settings),
        wrong => Err(wrong),
    }
}

struct Reading<'a> {
    document: &'a DeTable<'a>,
    complaints: &'a Complaints<'a>,
    load: Load<'a>,
}

impl<'a> Reading<'a> {
    fn settings(&self) -> Settings {
        let listed = self.document.get("backends").map(Spanned::get_ref);
        let is_plain = listed.is_some_and(|listed| listed.as_array().is_none_or(|list| !list.is_empty()));
        self.only_known_tables(is_plain);
        let server = self.table("[server]").map(server).unwrap_or_default();
        if !is_plain {
            return Settings { server, plain: None };
        }
        let plain = Plain {
            backends: self.backends(),
            algorithm: self.table("[load_balancer]").map(algorithm).unwrap_or_default(),
            health_check: self.table("[health_check]").and_then(health_check),
            rate_limit: self.table("[rate_limit]").and_then(rate_limit),
            access: self.table("[access]").and_then(access),
            certificate: self.table("[tls]").and_then(|table| certificate(table, self.load)),
        };
        Settings { server, plain: Some(plain) }
    }

    fn only_known_tables(&self, plain: bool) {
        for (key, value) in self.document {
            let name = key.get_ref();
            let known = TABLES.iter().any(|table| table.trim_matches(['[', ']']) == name);
            let complaint = match (known, plain) {
                (false, _) => format!("{name}: there is no such table; allowed are {}", TABLES.join(", ")),
                (true, false) if !["server", "backends"].contains(&&**name) => format!(
                    "[{name}]: without [[backends]] only [server] is allowed; how Ingresses are served, a ProxyPolicy says"
                ),
                (true, _) => continue,
            };
            self.complaints.add(key.span().start.min(value.span().start), complaint);
        }
    }

    /// `name`: with its brackets.
    fn table(&self, name: &'static str) -> Option<Table<'a>> {
        let value = self.document.get(name.trim_matches(['[', ']']))?;
        let table = value.get_ref().as_table().map(|entries| Table::new(name, value.span(), entries, self.complaints));
        if table.is_none() {
            let what = format!("{name}: {}; write {name}, once, and its keys below", shown(value.get_ref()));
            self.complaints.add(value.span().start, what);
        }
        table
    }

    fn backends(&self) -> Vec<PlainBackend> {
        const NAME: &str = "[[backends]]";
        let Some(value) = self.document.get("backends") else { return Vec::new() };
        let wrong = |value: &Spanned<DeValue<'_>>| {
            let what = format!("{NAME}: {}; write {NAME} above the keys of each backend", shown(value.get_ref()));
            self.complaints.add(value.span().start, what);
        };
        let Some(array) = value.get_ref().as_array() else {
            wrong(value);
            return Vec::new();
        };
        let mut backends: Vec<PlainBackend> = Vec::new();
        for entry in array.iter() {
            let Some(entries) = entry.get_ref().as_table() else {
                wrong(entry);
                continue;
            };
            backends.extend(backend(Table::new(NAME, entry.span(), entries, self.complaints), &backends));
        }
        if let Some(first) = array.first()
            && backends.len() == array.len()
            && backends.iter().all(|backend| backend.weight == 0)
        {
            let what =
                format!("{NAME} weight: it is 0 for all of them, so that none gets requests; write a higher one");
            self.complaints.add(first.span().start, what);
        }
        backends
    }
}

fn server(mut table: Table<'_>) -> BTreeMap<&'static str, String> {
    let mut flags = BTreeMap::new();
    let address = "an IP address and a port, as \"0.0.0.0:8080\" or \"[::]:8080\"";
    let address = table.text("bind_addr", address, |text| socket(text).ok_or_else(|| not(text)));
    if let Some(address) = address {
        flags.insert("bind_address", address.ip().to_string());
        flags.insert("http_port", address.port().to_string());
    }
    let workers = table.number("worker_threads", 1..=1024);
    flags.extend(workers.map(|workers| ("workers", workers.to_string())));
    let most = table.number("max_connections", 1..=u64::from(u32::MAX));
    flags.extend(most.map(|most| ("max_connections", most.to_string())));
    let timeout = table.number("request_timeout", 1..=DAY);
    flags.extend(timeout.map(|seconds| ("request_timeout", format!("{seconds}s"))));
    let tunnel = table.boolean("connect_tunnel");
    flags.extend(tunnel.map(|tunnel| ("connect_tunnel", tunnel.to_string())));
    table.finish();
    flags
}

/// `others`: those that stand before it.
fn backend(mut table: Table<'_>, others: &[PlainBackend]) -> Option<PlainBackend> {
    let a_name = "a name of its own, of up to 253 characters";
    let name = table.text("name", a_name, |text| match text {
        "" => Err(not(text)),
        _ if text.len() > 253 || text.contains(char::is_control) => Err(not(text)),
        _ if others.iter().any(|other| other.name == text) => Err(format!("another backend is called {text:?} too")),
        _ => Ok(text.to_owned()),
    });
    let name = table.require("name", name, a_name);
    let an_address =
        "an address or a host name, and a port, as \"10.0.0.7:3000\", \"[::1]:3000\" or \"app.internal:3000\"";
    let place = table.text("addr", an_address, |text| {
        let place = place(text).ok_or_else(|| not(text))?;
        match others.iter().find(|other| other.place == place) {
            Some(other) => Err(format!("{text:?} is where {} is too, which could have a higher weight", other.name)),
            None => Ok(place),
        }
    });
    let place = table.require("addr", place, an_address);
    let weight = table.number("weight", 0..=1000).unwrap_or(1) as u16;
    let max_connections = table.number("max_connections", 1..=MOST).map(|most| most as u32);
    table.finish();
    // What could not be read is told; the others are read on, for what is wrong with them.
    Some(PlainBackend { name: name.unwrap_or_default(), place: place?, weight, max_connections })
}

fn place(text: &str) -> Option<Place> {
    if let Some(address) = socket(text) {
        let address = SocketAddr::new(address.ip().to_canonical(), address.port());
        return Some(Place::Address(address)).filter(|_| address.port() > 0);
    }
    let (host, port) = text.rsplit_once(':')?;
    let digits = port.bytes().all(|byte| byte.is_ascii_digit());
    let port = port.parse().ok().filter(|port| digits && *port > 0)?;
    let host = HostName::parse(host).ok()?.to_string();
    // What looks like an address and is none is no name either.
    let numeric = host.starts_with('[') || host.rsplit('.').next().is_some_and(|label| label.parse::<u64>().is_ok());
    (!numeric).then_some(Place::Name(host, port))
}

/// An address and a port. A scope (`[fe80::1%2]:80`) would be lost later, so that it is refused.
fn socket(text: &str) -> Option<SocketAddr> {
    text.parse().ok().filter(|address| !matches!(address, SocketAddr::V6(address) if address.scope_id() != 0))
}

fn algorithm(mut table: Table<'_>) -> Algorithm {
    let algorithm = table.text("type", "\"round_robin\", \"least_connections\" or \"ip_hash\"", |text| match text {
        "round_robin" => Ok(Algorithm::RoundRobin),
        "least_connections" => Ok(Algorithm::LeastConnections),
        "ip_hash" => Ok(Algorithm::IpHash),
        _ => Err(not(text)),
    });
    table.finish();
    algorithm.unwrap_or_default()
}

fn health_check(mut table: Table<'_>) -> Option<HealthCheck> {
    let a_path = "a path that begins with / and has other characters as %XX";
    let path = table
        .text("path", a_path, |text| if translate::is_check_path(text) { Ok(text.to_owned()) } else { Err(not(text)) });
    let path = table.require("path", path, a_path);
    let interval = table.number("interval", 1..=DAY);
    let timeout = table.number("timeout", 1..=DAY);
    if interval.zip(timeout).is_some_and(|(interval, timeout)| timeout > interval) {
        table.complain("timeout", "it is longer than interval; write a shorter one");
    }
    let mut threshold = |key| table.number(key, 1..=100).map(|threshold| threshold as u32);
    let (unhealthy, healthy) = (threshold("unhealthy_threshold"), threshold("healthy_threshold"));
    table.finish();
    let standard = HealthCheck::new(path?, interval.map(Duration::from_secs), timeout.map(Duration::from_secs));
    Some(HealthCheck {
        unhealthy_threshold: unhealthy.unwrap_or(standard.unhealthy_threshold),
        healthy_threshold: healthy.unwrap_or(standard.healthy_threshold),
        ..standard
    })
}

fn rate_limit(mut table: Table<'_>) -> Option<Rate> {
    let requests = table.number("requests_per_second", 1..=MOST);
    let requests = table.require("requests_per_second", requests, "a whole number from 1 to 1000000");
    let burst = table.number("burst_size", 1..=MOST);
    table.finish();
    let requests = requests? as u32;
    let burst = burst.map_or(requests, |burst| burst as u32);
    let per = Duration::from_secs(1);
    Some(Rate { requests, per, burst, key: LimitKey::ClientIp, status: 429, headers: false })
}

fn access(mut table: Table<'_>) -> Option<Arc<Access>> {
    let mut networks =
        |key| table.list(key, "a list of networks, as [\"10.0.0.0/8\", \"2001:db8::1\"]", translate::network);
    let (allow, deny) = (networks("allow"), networks("deny"));
    table.finish();
    (allow.is_some() || deny.is_some()).then(|| Arc::new(Access { allow, deny: deny.unwrap_or_default() }))
}

fn certificate(mut table: Table<'_>, load: Load<'_>) -> Option<Arc<Certificate>> {
    let mut pem = |key| {
        let a_file = "the path of a PEM file, from the folder of this one";
        let pem = table.text(key, a_file, |path| {
            // Which is not to be shown.
            if path.contains("-----BEGIN") {
                return Err("it is PEM itself".to_owned());
            }
            load(Path::new(path)).map_err(|error| format!("{path:?} cannot be read: {error}"))
        });
        table.require(key, pem, a_file)
    };
    let (chain, key) = (pem("cert_path"), pem("key_path"));
    let certificate = chain.zip(key).and_then(|(chain, key)| {
        let certificate = translate::certificate(("cert_path", &chain), ("key_path", &key));
        certificate.map_err(|what| table.complain("cert_path", &format!("it {what}; write a pair"))).ok()
    });
    table.finish();
    certificate
}

fn not(text: &str) -> String {
    shown(&DeValue::String(text.into()))
}
