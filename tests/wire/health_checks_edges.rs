//! Active health checks at their edges: just in time and just too late, and as many in a row as it takes.

use std::time::Duration;

use serde_json::json;

use crate::support::checks::{Moody, shown, site, until_unhealthy};
use crate::support::{Backend, Headgate};

/// Answers checks after this time.
fn late(milliseconds: u64) -> Backend {
    Backend::scripted(move |exchange| {
        std::thread::sleep(Duration::from_millis(milliseconds));
        exchange.reply("200 OK", "")
    })
}

#[test]
fn an_answer_has_to_come_within_the_timeout() {
    let (in_time, too_late) = (late(1000), late(3000));
    let check = json!({ "interval": "3s", "timeout": "2s" });
    let proxy = Headgate::serve(&site(&[in_time.address, too_late.address], check));
    until_unhealthy(&proxy, too_late.address, true);
    assert_eq!(shown(proxy.admin, too_late.address)["failed_check"], "no answer within 2s");
    in_time.wait_for(2);
    let shown = shown(proxy.admin, in_time.address);
    assert_eq!((&shown["unhealthy"], &shown["failed_check"]), (&json!(false), &json!(null)));
}

#[test]
fn without_thresholds_three_failures_and_two_successes_count() {
    let moody = Moody::new("--+---+-++");
    let check = json!({ "interval": "1s", "timeout": "1s", "healthyThreshold": null, "unhealthyThreshold": null });
    let _proxy = moody.checked(check);
    assert_eq!(moody.held(11), "++++++----+");
}
