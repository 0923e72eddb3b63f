use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::process::{Command, ExitCode, Stdio};

/// In its environment a child of this test finds the folder to serve.
const FOLDER: &str = "FOLDER_OF_A_PROCESS_WHOSE_WORKER_DIES";
const NAME: &str = "cli::serve::tests::a_worker_that_dies_ends_the_process_with_its_reason";

/// Only a test build can be made to panic, and only a process can be seen to end: so this test starts itself again.
#[test]
fn a_worker_that_dies_ends_the_process_with_its_reason() {
    if let Some(folder) = std::env::var_os(FOLDER) {
        let mut args: Vec<_> = ["headgate", "serve", "--bind-address=127.0.0.1", "--http-port=0", "--https-port=0"]
            .iter()
            .chain(&["--healthz-port=0", "--workers=1", "--access-log=off", "--dir"])
            .map(Into::into)
            .collect();
        args.push(folder);
        assert_eq!(crate::cli::run(args), ExitCode::FAILURE);
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", NAME, "--nocapture"])
        .env(FOLDER, folder.path())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    let listening = lines.find(|line| line.contains("listening http=")).expect("a line with the addresses");
    let address = listening.split("http=").nth(1).unwrap().split(' ').next().unwrap();
    let mut client = TcpStream::connect(address).unwrap();
    client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nx-fault: tick\r\n\r\n").unwrap();
    let rest: Vec<_> = lines.collect();
    assert!(child.wait().unwrap().success(), "{rest:#?}");
    assert!(rest.iter().any(|line| line == "error: worker 0 panicked: a fault in Tick"), "{rest:#?}");
}
