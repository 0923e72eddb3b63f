//! What the chart lets the controller do.

use serde_json::{Value, json};

use crate::rendered::{Rendered, ci, template};

#[test]
fn roles_of_one_namespace() {
    let rendered = Rendered::of(&ci("namespaced"), &[]);
    assert!(
        rendered.iter().all(|object| object["metadata"]["namespace"].is_string()),
        "nothing belongs to the cluster"
    );
    assert_eq!(rendered.named("Role", "release-headgate-served")["metadata"]["namespace"], "shop");
    assert_eq!(rendered.named("RoleBinding", "release-headgate-served")["subjects"][0]["namespace"], "space");
    assert_eq!(rendered.flag("watch-namespace"), Some("shop"));
    let own = &rendered.named("Role", "release-headgate")["rules"][1];
    assert_eq!((&own["resources"], &own["resourceNames"]), (&json!(["services"]), &json!(["release-headgate"])));
    // Problems of its ConfigMap.
    assert_eq!(rendered.named("Role", "release-headgate")["rules"][2]["resources"], json!(["events"]));
    let at_home = Rendered::of(&ci("namespaced"), &[r#"controller.scope.namespace="space""#]);
    assert_eq!(at_home.named("Role", "release-headgate")["rules"][1]["resources"], json!(["leases"]));
    // Without them it is told by the name alone what is served.
    let classes =
        json!([{ "apiGroups": ["networking.k8s.io"], "resources": ["ingressclasses"], "verbs": ["list", "watch"] }]);
    for set in ["controller.ingressClassResource.enabled=true", "controller.ingressClassByName=false"] {
        assert_eq!(Rendered::of(&ci("namespaced"), &[set]).one("ClusterRole")["rules"], classes, "{set}");
    }
}

#[test]
fn roles_hold_no_verb_that_has_no_use() {
    let may = |rendered: &Rendered, resource: &str| {
        let roles = rendered.all("ClusterRole").chain(rendered.all("Role"));
        roles
            .flat_map(|role| role["rules"].as_array().unwrap())
            .any(|rule| rule["resources"].as_array().unwrap().contains(&resource.into()))
    };
    let default = Rendered::with(&[]);
    assert!(may(&default, "leases") && !may(&default, "namespaces"));
    assert!(may(&Rendered::of(&ci("networkpolicy"), &[]), "namespaces"));
    assert!(!may(&Rendered::with(&[r#"controller.scope.namespaceSelector="team=shop""#]), "namespaces"), "no scope");
    assert!(!may(&Rendered::with(&["controller.disableLeaderElection=true"]), "leases"));
    assert!(!may(&Rendered::with(&["rbac.create=false"]), "services"));
    let own = &default.one("Role")["rules"];
    assert_eq!(
        (&own[0]["resources"], &own[0]["resourceNames"]),
        (&json!(["configmaps"]), &json!(["release-headgate"]))
    );
    assert_eq!(own[2]["resourceNames"], json!(["release-leader"]));
    assert_eq!(default.flag("election-id"), Some("release-leader"));
    let everything = default.all("ClusterRole").chain(default.all("Role")).map(Value::to_string).collect::<String>();
    assert!(!everything.contains('*'), "{everything}");
}

/// Where another namespace is served than the controller's own, and where they are one.
#[test]
fn what_flags_name_can_be_read_by_roles_of_two_namespaces() {
    let own = |set: &[&str]| {
        let rendered = Rendered::of(&ci("namespaced"), set);
        let rules = rendered.named("Role", "release-headgate")["rules"].as_array().unwrap().clone();
        let granted = |rule: &Value| {
            let name = rule["resourceNames"][0].as_str().map(|name| format!("/{name}")).unwrap_or_default();
            rule["resources"][0].as_str().unwrap().to_owned() + &name
        };
        rules.iter().map(granted).filter(|grant| !grant.starts_with("leases")).collect::<Vec<_>>()
    };
    let set = |namespace: &str| {
        [
            format!(r#"controller.defaultBackendService="{namespace}/errors""#),
            format!(r#"controller.extraArgs.default-ssl-certificate="{namespace}/wildcard""#),
            format!(r#"controller.publishService.pathOverride="{namespace}/front""#),
        ]
    };
    let (shop, space, third) = (set("shop"), set("space"), set("third"));
    let named = space.each_ref().map(String::as_str);
    let all =
        ["configmaps/release-headgate", "services/errors", "endpointslices", "secrets/wildcard", "services/front"];
    assert_eq!(own(&named), [&all[..], &["events"]].concat());
    let (own_events, at_home) = (["configmaps/release-headgate", "events"], r#"controller.scope.namespace="space""#);
    assert_eq!(own(&shop.each_ref().map(String::as_str)), own_events, "as the other role has it");
    assert_eq!(own(&[&named[..], &[at_home]].concat()), own_events[..1]);

    for set in &third {
        for more in [&[][..], &[at_home]] {
            let output = template(&ci("namespaced"), &[&[set.as_str()], more].concat());
            let stderr = String::from_utf8_lossy(&output.stderr);
            assert!(!output.status.success() && stderr.contains("rbac.scope gives no rights there"), "{set}: {stderr}");
            let granted = ["rbac.create=false"];
            assert!(template(&ci("namespaced"), &[&[set.as_str()], &granted[..], more].concat()).status.success());
        }
    }
}
