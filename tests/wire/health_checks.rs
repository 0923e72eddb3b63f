//! Active health checks: what is asked, what counts as healthy, and what follows.

use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::checks::{HOST, Moody, SERVICE, shown, site, until_unhealthy};
use crate::support::h2_backend::H2Backend;
use crate::support::ports::{ClosedPort, listener};
use crate::support::wait::{PATIENCE, stays, until};
use crate::support::{Backend, Headgate, TestAuthority, TestCertificate, Then, get, objects};

/// Answers checks with this status, and requests with its name.
fn with_status(status: &'static str) -> Backend {
    Backend::scripted(move |exchange| match exchange.seen.target() {
        "/_health" => exchange.reply(status, ""),
        _ => exchange.reply("200 OK", status),
    })
}

fn metric(proxy: &Headgate, address: SocketAddr) -> f64 {
    let address = address.to_string();
    let labels = [SERVICE.as_slice(), &[("endpoint", &address)]].concat();
    proxy.metrics().value("proxy_endpoint_healthy", &labels)
}

#[test]
fn an_endpoint_is_out_after_exactly_as_many_failures_in_a_row_and_back_after_as_many_successes() {
    let moody = Moody::new("-+--+-++");
    let check = json!({ "interval": "2s", "timeout": "2s", "unhealthyThreshold": 2, "healthyThreshold": 2 });
    let proxy = moody.checked(check);
    assert_eq!(moody.held(9), "++++----+");
    let told = |text: &str| {
        let line = |line: &&str| {
            line.contains(text) && line.contains("default-a-80") && line.contains(&moody.backend.address.to_string())
        };
        proxy.stderr().lines().filter(line).count()
    };
    assert_eq!((told("unhealthy: "), told("healthy again: ")), (1, 1), "{}", proxy.stderr());
}

#[test]
fn whatever_is_no_expected_answer_in_time_is_a_failure() {
    let good = ["200 OK", "204 No Content", "299 Fine"].map(with_status);
    let elsewhere = good[0].address;
    let hanging = Backend::scripted(|exchange| exchange.until_abandoned());
    let bad = ["199 Low", "300 High", "404 Not Found", "503 Service Unavailable"].map(with_status);
    let redirecting = Backend::scripted(move |exchange| {
        exchange
            .send(format!("HTTP/1.1 302 Found\r\nLocation: http://{elsewhere}/_health\r\nContent-Length: 0\r\n\r\n"))?;
        Ok(Then::KeepAlive)
    });
    let nonsense = Backend::sending("SSH-2.0-OpenSSH_9.9\r\n\r\n");
    let endless = Backend::scripted(|exchange| {
        exchange.send("HTTP/1.1 200 OK\r\n")?;
        while exchange.send(format!("X-More: {}\r\n", "x".repeat(1000))).is_ok() {}
        Ok(Then::Close)
    });
    let truncated = Backend::sending("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nten bytes.");
    let cut = Backend::scripted(|exchange| {
        exchange.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nten bytes.")?;
        Ok(Then::Close)
    });
    let cut_chunk = Backend::scripted(|exchange| {
        exchange.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\na\r\nten bytes.\r\n")?;
        Ok(Then::Close)
    });
    let resetting = Backend::scripted(|_| Ok(Then::Reset));
    let silent = listener();
    let closed = ClosedPort::new();
    let reasons = [
        (bad[1].address, "status 300"),
        (bad[2].address, "status 404"),
        (bad[3].address, "status 503"),
        (redirecting.address, "status 302"),
        (hanging.address, "no answer within 2s"),
        (silent.local_addr().unwrap(), "no answer within 2s"),
        (truncated.address, "no answer within 2s"),
        (cut.address, "body"),
        (cut_chunk.address, "body"),
        (closed.address, "refused"),
        (nonsense.address, "invalid HTTP"),
        (endless.address, ""),
        (resetting.address, ""),
        (bad[0].address, ""),
    ];
    let well = good.each_ref().map(|backend| backend.address);
    let all = [&well[..], &reasons.map(|(address, _)| address)].concat();
    let proxy = Headgate::serve(&site(&all, json!({ "interval": "2s", "timeout": "2s" })));
    for (address, reason) in reasons {
        until_unhealthy(&proxy, address, true);
        let told = shown(proxy.admin, address)["failed_check"].as_str().unwrap_or_default().to_owned();
        assert!(told.contains(reason) && !told.is_empty(), "{address}: {told:?} in place of {reason:?}");
    }
    until("the metric", || (proxy.metrics().value("proxy_endpoint_healthy", &SERVICE) == 3.0).then_some(()));
    for address in well {
        assert_eq!(shown(proxy.admin, address)["failed_check"], json!(null));
        assert_eq!(metric(&proxy, address), 1.0);
    }
    let answers: Vec<_> = (0..30).map(|_| get(proxy.http, HOST, "/").text()).collect();
    for name in ["200 OK", "204 No Content", "299 Fine"] {
        assert_eq!(answers.iter().filter(|answer| *answer == name).count(), 10, "{answers:?}");
    }
    assert_eq!(proxy.metrics().value("proxy_retries_total", &[]), 0.0);
}

#[test]
fn the_policy_says_which_statuses_are_expected() {
    let backends = ["200 OK", "301 Moved Permanently", "404 Not Found", "405 No", "403 No"].map(with_status);
    let addresses = backends.each_ref().map(|backend| backend.address);
    let proxy = Headgate::serve(&site(&addresses, json!({ "expectedStatuses": ["301", "404-405"] })));
    for (address, unhealthy) in addresses.into_iter().zip([true, false, false, false, true]) {
        until("its check", || backends.iter().all(|backend| backend.seen().len() > 1).then_some(()));
        until_unhealthy(&proxy, address, unhealthy);
    }
}

#[test]
fn the_whole_request_is_what_the_policy_says() {
    let backends = [with_status("200 OK"), with_status("200 OK")];
    let port = with_status("200 OK");
    let objects = site(&[backends[0].address], json!({}));
    let proxy = Headgate::serve(&objects);
    let asked = backends[0].request_to("/_health");
    assert_eq!(
        asked.head,
        "GET /_health HTTP/1.1\r\nuser-agent: headgate-health\r\nhost: a.default\r\nconnection: close\r\n\r\n"
    );
    let check = json!({ "path": "/well?deep=1", "host": "own.example:81", "port": port.address.port() });
    proxy.change(&site(&[backends[1].address], check));
    let asked = port.request_to("/well?deep=1");
    assert_eq!(asked.header("host").as_deref(), Some("own.example:81"));
    assert!(backends[1].seen().is_empty());
    until_unhealthy(&proxy, backends[1].address, false);
}

#[test]
fn where_all_fail_it_is_503_and_the_first_that_recovers_is_used() {
    let moody = Moody::new("----------+");
    let proxy = moody.checked(json!({}));
    until_unhealthy(&proxy, moody.backend.address, true);
    assert_eq!(get(proxy.http, HOST, "/all-fail").status, 503);
    let line = proxy.log_of("/all-fail");
    assert_eq!((&line["flag"], &line["endpoint"]), (&json!("UH"), &json!("")));
    let told = get(proxy.admin, "admin", &format!("/debug/explain?url=http://{HOST}/")).json();
    let endpoint = &told["backends"][0]["endpoints"][0];
    assert_eq!((&endpoint["state"], &endpoint["failed_check"]), (&json!("unhealthy"), &json!("status 503")));
    assert_eq!(told["answer"]["status"], 503);
    until("the metric", || (metric(&proxy, moody.backend.address) == 0.0).then_some(()));
    until("recovery", || (get(proxy.http, HOST, "/").status == 200).then_some(()));
    until("the metric", || (metric(&proxy, moody.backend.address) == 1.0).then_some(()));
}

#[test]
fn endpoints_are_asked_in_the_protocol_that_they_speak() {
    let h2c = H2Backend::answering("well");
    let proxy = Headgate::serve(&with_protocol(h2c.address, "H2C"));
    let asked = until("a check over http/2", || h2c.seen().into_iter().next());
    assert_eq!((&*asked.method, &*asked.uri), ("GET", "http://a.default/_health"));
    until("a second one", || (h2c.seen().len() >= 2).then_some(()));
    until("one that passed", || shown(proxy.admin, h2c.address)["failed_check"].is_null().then_some(()));
    assert!(h2c.seen().iter().enumerate().all(|(number, seen)| seen.connection == number), "{:?}", h2c.seen());

    let tls = Backend::tls(TestCertificate::for_names(&["other.example"]), |exchange| exchange.reply("200 OK", ""));
    let proxy = Headgate::serve(&with_protocol(tls.address, "HTTPS"));
    tls.wait_for(2);
    until("one that passed", || shown(proxy.admin, tls.address)["failed_check"].is_null().then_some(()));

    let plain = Backend::answering("plain");
    let proxy = Headgate::serve(&with_protocol(plain.address, "HTTPS"));
    until_unhealthy(&proxy, plain.address, true);
    assert_eq!(get(proxy.http, HOST, "/").status, 503);
}

/// That of TLS lists all names of the certificate.
#[test]
fn the_reason_of_a_failure_is_cut() {
    let authority = TestAuthority::named("ours");
    let names: Vec<_> = (0..50).map(|number| format!("number-{number}.example")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let backend = Backend::tls(authority.sign(&names), |exchange| exchange.reply("200 OK", ""));
    let mut site = with_protocol(backend.address, "HTTPS");
    site.last_mut().unwrap()["spec"]["backendTLS"] = json!({ "caSecret": { "name": "ca" } });
    site.push(objects::authority_secret("ca", &authority));
    let proxy = Headgate::serve(&site);
    until_unhealthy(&proxy, backend.address, true);
    let told = shown(proxy.admin, backend.address)["failed_check"].as_str().unwrap().to_owned();
    assert!(told.contains("not valid for name") && told.chars().count() == 300, "{told}");
}

fn with_protocol(address: SocketAddr, protocol: &str) -> crate::support::Objects {
    let mut objects = site(&[address], json!({}));
    objects.last_mut().unwrap()["spec"]["protocol"] = protocol.into();
    objects
}

#[test]
fn one_checker_asks_however_many_workers_there_are() {
    let (came, checks) = mpsc::channel();
    let backend = Backend::scripted(move |exchange| {
        if exchange.seen.target() == "/_health" {
            came.send(Instant::now()).unwrap();
        }
        exchange.reply("200 OK", "")
    });
    let proxy = Headgate::with(&site(&[backend.address], json!({}))).flag("--workers", "4").start();
    let times: Vec<_> = (0..6).map(|_| checks.recv_timeout(PATIENCE).unwrap()).collect();
    // Five intervals, each at most a tenth shorter than it says; with four checkers it would be a quarter of that.
    assert!(times[5] - times[0] > Duration::from_millis(4 * 500), "{times:?}");
    until("a request", || (get(proxy.http, HOST, "/").status == 200).then_some(()));
}

/// Of one that is left, none may be ejected.
#[test]
fn an_ejected_endpoint_is_used_again_when_checks_take_the_others() {
    let [ill, unchecked] = [(), ()].map(|()| Arc::<AtomicBool>::default());
    let (broken, failing) = (ill.clone(), unchecked.clone());
    let ejected =
        Backend::scripted(move |exchange| match broken.load(SeqCst) && exchange.seen.target() != "/_health" {
            true => exchange.reply("500 Internal Server Error", ""),
            false => exchange.reply("200 OK", "ejected"),
        });
    let unhealthy = Backend::scripted(move |exchange| match failing.load(SeqCst) {
        true => exchange.reply("500 Internal Server Error", ""),
        false => exchange.reply("200 OK", "unhealthy"),
    });
    let mut objects = site(&[ejected.address, unhealthy.address], json!({}));
    objects.last_mut().unwrap()["spec"]["outlier"] = json!({ "consecutiveErrors": 1, "ejectionTime": "1h" });
    let proxy = Headgate::serve(&objects);
    ill.store(true, SeqCst);
    until("the ejection", || (get(proxy.http, HOST, "/").status == 500).then_some(()));
    ill.store(false, SeqCst);
    until("the other", || (get(proxy.http, HOST, "/").text() == "unhealthy").then_some(()));
    unchecked.store(true, SeqCst);
    until_unhealthy(&proxy, unhealthy.address, true);
    until("requests", || (get(proxy.http, HOST, "/").text() == "ejected").then_some(()));
}

#[test]
fn checks_are_spread_and_bounded_and_an_endpoint_has_one_at_most() {
    let hanging = TcpListener::bind("0.0.0.0:0").unwrap();
    let port = hanging.local_addr().unwrap().port();
    let addresses: Vec<_> = (1..=200).map(|last| SocketAddr::from(([127, 0, 1, last], port))).collect();
    let _proxy = Headgate::serve(&site(&addresses, json!({ "interval": "10s", "timeout": "10s" })));
    let mut asked = vec![hanging.accept().unwrap().0];
    let first = Instant::now();
    asked.extend((1..128).map(|_| hanging.accept().unwrap().0));
    assert!(first.elapsed() > Duration::from_secs(1), "of 5 s, after {:?}", first.elapsed());
    let mut to: Vec<_> = asked.iter().map(|stream| stream.local_addr().unwrap()).collect();
    to.sort();
    to.dedup();
    assert_eq!(to.len(), 128);
    hanging.set_nonblocking(true).unwrap();
    stays("the bound", Duration::from_millis(500), || hanging.accept().is_err());
    drop(asked);
    until("the others", || hanging.accept().ok());
}

#[test]
fn checks_that_wait_for_longer_than_their_interval_are_told_once() {
    let hanging = TcpListener::bind("0.0.0.0:0").unwrap();
    let port = hanging.local_addr().unwrap().port();
    // Four times as many as may be asked within an interval.
    let addresses: Vec<_> = (0..512)
        .map(|at: u16| {
            let [high, low] = at.to_be_bytes();
            SocketAddr::from(([127, 0, 1 + high, low], port))
        })
        .collect();
    let proxy = Headgate::serve(&site(&addresses, json!({ "interval": "500ms", "timeout": "500ms" })));
    let told = || proxy.stderr().lines().filter(|line| line.contains("health checks come late")).count();
    until("the line", || (told() > 0).then_some(()));
    stays("one line", Duration::from_secs(1), || told() == 1);
}

#[test]
fn what_the_process_itself_lacks_speaks_against_nobody() {
    let backend = with_status("200 OK");
    let objects = site(&[backend.address], json!({ "interval": "2s", "timeout": "2s" }));
    let proxy = Headgate::with(&objects).flag("--log-level", "info,headgate::health=debug").start();
    backend.wait_for(1);
    proxy.limit_descriptors(Some(0));
    let attempts = || proxy.stderr().lines().filter(|line| line.contains("could not be checked")).count();
    until("checks without a descriptor", || (attempts() >= 2).then_some(()));
    proxy.limit_descriptors(None);
    backend.wait_for(backend.seen().len() + 1);
    assert!(!proxy.stderr().contains("unhealthy"), "{}", proxy.stderr());
}
