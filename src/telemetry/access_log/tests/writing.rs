//! Buffers, the queue and the writer thread.

use std::io::Read;
use std::os::fd::AsRawFd;

use super::*;

const PATIENCE: Duration = Duration::from_secs(20);

fn lines(path: &std::path::Path) -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Records numbered lines, starting with `first`.
fn record(buffer: &mut Buffer, first: usize, count: usize) {
    for number in first..first + count {
        buffer.record(&Entry { bytes_sent: number as u64, ..entry(&[]) });
    }
}

#[test]
fn closing_writes_everything_in_the_order_of_each_worker() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.log");
    let log = AccessLog::open(Target::File(path.clone()), Format::Json).unwrap();
    std::thread::scope(|scope| {
        for worker in 0..3 {
            let mut buffer = log.buffer();
            scope.spawn(move || record(&mut buffer, worker * 1000, 1000));
        }
    });
    assert!(log.close(PATIENCE));
    assert_eq!(log.dropped(), 0);
    let sent: Vec<u64> = lines(&path).iter().map(|line| line["bytes_sent"].as_u64().unwrap()).collect();
    assert_eq!(sent.len(), 3000);
    for worker in 0..3 {
        let own: Vec<u64> = sent.iter().copied().filter(|number| number / 1000 == worker).collect();
        assert!(own.is_sorted());
        assert_eq!(own.len(), 1000);
    }
}

#[test]
fn a_flush_is_enough_for_a_line_to_be_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.log");
    std::fs::write(&path, "{}\n").unwrap();
    let log = AccessLog::open(Target::File(path.clone()), Format::Json).unwrap();
    let mut buffer = log.buffer();
    assert!(buffer.is_on());
    record(&mut buffer, 1, 1);
    buffer.flush();
    assert!(log.close(PATIENCE));
    assert_eq!(lines(&path).len(), 2, "the file is appended to");
}

#[test]
fn lines_that_find_the_queue_full_are_dropped_and_counted() {
    let (mut reader, pipe) = std::io::pipe().unwrap();
    let path = format!("/proc/self/fd/{}", pipe.as_raw_fd());
    let log = AccessLog::open(Target::File(path.into()), Format::Json).unwrap();
    drop(pipe);
    let mut buffer = log.buffer();
    let mut recorded = 0;
    // The pipe takes 64 KiB, the queue 256 chunks; then there is no room until somebody reads.
    while log.dropped() == 0 {
        record(&mut buffer, recorded, 100);
        recorded += 100;
    }
    buffer.flush();
    assert!(!log.close(Duration::from_millis(1)), "nobody reads");
    let text = std::thread::spawn(move || {
        let mut text = String::new();
        reader.read_to_string(&mut text).map(|_| text)
    });
    assert!(log.close(PATIENCE));
    let dropped = log.dropped() as usize;
    drop((buffer, log));
    let text = text.join().unwrap().unwrap();
    assert!(dropped > 0);
    assert_eq!(text.lines().count() + dropped, recorded);
    assert!(text.lines().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()));
}

#[test]
fn a_full_disk_drops_lines_and_ends_nothing() {
    let log = AccessLog::open(Target::File("/dev/full".into()), Format::Json).unwrap();
    let mut buffer = log.buffer();
    record(&mut buffer, 0, 500);
    buffer.flush();
    record(&mut buffer, 500, 7);
    buffer.flush();
    assert!(log.close(PATIENCE));
    assert_eq!(log.dropped(), 507);
}

#[test]
fn a_reader_that_goes_away_ends_nothing() {
    let (reader, pipe) = std::io::pipe().unwrap();
    let log =
        AccessLog::open(Target::File(format!("/proc/self/fd/{}", pipe.as_raw_fd()).into()), Format::Json).unwrap();
    drop((reader, pipe));
    record(&mut log.buffer(), 0, 3);
    assert!(log.close(PATIENCE));
    assert_eq!(log.dropped(), 3);
}

#[test]
fn what_is_recorded_after_closing_is_dropped_and_counted() {
    let log = AccessLog::open(Target::File("/dev/null".into()), Format::Json).unwrap();
    let mut buffer = log.buffer();
    assert!(log.close(PATIENCE));
    record(&mut buffer, 0, 2);
    buffer.flush();
    assert!(log.close(PATIENCE), "closing twice is fine");
    assert_eq!(log.dropped(), 2);
}

#[test]
fn a_renamed_file_is_left_after_reopening() {
    let folder = tempfile::tempdir().unwrap();
    let (path, old) = (folder.path().join("access.log"), folder.path().join("access.log.1"));
    let log = AccessLog::open(Target::File(path.clone()), Format::Json).unwrap();
    let mut buffer = log.buffer();
    record(&mut buffer, 0, 1);
    buffer.flush();
    while std::fs::metadata(&path).unwrap().len() == 0 {
        std::thread::yield_now();
    }
    std::fs::rename(&path, &old).unwrap();
    log.reopen();
    record(&mut buffer, 1, 1);
    buffer.flush();
    assert!(log.close(PATIENCE));
    assert_eq!((lines(&old).len(), lines(&path).len()), (1, 1));
}

#[test]
fn a_log_that_is_off_takes_nothing() {
    let log = AccessLog::open(Target::Off, Format::Json).unwrap();
    let mut buffer = log.buffer();
    assert!(!buffer.is_on());
    record(&mut buffer, 0, 1000);
    buffer.flush();
    assert!(log.close(Duration::ZERO));
    assert_eq!(log.dropped(), 0);
}

#[test]
fn a_file_that_cannot_be_opened_is_named() {
    let error = AccessLog::open(Target::File("/nonexistent/access.log".into()), Format::Json).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
    assert!(error.to_string().starts_with("/nonexistent/access.log: "), "{error}");
}
