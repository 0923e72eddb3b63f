//! Flags of ingress-nginx that mean nothing here. They are taken, so that its manifests need no edit, and each that asks for
//! something is named at the start with what it does not do. `docs/ingress-nginx-flags.md` has all of its flags.

use clap::{Arg, ArgMatches, Command, FromArgMatches};

use super::values;

/// What was asked for in vain, one line each.
#[derive(Clone, Debug, Default)]
pub struct Foreign {
    pub warnings: Vec<String>,
}

#[derive(Clone, Copy)]
enum Takes {
    /// A boolean. With this value nothing is missed.
    Bool(bool),
    Value,
}

use Takes::{Bool, Value};

const NO_GEOIP: &str = "there is no GeoIP";
const NO_NGINX: &str = "there is no nginx beside this process";
const NO_PROFILES: &str = "no profiles are served";
const NO_WEBHOOK: &str =
    "no webhook is served; delete the ValidatingWebhookConfiguration, which would refuse Ingresses";
const NO_SIZES: &str = "sizes are in no histogram; proxy_request_bytes_total and proxy_response_bytes_total count them";
const NO_NATIVE: &str = "there are no native histograms";
const NO_HOSTS: &str = "metrics are by Ingress and Service, not by host";
const ONE_LOG: &str = "the application log goes to stderr; --log-level says what it holds";

const FLAGS: &[(&str, Takes, &str)] = &[
    ("alsologtostderr", Bool(true), ONE_LOG),
    ("bucket-factor", Value, NO_NATIVE),
    ("deep-inspect", Bool(true), "objects are always checked, and become no configuration text"),
    ("default-server-port", Value, NO_NGINX),
    ("disable-full-test", Bool(true), NO_WEBHOOK),
    ("disable-sync-events", Bool(true), "there are no Sync events"),
    ("dynamic-configuration-retries", Value, NO_NGINX),
    ("enable-annotation-validation", Bool(true), "annotations are always checked"),
    ("enable-metrics", Bool(true), "metrics are always there, on --healthz-port"),
    (
        "enable-ssl-chain-completion",
        Bool(false),
        "certificates are served as the Secret has them; put the whole chain there",
    ),
    ("enable-ssl-passthrough", Bool(false), "TLS is not passed through; Ingresses with that annotation answer 503"),
    ("health-check-timeout", Value, NO_NGINX),
    ("internal-logger-address", Value, NO_NGINX),
    ("length-buckets", Value, NO_SIZES),
    ("log_dir", Value, ONE_LOG),
    ("logtostderr", Bool(true), ONE_LOG),
    ("max-buckets", Value, NO_NATIVE),
    ("maxmind-edition-ids", Value, NO_GEOIP),
    ("maxmind-license-key", Value, NO_GEOIP),
    ("maxmind-mirror", Value, NO_GEOIP),
    ("maxmind-retries-count", Value, NO_GEOIP),
    ("maxmind-retries-timeout", Value, NO_GEOIP),
    ("metrics-per-host", Bool(false), NO_HOSTS),
    ("metrics-per-undefined-host", Bool(false), NO_HOSTS),
    ("monitor-max-batch-size", Value, NO_NGINX),
    ("post-shutdown-grace-period", Value, "the process ends once nothing is in flight; --drain-timeout bounds that"),
    ("profiler-address", Value, NO_PROFILES),
    ("profiler-port", Value, NO_PROFILES),
    ("profiling", Bool(false), NO_PROFILES),
    ("size-buckets", Value, NO_SIZES),
    ("ssl-passthrough-proxy-port", Value, NO_NGINX),
    ("status-port", Value, NO_NGINX),
    ("status-update-interval", Value, "status is written as soon as it differs, and looked at again each minute"),
    ("stderrthreshold", Value, ONE_LOG),
    ("stream-port", Value, NO_NGINX),
    ("sync-period", Value, "objects are watched, and changes applied as they come"),
    ("sync-rate-limit", Value, "objects are watched, and changes applied as they come"),
    ("tcp-services-configmap", Value, "TCP services are not served"),
    ("udp-services-configmap", Value, "UDP services are not served"),
    ("v", Value, ONE_LOG),
    ("validating-webhook", Value, NO_WEBHOOK),
    ("validating-webhook-certificate", Value, NO_WEBHOOK),
    ("validating-webhook-key", Value, NO_WEBHOOK),
];

impl clap::Args for Foreign {
    fn augment_args(command: Command) -> Command {
        command.args(FLAGS.iter().map(|(flag, takes, why)| {
            let arg =
                Arg::new(*flag).long(*flag).help(*why).help_heading("Without effect, for manifests of ingress-nginx");
            let arg = if *flag == "v" { arg.short('v') } else { arg };
            match takes {
                Bool(_) => arg.value_name(super::args::BOOLEAN).value_parser(values::boolean),
                Value => arg.value_name("VALUE").value_parser(|text: &str| Ok::<_, String>(text.to_owned())),
            }
        }))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Foreign {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let asks = |(flag, takes, _): &&(&str, Takes, &str)| match takes {
            Bool(held) => matches.get_one::<bool>(flag).is_some_and(|asked| asked != held),
            Value => matches.contains_id(flag),
        };
        let warning = |(flag, _, why): &(&str, Takes, &str)| format!("--{flag} has no effect: {why}");
        Ok(Foreign { warnings: FLAGS.iter().filter(asks).map(warning).collect() })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}
