//! Every key of a `config.toml`: which tests show its effect, and what is said of a bad value.

use std::collections::BTreeSet;
use std::process::Command;

use crate::support::folder::Folder;

struct Key {
    /// With its table.
    name: &'static str,
    /// Tests of this binary.
    effect: &'static [&'static str],
    bad: &'static str,
    /// What is said of `bad`, which ends with what is allowed.
    told: &'static str,
}

const fn key(name: &'static str, effect: &'static [&'static str], bad: &'static str, told: &'static str) -> Key {
    Key { name, effect, bad, told }
}

/// By table.
const KEYS: &[Key] = &[
    key(
        "[server] bind_addr",
        &["plain_settings::the_port_of_the_file_is_listened_on_unless_a_flag_names_another"],
        r#""localhost:80""#,
        r#""localhost:80" is not allowed; write an IP address and a port, as "0.0.0.0:8080" or "[::]:8080""#,
    ),
    key(
        "[server] worker_threads",
        &["plain_settings::a_flag_wins_over_the_environment_that_over_the_file_and_that_over_the_default"],
        "0",
        "0 is out of range; write a whole number from 1 to 1024",
    ),
    key(
        "[server] max_connections",
        &["plain::more_connections_than_the_process_may_hold_are_closed"],
        "0",
        "0 is out of range; write a whole number from 1 to 4294967295",
    ),
    key(
        "[server] request_timeout",
        &[
            "plain::a_request_may_take_the_request_timeout",
            "plain::the_request_timeout_is_30_seconds_unless_something_is_said",
        ],
        "1.5",
        "1.5 is not allowed; write a whole number from 1 to 86400",
    ),
    key(
        "[server] connect_tunnel",
        &["plain::connect_opens_a_tunnel_to_a_backend_only_if_that_is_on"],
        r#""yes""#,
        r#""yes" is not allowed; write true or false"#,
    ),
    key(
        "[[backends]] name",
        &["plain::logs_name_the_backend_and_metrics_have_no_labels", "plain::backends_are_shown_by_name"],
        r#""""#,
        r#""" is not allowed; write a name of its own, of up to 253 characters"#,
    ),
    key(
        "[[backends]] addr",
        &[
            "plain::every_host_and_path_goes_to_the_backends_by_their_weights",
            "plain::host_names_are_resolved_and_one_that_is_nowhere_leaves_the_rest",
            "plain_names::a_name_that_never_resolved_is_503_and_told_until_it_does",
        ],
        r#""app""#,
        r#""app" is not allowed; write an address or a host name, and a port, as "10.0.0.7:3000", "[::1]:3000" or "app.internal:3000""#,
    ),
    key(
        "[[backends]] weight",
        &["plain::every_host_and_path_goes_to_the_backends_by_their_weights"],
        "1001",
        "1001 is out of range; write a whole number from 0 to 1000",
    ),
    key(
        "[[backends]] max_connections",
        &["plain::a_full_backend_gives_way_to_the_next_and_all_full_is_503"],
        "0",
        "0 is out of range; write a whole number from 1 to 1000000",
    ),
    key(
        "[load_balancer] type",
        &[
            "plain::every_host_and_path_goes_to_the_backends_by_their_weights",
            "plain::least_connections_passes_over_the_one_that_is_busy",
            "plain::ip_hash_keeps_a_client_at_its_backend",
        ],
        r#""random""#,
        r#""random" is not allowed; write "round_robin", "least_connections" or "ip_hash""#,
    ),
    key(
        "[health_check] path",
        &["plain_health::a_backend_that_fails_its_checks_is_out_until_it_passes_them_and_is_asked_by_its_address"],
        r#""health""#,
        r#""health" is not allowed; write a path that begins with / and has other characters as %XX"#,
    ),
    key(
        "[health_check] interval",
        &["plain_health::a_check_comes_each_interval_and_may_take_the_timeout"],
        "0",
        "0 is out of range; write a whole number from 1 to 86400",
    ),
    key(
        "[health_check] timeout",
        &["plain_health::a_check_comes_each_interval_and_may_take_the_timeout"],
        r#""3s""#,
        r#""3s" is not allowed; write a whole number from 1 to 86400"#,
    ),
    key(
        "[health_check] unhealthy_threshold",
        &["plain_health::thresholds_count_checks_in_a_row"],
        "101",
        "101 is out of range; write a whole number from 1 to 100",
    ),
    key(
        "[health_check] healthy_threshold",
        &["plain_health::thresholds_count_checks_in_a_row"],
        "0",
        "0 is out of range; write a whole number from 1 to 100",
    ),
    key(
        "[rate_limit] requests_per_second",
        &["plain::a_client_has_its_burst_and_then_its_rate"],
        "0",
        "0 is out of range; write a whole number from 1 to 1000000",
    ),
    key(
        "[rate_limit] burst_size",
        &[
            "plain::a_client_has_its_burst_and_then_its_rate",
            "plain::the_burst_is_the_rate_if_it_is_not_given_and_may_be_less",
        ],
        "-1",
        "-1 is out of range; write a whole number from 1 to 1000000",
    ),
    key(
        "[access] allow",
        &["plain::access_lists_are_about_the_client_and_deny_wins"],
        r#""10.0.0.1""#,
        r#""10.0.0.1" is not allowed; write a list of networks, as ["10.0.0.0/8", "2001:db8::1"]"#,
    ),
    key(
        "[access] deny",
        &["plain::access_lists_are_about_the_client_and_deny_wins"],
        r#"["10.0.0.0/33"]"#,
        r#""10.0.0.0/33" is not allowed; write a list of networks, as ["10.0.0.0/8", "2001:db8::1"]"#,
    ),
    key(
        "[tls] cert_path",
        &[
            "plain::with_tls_the_one_port_speaks_nothing_else",
            "plain_reload::a_new_certificate_is_shown_from_the_next_handshake_on",
        ],
        r#""none.pem""#,
        r#""none.pem" cannot be read: No such file or directory (os error 2); write the path of a PEM file, from the folder of this one"#,
    ),
    key(
        "[tls] key_path",
        &[
            "plain::with_tls_the_one_port_speaks_nothing_else",
            "plain_reload::a_new_certificate_is_shown_from_the_next_handshake_on",
        ],
        "7",
        "7 is not allowed; write the path of a PEM file, from the folder of this one",
    ),
];

/// What `check` says of a file with this text, without the file's name, which each line has.
#[track_caller]
fn findings(text: &str) -> Vec<String> {
    let folder = Folder::new();
    folder.write_text("config.toml", text);
    let file = folder.objects().join("config.toml");
    let output = Command::new(env!("CARGO_BIN_EXE_headgate")).arg("check").arg(&file).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let told = String::from_utf8(output.stdout).unwrap();
    let mut lines: Vec<_> = told.lines().collect();
    lines.pop();
    let file = format!("{}:", file.display());
    lines.into_iter().map(|line| line.strip_prefix(&file).unwrap().to_owned()).collect()
}

/// What it says is allowed where something unknown stands.
fn allowed(finding: &str) -> impl Iterator<Item = &str> {
    finding.split_once("; allowed are ").into_iter().flat_map(|(_, allowed)| allowed.split(", "))
}

#[test]
fn each_key_that_may_be_there_has_its_tests() {
    let tables = findings("unknown = 1");
    let text: String = allowed(&tables[0]).map(|table| format!("{table}\nunknown = 1\n")).collect();
    let of_tables = findings(&text);
    let keys = of_tables.iter().flat_map(|finding| {
        let table = finding.split_once(" unknown: ").map_or("", |(table, _)| table.split_once(": ").unwrap().1);
        allowed(finding).map(move |key| format!("{table} {key}"))
    });
    let keys: BTreeSet<_> = keys.collect();
    assert_eq!(keys, KEYS.iter().map(|key| key.name.to_owned()).collect());

    let list = Command::new(std::env::current_exe().unwrap()).arg("--list").output().unwrap();
    let list = String::from_utf8(list.stdout).unwrap();
    let tests: BTreeSet<_> = list.lines().filter_map(|line| line.strip_suffix(": test")).collect();
    for Key { name, effect, .. } in KEYS {
        assert!(!effect.is_empty() && effect.iter().all(|test| tests.contains(test)), "{name}: {effect:?}");
    }
}

#[test]
fn a_bad_value_of_each_key_is_told_with_its_file_and_line_and_what_is_allowed() {
    let (mut text, mut expected, mut last) = (String::new(), Vec::new(), "");
    for Key { name, bad, told, .. } in KEYS {
        let (table, key) = name.split_once(' ').unwrap();
        if table != std::mem::replace(&mut last, table) {
            text += &format!("{table}\n");
        }
        text += &format!("{key} = {bad}\n");
        expected.push(format!("{}: {name}: {told}", text.lines().count()));
    }
    assert_eq!(findings(&text), expected);
}
