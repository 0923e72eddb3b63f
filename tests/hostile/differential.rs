//! The same bytes through this proxy, nginx and HAProxy, each before a recorder. `differential.yaml` has for each text what
//! became of it at each, and where they differ, why.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde::Deserialize;

use crate::support::wait::until;
use crate::support::{Backend, Client, Headgate, ports};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    sent: String,
    /// By the name of the proxy.
    outcome: BTreeMap<String, String>,
    /// Why they differ.
    why: Option<String>,
}

/// A proxy in front of a recorder of its own.
struct Subject {
    address: SocketAddr,
    backend: Backend,
    process: Option<Child>,
    _files: Option<tempfile::TempDir>,
    _headgate: Option<Headgate>,
}

impl Drop for Subject {
    fn drop(&mut self) {
        if let Some(process) = &mut self.process {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

fn headgate() -> Subject {
    let backend = Backend::answering("ok");
    let headgate = Headgate::before(&backend);
    Subject { address: headgate.http, backend, process: None, _files: None, _headgate: Some(headgate) }
}

/// `arguments` end in the file with this configuration, in which `FRONT`, `BACK` and `DIR` are put in.
fn other(program: &str, arguments: &[&str], configuration: &str) -> Subject {
    let backend = Backend::answering("ok").behind_another();
    // Freed for the program to take.
    let address = ports::listener().local_addr().unwrap();
    let files = tempfile::tempdir().unwrap();
    let file = files.path().join("configuration");
    let places = [
        ("FRONT", address.to_string()),
        ("BACK", backend.address.to_string()),
        ("DIR", files.path().display().to_string()),
    ];
    let text = places.iter().fold(configuration.to_owned(), |text, (place, value)| text.replace(place, value));
    std::fs::write(&file, text).unwrap();
    let mut command = Command::new(program);
    command.args(arguments).arg(&file).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let started = command.spawn().unwrap_or_else(|error| panic!("{program}: {error}; tests/tools.sh installs it"));
    let subject = Subject { address, backend, process: Some(started), _files: Some(files), _headgate: None };
    until(program, || std::net::TcpStream::connect(address).ok());
    subject
}

fn nginx() -> Subject {
    other(
        "nginx",
        &["-e", "stderr", "-c"],
        r#"daemon off; pid DIR/pid; worker_processes 1; events {}
        http {
            access_log off; error_log /dev/null; client_body_temp_path DIR/body; proxy_temp_path DIR/proxy;
            fastcgi_temp_path DIR/fastcgi; uwsgi_temp_path DIR/uwsgi; scgi_temp_path DIR/scgi;
            upstream back { server BACK; keepalive 8; }
            server {
                listen FRONT; server_name a.example;
                location / { proxy_pass http://back; proxy_http_version 1.1; proxy_set_header Connection "";
                             proxy_set_header Host $http_host; proxy_request_buffering off; }
            }
            server { listen FRONT default_server; return 404; }
        }"#,
    )
}

fn haproxy() -> Subject {
    other(
        "haproxy",
        &["-db", "-f"],
        "defaults
            mode http
            timeout connect 5s
            timeout client 5s
            timeout server 5s
            timeout http-request 5s
        frontend front
            bind FRONT
            http-request return status 404 unless { hdr(host),field(1,:) -i a.example }
            default_backend back
        backend back
            server one BACK\n",
    )
}

impl Subject {
    /// The statuses that came and the targets that the recorder saw, as `200 400: /0 /smuggled`. Waits for as many statuses
    /// as are expected, and a little for one more.
    fn outcome(&self, sent: &[u8], expected: &str, known: &mut usize) -> String {
        let mut client = Client::connect(self.address);
        client.send(sent);
        let expected = expected.split(':').next().unwrap_or_default().split(' ').count();
        let mut statuses = Vec::new();
        loop {
            let patience = if statuses.len() < expected { 5000 } else { 200 };
            client.patience(Duration::from_millis(patience));
            match client.try_response() {
                Ok(response) => statuses.push(response.status.to_string()),
                Err(_) => break,
            }
        }
        drop(client);
        let seen: Vec<_> = self.backend.seen().into_iter().skip(*known).collect();
        *known += seen.len();
        let body = |body: &[u8]| if body.is_empty() { String::new() } else { format!("+{}", body.len()) };
        let seen: Vec<_> = seen.iter().map(|seen| format!("{}{}", seen.target(), body(&seen.body))).collect();
        let statuses = if statuses.is_empty() { "closed".to_owned() } else { statuses.join(" ") };
        if seen.is_empty() { statuses } else { format!("{statuses}: {}", seen.join(" ")) }
    }
}

/// The rows where this became something else of a text than is written there.
fn wrong(rows: &[Row], name: &str, subject: &Subject) -> Vec<String> {
    let mut known = 0;
    let mut wrong = Vec::new();
    for row in rows {
        let outcome = subject.outcome(row.sent.as_bytes(), &row.outcome[name], &mut known);
        if outcome != row.outcome[name] {
            wrong.push(format!("{:?}\n  {name}: {outcome}, expected {}", row.sent, row.outcome[name]));
        }
    }
    wrong
}

/// The other two, in the versions of the list, only where `make hostile` has installed them.
#[test]
fn other_proxies_and_this_one_see_the_same_requests() {
    let rows: Vec<Row> = serde_yaml::from_str(include_str!("differential.yaml")).unwrap();
    for Row { sent, outcome, why } in &rows {
        let differ = outcome.values().any(|one| *one != outcome["headgate"]);
        assert_eq!(differ, why.is_some(), "{sent:?}: what differs has a reason, and nothing else");
    }
    let mut wrong = self::wrong(&rows, "headgate", &headgate());
    if std::env::var_os("HOSTILE_LONG").is_some() {
        wrong.extend(self::wrong(&rows, "nginx", &nginx()));
        wrong.extend(self::wrong(&rows, "haproxy", &haproxy()));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
