//! What is rendered for which values.

use std::path::Path;

use serde_json::{Value, json};

use crate::kubernetes::complaints;
use crate::rendered::{Rendered, ci, helm, root, template, value_files};

#[test]
fn what_each_file_of_values_gives_is_known_to_kubernetes() {
    let files = value_files();
    assert_eq!(files.len(), 10 + 3, "{files:?}");
    for file in &files {
        let lint = helm(&["lint", "--strict", "charts/headgate", "--values", file.to_str().unwrap()]);
        assert!(lint.status.success(), "{}: {}", file.display(), String::from_utf8_lossy(&lint.stdout));
        let rendered = Rendered::of(file, &[]);
        let wrong: Vec<String> = rendered.iter().flat_map(complaints).collect();
        assert!(wrong.is_empty(), "{}:\n{}", file.display(), wrong.join("\n"));
        assert_no_name_twice(file, &rendered);
        assert_selectors_find_the_pod(file, &rendered);
        for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
            let port = &rendered.container()[probe]["httpGet"]["port"];
            assert!(port.is_null() || port_names(rendered.container()).contains(&port), "{}: {probe}", file.display());
        }
    }
}

fn assert_no_name_twice(file: &Path, rendered: &Rendered) {
    let mut ids: Vec<_> = rendered
        .iter()
        .map(|o| format!("{} {}/{}", o["kind"], o["metadata"]["namespace"], o["metadata"]["name"]))
        .collect();
    ids.sort();
    let all = ids.len();
    ids.dedup();
    assert_eq!(ids.len(), all, "{}: {ids:?}", file.display());
}

/// Services, budgets, policies and monitors are for pods of one workload, by ports that they have.
fn assert_selectors_find_the_pod(file: &Path, rendered: &Rendered) {
    let pods: Vec<_> = rendered.workloads().map(|workload| &workload["spec"]["template"]).collect();
    let test = rendered.all("Pod").map(|pod| &pod["metadata"]["labels"]).next();
    for object in rendered.iter() {
        let selector = match object["kind"].as_str().unwrap() {
            "Service" => &object["spec"]["selector"],
            "Deployment" | "DaemonSet" | "PodDisruptionBudget" | "PodMonitor" => {
                &object["spec"]["selector"]["matchLabels"]
            }
            "NetworkPolicy" => &object["spec"]["podSelector"]["matchLabels"],
            _ => continue,
        };
        let found: Vec<_> = pods.iter().filter(|pod| selects(selector, &pod["metadata"]["labels"])).collect();
        assert_eq!(found.len(), 1, "{}: {object:#}", file.display());
        if let Some(own) = object["spec"].get("template") {
            assert_eq!(*found[0], own, "{}", file.display());
        }
        assert!(!test.is_some_and(|test| selects(selector, test)), "{}: {object:#}", file.display());
        if object["kind"] == "Service" {
            let ports = port_names(&found[0]["spec"]["containers"][0]);
            for port in object["spec"]["ports"].as_array().unwrap() {
                assert!(ports.contains(&&port["targetPort"]), "{}: {port}", file.display());
            }
        }
    }
}

fn port_names(container: &Value) -> Vec<&Value> {
    container["ports"].as_array().unwrap().iter().map(|port| &port["name"]).collect()
}

fn selects(selector: &Value, labels: &Value) -> bool {
    let wanted = selector.as_object().unwrap();
    !wanted.is_empty() && wanted.iter().all(|(key, value)| labels[key] == *value)
}

/// The restricted level of Pod Security, but for ports and the network of the node.
#[test]
fn pods_are_restricted() {
    for file in value_files() {
        let rendered = Rendered::of(&file, &[]);
        let jobs = rendered.all("Job").map(|job| &job["spec"]["template"]["spec"]);
        let workloads = rendered.workloads().map(|workload| &workload["spec"]["template"]["spec"]);
        let pods = rendered.all("Pod").map(|pod| &pod["spec"]).chain(jobs).chain(workloads);
        for pod in pods {
            let (security, container) = (&pod["securityContext"], &pod["containers"][0]["securityContext"]);
            assert_eq!(security["runAsNonRoot"], true, "{}", file.display());
            assert_eq!(security["seccompProfile"]["type"], "RuntimeDefault");
            assert_eq!(container["allowPrivilegeEscalation"], false);
            assert_eq!(container["readOnlyRootFilesystem"], true);
            assert_eq!(container["capabilities"], json!({ "drop": ["ALL"] }));
        }
    }
}

/// Without it no file of values leads to a pod that can start.
#[test]
fn pods_that_read_the_cluster_have_a_token() {
    for file in value_files() {
        let rendered = Rendered::of(&file, &[]);
        let jobs = rendered.all("Job").map(|job| &job["spec"]["template"]["spec"]);
        for pod in jobs.chain([rendered.pod()]) {
            let mounts = pod["containers"][0]["volumeMounts"].as_array().into_iter().flatten();
            let mut places = mounts.map(|mount| &mount["mountPath"]);
            let is_mounted = places.any(|place| place == "/var/run/secrets/kubernetes.io/serviceaccount");
            assert_ne!(is_mounted, pod["automountServiceAccountToken"] == true, "{}", file.display());
        }
    }
}

/// Unless none were written, they are to stay, or nobody could be stopped from writing them again.
#[test]
fn addresses_are_taken_back_before_an_uninstall() {
    let jobs = |set: &[&str]| Rendered::with(set).all("Job").count();
    let stated = r#"controller.extraArgs.publish-status-address="192.0.2.7""#;
    assert_eq!(jobs(&[]), 1);
    assert_eq!(jobs(&["controller.publishService.enabled=false", stated]), 1);
    assert_eq!(jobs(&["controller.publishService.enabled=false"]), 0);
    assert_eq!(jobs(&["controller.extraArgs.update-status=false"]), 0);
    assert_eq!(jobs(&["controller.extraArgs.update-status-on-shutdown=false"]), 0);
    assert_eq!(jobs(&["controller.disableLeaderElection=true"]), 0);

    let rendered = Rendered::with(&[stated]);
    let job = rendered.one("Job");
    assert_eq!(job["metadata"]["annotations"]["helm.sh/hook"], "pre-delete");
    let (pod, flags) = (&job["spec"]["template"], rendered.arguments());
    let arguments: Vec<_> = pod["spec"]["containers"][0]["args"].as_array().unwrap().iter().collect();
    assert_eq!((arguments[0], arguments[1..] == flags[1..]), (&json!("withdraw"), true), "{arguments:?}");
    assert_eq!(pod["spec"]["serviceAccountName"], rendered.pod()["serviceAccountName"]);
    let service = rendered.all("Service").next().unwrap();
    assert!(!selects(&service["spec"]["selector"], &pod["metadata"]["labels"]), "it would be sent requests");
}

#[test]
fn the_pod_has_time_to_drain() {
    let grace = |set: &[&str]| Rendered::with(set).pod()["terminationGracePeriodSeconds"].clone();
    assert_eq!(grace(&[]), 255);
    assert_eq!(grace(&["controller.drainTimeout=30", "controller.shutdownGracePeriod=7"]), 47);
    assert_eq!(grace(&["controller.terminationGracePeriodSeconds=20"]), 20);
}

#[test]
fn addresses_of_nodes_are_not_taken_for_clients() {
    let caps = |set: &[&str]| Rendered::with(set).flag("max-connections-per-address").map(str::to_owned);
    assert_eq!(caps(&[]).as_deref(), Some("0"));
    assert_eq!(caps(&[r#"controller.service.externalTrafficPolicy="Cluster""#]).as_deref(), Some("0"));
    assert_eq!(caps(&[r#"controller.config.use-proxy-protocol="false""#]).as_deref(), Some("0"));
    assert_eq!(caps(&[r#"controller.service.externalTrafficPolicy="Local""#]), None);
    assert_eq!(caps(&[r#"controller.config.use-proxy-protocol="true""#]), None);
    assert_eq!(caps(&["controller.extraArgs.use-proxy-protocol=true"]), None);
    assert_eq!(caps(&["controller.service.enabled=false"]), None);
    let (outer, inner) =
        (r#"controller.service.externalTrafficPolicy="Local""#, "controller.service.internal.enabled=true");
    assert_eq!(caps(&[outer, inner]), None, "as the first has it");
    let inner_of_nodes = r#"controller.service.internal.externalTrafficPolicy="Cluster""#;
    assert_eq!(caps(&[outer, inner, inner_of_nodes]).as_deref(), Some("0"));
    assert_eq!(caps(&[outer, inner_of_nodes]), None, "there is no such Service");
    let inner_of_clients = r#"controller.service.internal.externalTrafficPolicy="Local""#;
    assert_eq!(caps(&[inner, inner_of_clients]).as_deref(), Some("0"));
    assert_eq!(caps(&["controller.service.external.enabled=false", inner, inner_of_clients]), None);
    assert_eq!(caps(&["controller.extraArgs.max-connections-per-address=50"]).as_deref(), Some("50"));
}

#[test]
fn the_published_address_is_that_of_the_service() {
    let published = |set: &[&str]| Rendered::with(set).flag("publish-service").map(str::to_owned);
    assert_eq!(published(&[]).as_deref(), Some("space/release-headgate"));
    let only_internal = ["controller.service.external.enabled=false", "controller.service.internal.enabled=true"];
    assert_eq!(published(&only_internal).as_deref(), Some("space/release-headgate-internal"));
    assert_eq!(published(&[r#"controller.publishService.pathOverride="a/b""#]).as_deref(), Some("a/b"));
    assert_eq!(published(&["controller.publishService.enabled=false"]), None);
    assert_eq!(published(&["controller.service.enabled=false"]), None);
    assert_eq!(published(&[r#"controller.extraArgs.publish-status-address="192.0.2.1""#]), None);
}

#[test]
fn a_default_backend_of_its_own_is_told_to_the_controller() {
    let rendered = Rendered::of(&ci("autoscaling"), &[]);
    assert_eq!(rendered.flag("default-backend-service"), Some("space/release-headgate-backend"));
    assert_eq!(rendered.named("Service", "release-headgate-backend")["spec"]["ports"][0]["port"], 8000);
    let backend = &rendered.named("Deployment", "release-headgate-backend")["spec"]["template"]["spec"];
    assert_eq!(backend["automountServiceAccountToken"], false);
    assert_eq!(backend["containers"][0]["args"], json!(["--theme=plain"]));
    let none = Rendered::with(&[]);
    assert_eq!((none.flag("default-backend-service"), none.all("Deployment").count()), (None, 1));
    let two = template(&ci("autoscaling"), &[r#"controller.defaultBackendService="a/b""#]);
    let stderr = String::from_utf8_lossy(&two.stderr);
    assert!(!two.status.success() && stderr.contains("leave one of them out"), "{stderr}");
}

/// As the pods have them, and only where nothing else is said.
#[test]
fn addresses_of_nodes_are_published_in_place_of_a_service() {
    let with = |more: &[&str]| {
        let rendered = Rendered::with(&[&["controller.reportNodeInternalIp=true"], more].concat());
        let lists_pods = rendered.one("Role")["rules"].to_string().contains(r#"["pods"],"verbs":["list"]"#);
        (rendered.flag("report-node-internal-ip-address").is_some(), lists_pods, rendered.all("Job").count())
    };
    assert_eq!(with(&["controller.publishService.enabled=false"]), (true, true, 1));
    assert_eq!(with(&["controller.service.enabled=false"]), (true, true, 1));
    assert_eq!(with(&[]), (false, false, 1));
    assert_eq!(with(&[r#"controller.extraArgs.publish-status-address="192.0.2.1""#]), (false, false, 1));
    assert_eq!(
        with(&["controller.publishService.enabled=false", "controller.reportNodeInternalIp=false"]),
        (false, false, 0)
    );
}

#[test]
fn an_address_that_only_the_cluster_can_reach_is_not_published() {
    let bare = Rendered::of(&root().join("deploy/bare-metal/values.yaml"), &[]);
    assert_eq!((bare.flag("publish-service"), bare.all("Job").count()), (None, 0));
}

#[test]
fn ports_of_the_node() {
    let rendered = Rendered::of(&ci("daemonset-hostport"), &[]);
    assert_eq!(rendered.workload()["kind"], "DaemonSet");
    let ports = rendered.container()["ports"].as_array().unwrap();
    let taken: Vec<_> = ports.iter().map(|port| (&port["containerPort"], &port["hostPort"])).collect();
    assert_eq!(taken, [(&json!(8080), &json!(80)), (&json!(8443), &json!(443)), (&json!(10254), &Value::Null)]);
    assert_eq!(rendered.names("Service"), [""; 0]);
    let sysctls = json!([{ "name": "net.ipv4.ip_local_port_range", "value": "1024 65000" }]);
    assert_eq!(rendered.pod()["securityContext"]["sysctls"], sysctls);
}

#[test]
fn where_pods_hold_ports_of_nodes_one_is_replaced_after_the_other() {
    let strategy = |set: &[&str]| Rendered::with(set).workload()["spec"]["strategy"].clone();
    let one_by_one = json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}});
    assert_eq!(strategy(&[]), Value::Null);
    assert_eq!(strategy(&["controller.hostPort.enabled=true"]), one_by_one);
    assert_eq!(strategy(&["controller.hostNetwork=true"]), one_by_one);
    let own = r#"controller.updateStrategy.type="Recreate""#;
    assert_eq!(strategy(&["controller.hostNetwork=true", own])["type"], "Recreate");
}

#[test]
fn the_lease_keeps_its_name_when_everything_else_is_renamed() {
    let renamed = Rendered::with(&[r#"fullnameOverride="other""#, r#"nameOverride="another""#]);
    assert_eq!(renamed.flag("election-id"), Some("release-leader"));
    assert_eq!(renamed.workload()["metadata"]["name"], "other");
}

#[test]
fn the_lease_goes_with_the_release_unless_it_notes_what_stays() {
    let kept = |set: &[&str]| {
        let rendered = Rendered::with(set);
        rendered.all("Lease").map(|lease| !lease["metadata"]["annotations"].is_null()).collect::<Vec<_>>()
    };
    assert_eq!(kept(&[]), [false]);
    assert_eq!(kept(&["controller.extraArgs.update-status-on-shutdown=false"]), [true]);
    assert_eq!(kept(&["controller.disableLeaderElection=true"]), [false; 0]);
    assert_eq!(kept(&[r#"controller.electionID="shared""#]), [false; 0], "it may be the Lease of others, too");
}

#[test]
fn a_budget_is_there_where_it_can_be_kept() {
    let budgets = |set: &[&str]| Rendered::with(set).all("PodDisruptionBudget").next().map(|b| b["spec"].clone());
    assert_eq!(budgets(&[]), None);
    assert_eq!(budgets(&["controller.replicaCount=2"]).unwrap()["minAvailable"], 1);
    assert_eq!(budgets(&["controller.autoscaling.enabled=true", "controller.autoscaling.minReplicas=1"]), None);
    assert_eq!(budgets(&["controller.replicaCount=2", r#"controller.kind="DaemonSet""#]), None);
    let scaled = Rendered::of(&ci("autoscaling"), &[]);
    let budget = &scaled.one("PodDisruptionBudget")["spec"];
    assert_eq!((&budget["maxUnavailable"], &budget["minAvailable"]), (&json!("25%"), &Value::Null));
    assert_eq!(scaled.workload()["spec"]["replicas"], Value::Null, "the autoscaler's");
    let scaler = &scaled.one("HorizontalPodAutoscaler")["spec"];
    let target = |at: usize| scaler["metrics"][at]["resource"]["target"]["averageUtilization"].clone();
    assert_eq!((target(0), target(1)), (json!(50), json!(80)));
    assert_eq!(scaler["scaleTargetRef"]["name"], scaled.workload()["metadata"]["name"]);
}

#[test]
fn the_internal_service_differs_where_it_says_so() {
    let rendered = Rendered::of(&ci("internal-service"), &[]);
    let (outer, inner) =
        (rendered.named("Service", "release-headgate"), rendered.named("Service", "release-headgate-internal"));
    assert_eq!(outer["metadata"]["annotations"]["example.com/load-balancer"], "public");
    assert_eq!(inner["metadata"]["annotations"]["example.com/load-balancer"], "private");
    let field = |name: &str| (outer["spec"][name].clone(), inner["spec"][name].clone());
    assert_eq!(field("externalTrafficPolicy"), (json!("Local"), json!("Cluster")));
    assert_eq!(field("loadBalancerSourceRanges"), (json!(["203.0.113.0/24"]), json!(["10.0.0.0/8"])));
    assert_eq!(field("healthCheckNodePort"), (json!(30081), Value::Null));
    assert_eq!(field("allocateLoadBalancerNodePorts"), (json!(false), json!(false)), "as the first has it");
    assert_eq!(outer["spec"]["ports"][1]["appProtocol"], "https");
    assert_eq!(inner["spec"]["ports"][1]["appProtocol"], Value::Null);
    let ports: Vec<_> = inner["spec"]["ports"].as_array().unwrap().iter().map(|port| &port["port"]).collect();
    assert_eq!(ports, [8000, 443]);
}

#[test]
fn classes_beside_the_first() {
    let rendered = Rendered::of(&ci("extra"), &[]);
    assert_eq!(rendered.names("IngressClass"), ["edge", "nginx"]);
    let default = "ingressclass.kubernetes.io/is-default-class";
    assert_eq!(rendered.named("IngressClass", "edge")["metadata"]["annotations"][default], "true");
    assert_eq!(rendered.named("IngressClass", "nginx")["metadata"]["annotations"][default], Value::Null);
    assert_eq!(rendered.named("IngressClass", "nginx")["spec"]["controller"], "example.com/edge");
}

#[test]
fn names_and_images_as_given() {
    let rendered = Rendered::of(&ci("extra"), &[]);
    assert_eq!(rendered.workload()["metadata"]["name"], "edge");
    assert_eq!(rendered.workload()["metadata"]["namespace"], "edge-system");
    let image = rendered.container()["image"].as_str().unwrap();
    assert!(image.starts_with("other.example.com/headgate@sha256:0123"), "{image}");
    assert_eq!(rendered.pod()["dnsPolicy"], "ClusterFirstWithHostNet");
    assert_eq!(rendered.pod()["imagePullSecrets"], json!([{ "name": "pull" }, { "name": "more" }]));
    assert!(
        rendered.names("ConfigMap").contains(&"edge-notes") && rendered.names("ConfigMap").contains(&"release-text")
    );
    assert!(
        rendered.iter().filter(|o| o["kind"] != "ConfigMap").all(|o| o["metadata"]["labels"]["team"] == "platform")
    );
    assert_eq!(rendered.all("Pod").count(), 0, "the test does not speak the PROXY protocol");
    let default = Rendered::with(&[]);
    assert_eq!(default.container()["image"], concat!("headgate:", env!("CARGO_PKG_VERSION")));
    let mirrored = Rendered::with(&[r#"global.image.registry="mirror.example.com""#]);
    assert_eq!(mirrored.one("Pod")["spec"]["containers"][0]["image"], "mirror.example.com/busybox:1.37");
}

#[test]
fn long_release_names_are_cut() {
    let long = "a".repeat(53);
    let output = helm(&[
        "template",
        &long,
        root().join("charts/headgate").to_str().unwrap(),
        "--set=controller.metrics.enabled=true",
    ]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for object in crate::rendered::parse(std::str::from_utf8(&output.stdout).unwrap()) {
        assert!(object["metadata"]["name"].as_str().unwrap().len() <= 63, "{}", object["metadata"]["name"]);
    }
}

#[test]
fn values_that_contradict_each_other_are_refused() {
    for (set, message) in [
        (
            "controller.extraArgs.drain-timeout=\"9s\"",
            "controller.extraArgs.drain-timeout: this flag comes from another value",
        ),
        ("rbac.scope=true", "rbac.scope: one namespace must be watched"),
        ("controller.metrics.serviceMonitor.enabled=true", "set controller.metrics.enabled"),
        (
            r#"controller.metrics={"enabled":true,"serviceMonitor":{"enabled":true},"podMonitor":{"enabled":true}}"#,
            "counted twice",
        ),
        (r#"controller={"kind":"DaemonSet","autoscaling":{"enabled":true}}"#, "only a Deployment can be scaled"),
    ] {
        let output = template(&ci("default"), &[set]);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && stderr.contains(message), "{set}: {stderr}");
    }
}
