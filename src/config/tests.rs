use clap::{Command, CommandFactory, FromArgMatches, Parser};

use super::*;
use crate::snapshot::Reference;

#[derive(Parser)]
struct Typed {
    #[command(flatten)]
    args: Args,
}

fn command() -> Command {
    for_every_flag(Typed::command())
}

/// The flags as typed after the program's name, separated by spaces.
fn parse(flags: &str) -> Result<Args, clap::Error> {
    let matches = command().try_get_matches_from(std::iter::once("serve").chain(flags.split_whitespace()))?;
    Ok(Typed::from_arg_matches(&matches)?.args)
}

fn resolve(flags: &str) -> Config {
    let args = parse(flags).unwrap_or_else(|error| panic!("{flags}: {error}"));
    Config::resolve(args, None, 7).unwrap_or_else(|error| panic!("{flags}: {error}"))
}

fn usage_error(flags: &str) -> String {
    match parse(flags) {
        Err(error) => error.to_string(),
        Ok(args) => Config::resolve(args, None, 7).expect_err(flags).to_string(),
    }
}

#[test]
fn without_flags_but_dir_the_defaults_of_the_documents_hold() {
    let config = resolve("--dir x");
    assert_eq!(config.source, Source::Folder("x".into()));
    assert_eq!(config.bind_address.to_string(), "::");
    assert_eq!((config.http_port, config.https_port, config.healthz_port), (Some(8080), Some(8443), 10254));
    assert_eq!(config.workers, 7);
    assert_eq!(config.https_redirect_port, None);
    assert_eq!(config.server_header, "headgate");
    assert!(!config.debug_remote);
    assert_eq!(config.shutdown_grace_period, Duration::from_secs(5));
    assert_eq!(config.drain_timeout, Duration::from_secs(240));
    assert_eq!(config.access_log, access_log::Target::Stdout);
    assert_eq!(config.access_log_format, access_log::Format::Json);
    assert_eq!(config.log_filter, "info");
    assert_eq!(config.log_format, LogFormat::Text);
    assert_eq!(config.limits, Limits::default());
    assert_eq!(config.translate, Options::default());
}

#[test]
fn flags_reach_the_translation() {
    let config = resolve(
        "--dir x --ingress-class a --controller-class b --default-ssl-certificate n/c --default-backend-service n/s \
         --configmap n/m --annotations-prefix example.com/ --ssl-redirect=false --hsts=false --use-proxy-protocol \
         --trusted-proxies 10.0.0.0/8,::1 --enable-svc-external-name --request-timeout 5s --connect-tunnel",
    );
    let expected = Options {
        ingress_class: "a".into(),
        controller_class: "b".into(),
        external_name: true,
        annotations_prefix: "example.com".into(),
        default_certificate: Some(Reference::new("n", "c")),
        default_backend: Some(Reference::new("n", "s")),
        config_map: Some(Reference::new("n", "m")),
        ssl_redirect: Some(false),
        hsts: Some(false),
        trusted_proxies: Some(vec!["10.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()]),
        proxy_protocol: Some(true),
        request_timeout: Some(Duration::from_secs(5)),
        connect_tunnel: true,
        ..Options::default()
    };
    assert_eq!(config.translate, expected);
}

#[test]
fn a_boolean_takes_its_value_after_an_equals_sign_or_stands_alone() {
    assert_eq!(resolve("--dir x --hsts").translate.hsts, Some(true));
    assert_eq!(resolve("--dir x --hsts=0").translate.hsts, Some(false));
    assert_eq!(resolve("--hsts --dir x").source, Source::Folder("x".into()));
    assert!(resolve("--dir x --debug-remote").debug_remote);
    assert!(usage_error("--dir x --hsts=maybe").contains("--hsts"));
}

#[test]
fn the_last_of_a_repeated_flag_counts() {
    assert_eq!(resolve("--dir x --http-port 1 --http-port 2").http_port, Some(2));
    assert_eq!(resolve("--dir x --hsts=false --hsts").translate.hsts, Some(true));
}

#[test]
fn external_names_have_the_spelling_of_ingress_nginx_too() {
    assert!(resolve("--dir x --disable-svc-external-name=false").translate.external_name);
    assert!(!resolve("--dir x --disable-svc-external-name").translate.external_name);
    assert!(usage_error("--dir x --enable-svc-external-name --disable-svc-external-name").contains("cannot be used"));
}

#[test]
fn every_flag_can_be_given_in_the_environment() {
    for arg in command().get_arguments().filter(|arg| !["help", "version"].contains(&arg.get_id().as_str())) {
        let flag = arg.get_long().expect("every argument is a long flag");
        let variable = arg.get_env().unwrap_or_else(|| panic!("--{flag} has no variable")).to_string_lossy();
        assert_eq!(variable, format!("HEADGATE_{}", flag.to_uppercase().replace('-', "_")));
        assert_eq!(arg.get_short(), Some('v').filter(|_| flag == "v"), "--{flag}");
    }
}

#[test]
fn without_a_source_the_way_out_is_named() {
    assert!(usage_error("").contains("--dir"));
    assert!(usage_error("--config settings.toml").contains("[[backends]]"));
}

#[test]
fn a_plain_proxy_has_one_port_and_no_folder() {
    let plain = |flags: &str, port| Config::resolve(parse(flags).unwrap(), Some(port), 7);
    let http = plain("--config c.toml --http-port 1 --healthz-port 8443", PlainPort::Http).unwrap();
    assert_eq!((http.source, http.http_port, http.https_port), (Source::File("c.toml".into()), Some(1), None));
    let https = plain("--config c.toml --http-port 1 --https-port 1", PlainPort::Https).unwrap();
    assert_eq!((https.http_port, https.https_port), (None, Some(1)));
    let error = plain("--config c.toml --dir d", PlainPort::Http).unwrap_err().to_string();
    assert!(error.contains("--dir d") && error.contains("[[backends]] of c.toml"), "{error}");
    assert!(plain("--config c.toml --http-port 1 --healthz-port 1", PlainPort::Http).is_err());
}

#[test]
fn flags_about_objects_mean_nothing_for_a_plain_proxy() {
    let meaningless = |given: &[&str], plain| {
        let mut args = parse(if plain { "--config c.toml" } else { "--dir x" }).unwrap();
        args.origin.given = given.iter().map(|id| (*id).to_owned()).collect();
        Config::resolve(args, plain.then_some(PlainPort::Http), 7).unwrap().meaningless
    };
    let all = ["https_port", "ingress_class", "disable_svc_external_name", "https_redirect_port", "ssl_redirect"];
    let named =
        ["--ingress-class", "--disable-svc-external-name", "--https-port", "--ssl-redirect", "--https-redirect-port"];
    assert_eq!(meaningless(&all, true), named);
    assert_eq!(meaningless(&["http_port", "workers", "hsts", "trusted_proxies", "config"], true), [""; 0]);
    assert_eq!(meaningless(&all, false), [""; 0]);
}

#[test]
fn settings_of_the_process_may_stand_in_a_file_beside_a_folder() {
    assert_eq!(resolve("--dir x --config c.toml").source, Source::Folder("x".into()));
}

#[test]
fn two_listeners_on_one_port_are_refused_unless_it_is_any() {
    let error = usage_error("--dir x --http-port 9000 --healthz-port 9000");
    assert!(error.contains("--http-port and --healthz-port are both 9000"), "{error}");
    resolve("--dir x --http-port 0 --https-port 0 --healthz-port 0");
}

#[test]
fn a_wrong_value_is_told_with_its_flag_and_the_way_out() {
    for (flags, flag, way_out) in [
        ("--http-port 70000", "--http-port", "65535"),
        ("--workers 0", "--workers", "1 to 1024"),
        ("--memory-limit lots", "--memory-limit", "64Ki"),
        ("--drain-timeout 240", "--drain-timeout", "1h30m"),
        ("--drain-timeout=-5s", "--drain-timeout", "1h30m"),
        ("--request-timeout 0s", "--request-timeout", "raised"),
        ("--connect-tunnel=maybe", "--connect-tunnel", "true or false"),
        ("--header-timeout 0s", "--header-timeout", "raised"),
        ("--max-header-size 1Ki", "--max-header-size", "8Ki"),
        ("--max-header-fields 10001", "--max-header-fields", "1 to 10000"),
        ("--max-connections 0", "--max-connections", "1 or more"),
        ("--http2-max-header-list-size 8X", "--http2-max-header-list-size", "64Ki"),
        ("--trusted-proxies 10.0.0.0/40", "--trusted-proxies", "10.0.0.0/8"),
        ("--default-ssl-certificate cert", "--default-ssl-certificate", "namespace/name"),
        ("--bind-address localhost", "--bind-address", "127.0.0.1"),
        ("--access-log-format xml", "--access-log-format", "json"),
        ("--log-level verbose", "--log-level", "debug"),
        ("--https-redirect-port 0", "--https-redirect-port", "1 to 65535"),
        ("--ingress-class=", "--ingress-class", "default"),
        ("--unheard-of", "--unheard-of", "--help"),
    ] {
        let error = usage_error(&format!("--dir x {flags}"));
        assert!(error.contains(flag) && error.contains(way_out), "{flags}: {error}");
    }
}

#[test]
fn a_pod_is_reached_at_each_of_its_addresses_and_ports() {
    let endpoints =
        |addresses: &str, ports| own_endpoints(addresses, ports).iter().map(SocketAddr::to_string).collect();
    let texts = |texts: &[&str]| -> Vec<String> { texts.iter().map(|text| text.to_string()).collect() };
    let both: Vec<String> = endpoints("10.0.0.9,2001:db8::9", [Some(80), None, Some(10254)]);
    assert_eq!(both, texts(&["10.0.0.9:80", "10.0.0.9:10254", "[2001:db8::9]:80", "[2001:db8::9]:10254"]));
    assert_eq!(endpoints("", [Some(80), Some(443), Some(10254)]), texts(&[]));
}
