//! What the chart's roles grant: without any one verb something does not work, which is told with the way out, and what
//! does not need it goes on.

use std::io::Write;
use std::process::Output;

use serde_json::{Value, json};
use tempfile::NamedTempFile;

use crate::controller::{CHART, helm, succeed, values};
use crate::kubernetes::until;
use crate::namespace::Namespace;
use crate::objects::{echo, ingress, tls_ingress};
use crate::serving::{HOST, self_signed};
use crate::support::client::get;
use crate::support::headgate::{Process, bound};
use crate::support::objects::{policy, tls_secret, with_annotation};

/// As `cluster.sh` calls it.
const NODE: &str = "node-1";

/// One verb on one resource.
#[derive(Clone, Debug, PartialEq)]
struct Grant {
    group: String,
    resource: String,
    names: Value,
    verb: String,
}

/// A role of the chart, as kubectl names it.
struct Role {
    name: String,
    grants: Vec<Grant>,
}

#[test]
fn without_any_one_verb_of_its_roles_it_says_what_to_grant_and_goes_on() {
    let namespace = Namespace::alone();
    let outside = Outside::install(&namespace);
    let roles = [format!("clusterrole/{}-headgate", namespace.name), "role/headgate".to_owned()];
    let [cluster, own] = roles.map(|name| Role::read(&namespace, name));
    for role in [&own, &cluster] {
        for grant in &role.grants {
            role.revoke(&namespace, grant);
            outside.shows(&namespace, role, grant);
        }
    }
}

impl Role {
    fn read(namespace: &Namespace, name: String) -> Role {
        let rules = namespace.object(&[&name])["rules"].clone();
        let grants = rules.as_array().unwrap().iter().flat_map(|rule| {
            let names = rule.get("resourceNames").cloned().unwrap_or(json!([]));
            let grant = move |resource: &Value, verb: &Value| Grant {
                group: text(&rule["apiGroups"][0]),
                resource: text(resource),
                names: names.clone(),
                verb: text(verb),
            };
            let resources = rule["resources"].as_array().unwrap();
            resources.iter().flat_map(move |resource| {
                let grant = grant.clone();
                rule["verbs"].as_array().unwrap().iter().map(move |verb| grant(resource, verb))
            })
        });
        Role { name, grants: grants.collect() }
    }

    /// Takes one away, and waits until that counts.
    fn revoke(&self, namespace: &Namespace, grant: &Grant) {
        self.write(namespace, self.grants.iter().filter(|other| *other != grant));
        let account = format!("--as=system:serviceaccount:{}:headgate", namespace.name);
        let (resource, part) = grant.resource.split_once('/').unwrap_or((&grant.resource, ""));
        let name = grant.names[0].as_str().map(|name| format!("/{name}")).unwrap_or_default();
        let (what, part) = (format!("{resource}.{}{name}", grant.group), format!("--subresource={part}"));
        let question = ["--namespace", &namespace.name, "auth", "can-i", &grant.verb, &what, &part, &account];
        let is_no = |answer: Output| answer.stdout.trim_ascii_end() == b"no";
        until(&format!("the end of {grant:?}"), || is_no(namespace.cluster.run(&question, &[])).then_some(()));
    }

    fn restore(&self, namespace: &Namespace) {
        self.write(namespace, self.grants.iter());
    }

    fn write<'a>(&self, namespace: &Namespace, grants: impl Iterator<Item = &'a Grant>) {
        let rule = |Grant { group, resource, names, verb }: &Grant| json!({ "apiGroups": [group], "resources": [resource], "resourceNames": names, "verbs": [verb] });
        let patch = json!({ "rules": grants.map(rule).collect::<Vec<_>>() }).to_string();
        namespace.kubectl(&["patch", &self.name, "--type=merge", "--patch", &patch]);
    }
}

impl Grant {
    /// As messages name it, and `kubectl create role` takes it.
    fn full(&self) -> String {
        let (resource, part) = self.resource.split_once('/').unwrap_or((&self.resource, ""));
        let group = if self.group.is_empty() { String::new() } else { format!(".{}", self.group) };
        let part = if part.is_empty() { String::new() } else { format!("/{part}") };
        format!("{resource}{group}{part}")
    }
}

/// A controller with the account and the flags of the chart's pods, but in a process of the test.
struct Outside {
    flags: Vec<String>,
    /// The pod that it takes itself for: one of the shop's.
    pod: String,
    kubeconfig: NamedTempFile,
}

impl Outside {
    /// With a shop to serve, and an Ingress that cannot be served.
    fn install(namespace: &Namespace) -> Outside {
        let mut values = values(namespace);
        values["rbac"]["scope"] = false.into();
        values["controller"]["scope"]["namespaceSelector"] =
            format!("kubernetes.io/metadata.name={}", namespace.name).into();
        values["controller"]["enableTopologyAwareRouting"] = true.into();
        values["controller"]["publishService"] = json!({ "enabled": false });
        values["controller"]["reportNodeInternalIp"] = true.into();
        values["controller"]["electionTTL"] = "3s".into();
        values["controller"]["replicaCount"] = 0.into();
        succeed(&helm(namespace, &["install", "headgate", CHART, "--wait", "--timeout=90s"], Some(&values)));
        let shop = tls_ingress(&namespace.name, HOST, "shop");
        let shop = with_annotation(shop, "nginx.ingress.kubernetes.io/ssl-redirect", "false");
        namespace.apply(&echo("shop", 1));
        namespace.apply(&[tls_secret("shop", &self_signed()), shop, ingress(&namespace.name, "no.example", "nowhere")]);
        namespace.apply(&[policy("shop", "Service", "shop", json!({ "retry": { "attempts": 1 } }))]);
        namespace.rolled_out("shop");
        let arguments =
            namespace.object(&["deployment", "headgate"])["spec"]["template"]["spec"]["containers"][0]["args"].clone();
        let is_port =
            |flag: &String| ["--http-port", "--https-port", "--healthz-port"].iter().any(|port| flag.starts_with(port));
        let flags = arguments.as_array().unwrap().iter().map(text).filter(|flag| !is_port(flag)).collect();
        let pod =
            namespace.kubectl(&["get", "pods", "--selector=app=shop", "--output=jsonpath={.items[0].metadata.name}"]);
        Outside { flags, pod, kubeconfig: Self::account(namespace) }
    }

    fn account(namespace: &Namespace) -> NamedTempFile {
        let config = namespace.kubectl(&["config", "view", "--raw", "--minify", "--flatten", "--output=json"]);
        let mut config: Value = serde_json::from_str(&config).unwrap();
        config["users"][0]["user"] = json!({ "token": namespace.kubectl(&["create", "token", "headgate"]).trim_end() });
        let mut file = NamedTempFile::new().unwrap();
        file.write_all(config.to_string().as_bytes()).unwrap();
        file
    }

    fn start(&self, namespace: &Namespace) -> Process {
        let mut flags = self.flags.clone();
        flags.extend(
            ["--http-port=0", "--https-port=0", "--healthz-port=0", "--bind-address=127.0.0.1"].map(str::to_owned),
        );
        flags.push(format!("--kubeconfig={}", self.kubeconfig.path().display()));
        Process::start_in(&[("POD_NAME", &*self.pod), ("POD_NAMESPACE", &namespace.name), ("NODE_NAME", NODE)], &flags)
    }

    /// What lacks one of them says so, does the rest, and all of it when it is given back.
    fn shows(&self, namespace: &Namespace, role: &Role, grant: &Grant) {
        needs(namespace, grant);
        let mut process = self.start(namespace);
        let way_out = process.wait_for_line(&format!("on {}", grant.full()));
        let is_read = ["list", "watch"].contains(&&*grant.verb);
        let lacking = if is_read { format!("this account {}", grant.verb) } else { grant.verb.clone() };
        assert!(way_out.contains("grant it") && way_out.contains(&lacking), "{way_out}");
        // Nothing is served by half of what counts.
        let is_waited_for = grant.verb == "list" && grant.resource != "pods";
        if !is_waited_for {
            assert_eq!(served(&mut process), 200, "without {grant:?}");
        }
        let admin = bound(&process.wait_for_line("opened once"), "admin").unwrap();
        if is_waited_for {
            // But for how its plural is made.
            let is_it = |kind: &str| grant.resource.starts_with(&kind.to_lowercase()[..kind.len() - 1]);
            until(&format!("{grant:?} as what is waited for"), || {
                let text = get(admin, "admin", "/readyz").text();
                let (_, kinds) = text.rsplit_once("listed yet: ")?;
                is_it(kinds.split_once(')')?.0).then_some(())
            });
        }
        let told = || get(admin, "admin", "/debug/problems").text().contains("grant it");
        until(&format!("the lack of {grant:?} among the problems"), || told().then_some(()));
        role.restore(namespace);
        assert_eq!(served(&mut process), 200, "with {grant:?} again");
        changes(namespace, grant);
        until(&format!("the use of {grant:?}"), || (!told()).then_some(()));
        // For those that come after it.
        until("an event", || namespace.kubectl(&["events", "--for=ingress/nowhere"]).contains("Warning").then_some(()));
    }
}

/// What a shop's customer gets.
fn served(process: &mut Process) -> u16 {
    let http = bound(&process.wait_for_line("listening"), "http").unwrap();
    get(http, HOST, "/").status
}

/// Makes something for which the grant is needed.
fn needs(namespace: &Namespace, grant: &Grant) {
    match (grant.resource.as_str(), grant.verb.as_str()) {
        ("ingresses/status", "patch") => namespace.apply(&[ingress(&namespace.name, "late.example", "late")]),
        ("proxypolicies/status", "patch") => {
            namespace.apply(&[policy("late", "Service", "shop", json!({ "retry": { "attempts": 2 } }))]);
        }
        ("leases", "create") => drop(namespace.kubectl(&["delete", "leases", "--all"])),
        (_, "list" | "watch") | ("events", "create" | "patch") | ("leases", "get" | "patch") => {}
        _ => panic!("what is {grant:?} needed for?"),
    }
}

/// Changes something that is seen only with the grant.
fn changes(namespace: &Namespace, grant: &Grant) {
    if grant.verb == "watch" {
        let name = match grant.resource.as_str() {
            "namespaces" | "ingressclasses" => &namespace.name,
            "configmaps" => "headgate",
            "endpointslices" => "--all",
            "nodes" => NODE,
            _ => "shop",
        };
        namespace.kubectl(&["annotate", "--overwrite", &grant.full(), name, &format!("seen={}", namespace.name)]);
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}
