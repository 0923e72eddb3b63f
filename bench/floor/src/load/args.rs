//! What a load is: where it goes, what it asks, and what has to come back.

use std::net::SocketAddr;
use std::time::Duration;

/// Loads a proxy from one thread, checks every answer, and prints what it saw as one line of JSON.
#[derive(Clone, Debug, clap::Parser)]
pub(crate) struct Args {
    #[arg(long)]
    pub(crate) address: SocketAddr,
    /// The Host field, and the name asked for in TLS.
    #[arg(long)]
    pub(crate) host: String,
    #[arg(long, default_value = "/")]
    pub(crate) path: String,
    #[arg(long, default_value_t = 64)]
    pub(crate) connections: usize,
    #[arg(long, default_value_t = 3.0)]
    pub(crate) seconds: f64,
    /// Requests a second, sent at their time whatever became of those before; without it: as fast as answers come.
    #[arg(long)]
    pub(crate) rate: Option<f64>,
    /// A new connection for every request.
    #[arg(long)]
    pub(crate) close: bool,
    /// TLS 1.3 with X25519 and AES-128-GCM, whoever the peer says it is.
    #[arg(long)]
    pub(crate) tls: bool,
    /// Resume TLS sessions; without it each handshake is a full one.
    #[arg(long, requires = "tls")]
    pub(crate) resume: bool,
    /// POST this many bytes.
    #[arg(long)]
    pub(crate) upload: Option<usize>,
    /// Messages of this many bytes over websockets, each sent when the one before came back.
    #[arg(long)]
    pub(crate) websocket: Option<u8>,
    /// One request on each connection, then hold them all until stdin ends. `half`: in the middle of the answer.
    #[arg(long, value_enum)]
    pub(crate) hold: Option<Hold>,
    /// The statuses that may come.
    #[arg(long, value_delimiter = ',', default_value = "200")]
    pub(crate) status: Vec<u16>,
    /// The length of the body of a 200.
    #[arg(long)]
    pub(crate) bytes: Option<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, clap::ValueEnum)]
pub(crate) enum Hold {
    Idle,
    Half,
}

impl Args {
    pub(crate) fn length(&self) -> Duration {
        Duration::from_secs_f64(self.seconds)
    }

    /// The bytes of a request, head and body.
    pub(crate) fn request(&self) -> Vec<u8> {
        let method = if self.upload.is_some() { "POST" } else { "GET" };
        let mut head = format!("{method} {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: load\r\n", self.path, self.host);
        if self.close {
            head += "Connection: close\r\n";
        }
        if let Some(bytes) = self.upload {
            head += &format!("Content-Length: {bytes}\r\n");
        }
        let mut request = (head + "\r\n").into_bytes();
        request.resize(request.len() + self.upload.unwrap_or(0), b'x');
        request
    }
}
