use super::*;

/// One row of the table in ARCHITECTURE.md: status, cause, flag, backend error.
type Row = (String, String, String, String);

fn rows_of_the_document() -> Vec<Row> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/ARCHITECTURE.md");
    let document = std::fs::read_to_string(path).unwrap();
    let section = document.split("\n## Statuses\n").nth(1).expect("ARCHITECTURE.md has a section `## Statuses`");
    let section = section.split("\n## ").next().unwrap();
    let cells = |line: &str| line.split('|').map(|cell| cell.trim().replace('`', "")).collect::<Vec<_>>();
    let rows = section.lines().filter(|line| line.starts_with("| ")).map(cells);
    rows.filter(|row| row[1].parse::<u16>().is_ok())
        .map(|row| (row[1].clone(), row[2].clone(), row[3].clone(), row[4].clone()))
        .collect()
}

fn reason(error: &ProxyError) -> &'static str {
    match error.backend_error() {
        Some(BackendError::Connect) => "connect",
        Some(BackendError::Timeout) => "timeout",
        Some(BackendError::Reset) => "reset",
        Some(BackendError::Protocol) => "protocol",
        Some(BackendError::ServerError) => "5xx",
        None => "",
    }
}

#[test]
fn architecture_lists_every_failure_as_it_is() {
    let row = |error: &ProxyError| {
        (error.status().as_u16().to_string(), error.cause(), error.flag().into(), reason(error).into())
    };
    let here: Vec<Row> = ProxyError::all().iter().map(row).collect();
    assert_eq!(rows_of_the_document(), here);
}

#[test]
fn flags_are_short() {
    assert!(ProxyError::all().iter().all(|error| matches!(error.flag().len(), 2 | 3)));
}

#[test]
fn failures_stand_in_the_order_of_their_status() {
    assert!(ProxyError::all().is_sorted_by_key(|error| error.status()));
}

#[test]
fn a_502_is_no_timeout_and_a_504_is_one() {
    for error in ProxyError::all() {
        let timeout = error.backend_error() == Some(BackendError::Timeout);
        assert_eq!(timeout, error.status() == 504, "{error:?}");
        let blamed = matches!(error.status().as_u16(), 502 | 504) || error == ProxyError::NoSocket;
        assert_eq!(error.backend_error().is_some(), blamed, "{error:?}");
    }
}

#[test]
fn every_answer_to_an_unreadable_head_ends_the_connection() {
    for error in ProxyError::all() {
        let unreadable = matches!(error.status().as_u16(), 400 | 408 | 413 | 414 | 417 | 431);
        assert!(!unreadable || error.closes() || error == ProxyError::FieldMissing, "{error:?}");
    }
}
