use std::path::Path;

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::*;

fn parse(text: &str) -> Parsed {
    parse_documents(Path::new("a.yaml"), text.as_bytes()).unwrap()
}

fn names(parsed: &Parsed) -> Vec<String> {
    parsed.objects.iter().map(|located| located.object.reference().to_string()).collect()
}

fn lines(problems: &[SourceProblem]) -> Vec<String> {
    problems.iter().map(ToString::to_string).collect()
}

/// The only problem of a text that gives no object.
#[track_caller]
fn problem(text: &str) -> String {
    let parsed = parse(text);
    assert_eq!(names(&parsed), [""; 0]);
    assert_eq!(parsed.problems.len(), 1, "{:?}", parsed.problems);
    parsed.problems[0].to_string()
}

#[track_caller]
fn unreadable(bytes: impl AsRef<[u8]>) -> String {
    parse_documents(Path::new("a.yaml"), bytes.as_ref()).unwrap_err().to_string()
}

const CONFIG_MAP: &str = "{apiVersion: v1, kind: ConfigMap, metadata: {name: a}}";

fn ingress(rest: &str) -> String {
    format!("apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata:\n  name: web\n{rest}")
}

#[test]
fn every_kind_is_read_from_many_documents() {
    let parsed = parse(
        "# a comment\n---\n---\napiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: web, namespace: shop}\nspec: {}\n\
         ---\napiVersion: networking.k8s.io/v1\nkind: IngressClass\nmetadata: {name: headgate, namespace: x}\n\
         ---\napiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: {}\n\
         ---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: web-1}\naddressType: IPv4\n\
         ---\napiVersion: v1\nkind: Secret\nmetadata: {name: web.tls}\n\
         ---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\n\
         ---\napiVersion: headgate.dev/v1alpha1\nkind: ProxyPolicy\nmetadata: {name: shop}\nspec: {targetRefs: []}\n...\n---\n",
    );
    assert_eq!(
        names(&parsed),
        [
            "Ingress shop/web",
            "IngressClass headgate",
            "Service default/web",
            "EndpointSlice default/web-1",
            "Secret default/web.tls",
            "ConfigMap default/settings",
            "ProxyPolicy default/shop"
        ]
    );
    assert_eq!(parsed.objects.iter().map(|located| located.line).collect::<Vec<_>>(), [4, 9, 13, 18, 23, 27, 31]);
    assert_eq!(lines(&parsed.problems), [""; 0]);
    assert_eq!(lines(&parsed.notes), [""; 0]);
}

#[test]
fn texts_without_objects_are_fine() {
    for text in ["", "\n", "---\n", "# nothing\n", "---\n# a\n---\n# b\n", "\u{feff}", "null\n"] {
        let parsed = parse(text);
        assert!(parsed.objects.is_empty() && parsed.problems.is_empty(), "{text:?} {parsed:?}");
    }
}

#[test]
fn json_may_hold_several_documents_and_tabs() {
    let one = "{\n\t\"apiVersion\": \"v1\",\n\t\"kind\": \"ConfigMap\",\n\t\"metadata\": {\"name\": \"a\"}\n}";
    assert_eq!(names(&parse(one)), ["ConfigMap default/a"]);
    let two = format!("{one}\n{}", one.replace("\"a\"", "\"b\""));
    assert_eq!(names(&parse(&two)), ["ConfigMap default/a", "ConfigMap default/b"]);
    assert_eq!(parse(&two).objects[1].line, 7);
    assert_eq!(names(&parse(CONFIG_MAP)), ["ConfigMap default/a"], "flow style is YAML");
}

#[test]
fn byte_order_mark_and_windows_line_ends_are_accepted() {
    let text = "\u{feff}apiVersion: v1\r\nkind: ConfigMap\r\nmetadata:\r\n  name: a\r\ndata:\r\n  k: on\r\n";
    assert_eq!(
        problem(text),
        "a.yaml:6:6: ConfigMap default/a: data.k: must be a string, not `on` without quotes, which is a boolean; write \"on\""
    );
}

#[test]
fn lists_give_their_items() {
    let list =
        format!("apiVersion: v1\nkind: List\nitems:\n- {CONFIG_MAP}\n- apiVersion: v1\n  kind: List\n  items: null\n");
    assert_eq!(names(&parse(&list)), ["ConfigMap default/a"]);
    let typed = "apiVersion: v1\nkind: ServiceList\nmetadata: {}\nitems:\n- metadata: {name: a}\n  spec: {}\n- metadata: {name: b}\n  spec: {}\n";
    assert_eq!(names(&parse(typed)), ["Service default/a", "Service default/b"]);
    assert_eq!(problem("apiVersion: v1\nkind: List\nitems: {a: b}\n"), "a.yaml:3:9: items: must be a list");
}

#[test]
fn other_kinds_are_noted_once_each() {
    let parsed = parse(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\n---\napiVersion: serving.knative.dev/v1\nkind: Service\nmetadata: {name: k}\n",
    );
    assert_eq!(
        lines(&parsed.notes),
        [
            "a.yaml:1:1: Deployment web (apps/v1) is skipped: its kind is not read here",
            "a.yaml:5:1: Service k (serving.knative.dev/v1) is skipped: its kind is not read here"
        ]
    );
    assert_eq!(lines(&parsed.problems), [""; 0]);
}

#[test]
fn old_versions_are_problems_with_a_way_out() {
    assert_eq!(
        problem("apiVersion: extensions/v1beta1\nkind: Ingress\nmetadata: {name: web}\n"),
        "a.yaml:1:1: Ingress default/web: apiVersion: Kubernetes 1.22 removed extensions/v1beta1; \
         convert the file with `kubectl convert -f FILE --output-version networking.k8s.io/v1`"
    );
    assert_eq!(
        problem("kind: Ingress\napiVersion: v1\nmetadata: {name: web}\n"),
        "a.yaml:2:1: Ingress default/web: apiVersion: Ingress is read in networking.k8s.io/v1, not in \"v1\""
    );
    assert_eq!(
        problem("kind: Service\napiVersion: v2\nmetadata: {name: web}\n"),
        "a.yaml:2:1: Service default/web: apiVersion: Service is read in v1, not in \"v2\""
    );
}

#[test]
fn documents_that_are_no_object_are_named() {
    assert_eq!(problem("just text\n"), "a.yaml:1:1: is not an object; one begins with apiVersion and kind");
    assert_eq!(problem("- a\n"), "a.yaml:1:3: is not an object; one begins with apiVersion and kind");
    assert_eq!(problem("kind: Ingress\n"), "a.yaml:1:1: apiVersion: is required");
    assert_eq!(problem("a: 1\napiVersion: v1\nkind: ''\n"), "a.yaml:3:1: kind: is required");
}

#[test]
fn unreadable_texts_are_told_with_line_and_column() {
    let head = "apiVersion: v1\nkind: ConfigMap\n";
    let cases: [(String, &str); 9] = [
        (format!("{head}metadata:\n\tname: a\n"), "a.yaml:4:1: a tab stands where YAML wants spaces"),
        (
            format!("{head}metadata: {{name: a\n"),
            "a.yaml:4:1: did not find expected ',' or '}', while parsing a flow mapping at line 3 column 11",
        ),
        (
            format!("{head}metadata:\n  name: a\n  name: b\n"),
            "a.yaml:5:3: metadata: the key \"name\" stands twice in one mapping",
        ),
        (
            format!("{head}data: {{? [a] : b}}\n"),
            "a.yaml:3:10: data: invalid type: sequence, expected a key that is a string",
        ),
        (format!("{head}data: *nothing\n"), "a.yaml:3:7: unknown anchor"),
        (
            format!("{head}data: !vault a\n"),
            "a.yaml:3:7: data: the tag !vault is not understood; write the value without it",
        ),
        (
            "{\"apiVersion\": \"v1\",\n \"apiVersion\": \"v1\"}".into(),
            "a.yaml:2:13: the key \"apiVersion\" stands twice in one mapping",
        ),
        ("{\"a\": 1".into(), "a.yaml:1:7: EOF while parsing an object"),
        (
            format!("{head}---\nmetadata: [\n"),
            "a.yaml:5:1: did not find expected node content, while parsing a flow node",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(unreadable(&text), expected, "{text}");
    }
}

#[test]
fn bytes_that_are_no_text_are_told() {
    assert_eq!(unreadable(b"a: 1\nb: \xff\n"), "a.yaml:2: the file is not UTF-8 text");
    assert_eq!(unreadable(b"\xff\xfea\0"), "a.yaml: the file is UTF-16; save it as UTF-8");
    assert_eq!(unreadable(b"a: \0\0\0"), "a.yaml:1:4: control characters are not allowed");
}

#[test]
fn aliases_that_explode_are_refused() {
    let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..10 {
        let aliases = vec![format!("*a{}", level - 1); 10].join(", ");
        text += &format!("a{level}: &a{level} [{aliases}]\n");
    }
    let reason = unreadable(&text);
    assert!(reason.contains("repetition limit") || reason.contains("too large"), "{reason}");
    let long = format!("a: &a {}\nb: [{}]\n", "x".repeat(1 << 20), vec!["*a"; 300].join(", "));
    assert_eq!(unreadable(&long), "a.yaml:1:4: b[254]: the file is too large once its aliases are followed");
    assert!(unreadable("[".repeat(500)).contains("recursion limit exceeded"));
}

#[test]
fn merge_keys_are_applied() {
    let parsed = parse(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\nx-base: &base {k: base, l: base}\nx-other: &other {l: other, m: other}\n\
         data:\n  <<: [*base, *other]\n  k: own\n",
    );
    let Object::ConfigMap(map) = &parsed.objects[0].object else { panic!() };
    let data: Vec<_> = map.data.iter().flatten().map(|(key, value)| format!("{key}={value}")).collect();
    assert_eq!(data, ["k=own", "l=base", "m=other"]);
    assert_eq!(unreadable("a: {<<: 1}\n"), "a.yaml:1:4: a: `<<` needs a mapping or a list of mappings");
}

#[test]
fn unquoted_words_are_what_kubectl_makes_of_them() {
    let annotated =
        |value: &str| ingress(&format!("  annotations:\n    nginx.ingress.kubernetes.io/x: {value}\nspec: {{}}\n"));
    for (value, what) in [
        ("on", "`on` without quotes, which is a boolean; write \"on\""),
        ("Yes", "`Yes` without quotes, which is a boolean; write \"Yes\""),
        ("n", "`n` without quotes, which is a boolean; write \"n\""),
        ("true", "`true` without quotes, which is a boolean; write \"true\""),
        ("8", "the number 8; put it in quotes"),
        ("0777", "the number 511; put it in quotes"),
        ("1_000", "the number 1000; put it in quotes"),
        ("1.5", "the number 1.5; put it in quotes"),
        ("[a]", "a list"),
    ] {
        let problem = problem(&annotated(value));
        let expected = format!(
            "Ingress default/web: metadata.annotations[nginx.ingress.kubernetes.io/x]: must be a string, not {what}"
        );
        assert!(problem.starts_with("a.yaml:6:") && problem.ends_with(&expected), "{problem}");
    }
    for value in
        ["'on'", "\"yes\"", "!!str on", "|-\n      on", "on and on", "1.2.3", "2024-01-01", "~", "", "0x", "v1"]
    {
        assert_eq!(names(&parse(&annotated(value))), ["Ingress default/web"], "{value}");
    }
}

#[test]
fn yes_and_no_are_booleans_where_booleans_belong() {
    let parsed = parse(
        "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: a}\naddressType: IPv4\n\
         endpoints:\n- addresses: [10.0.0.1]\n  conditions: {ready: yes, terminating: off}\n",
    );
    let Object::EndpointSlice(slice) = &parsed.objects[0].object else { panic!() };
    let conditions = slice.endpoints.as_ref().unwrap()[0].conditions.as_ref().unwrap();
    assert_eq!((conditions.ready, conditions.terminating), (Some(true), Some(false)));
    assert_eq!(
        problem(
            "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: a}\naddressType: IPv4\nendpoints:\n- conditions: {ready: 'yes'}\n"
        ),
        "a.yaml:6:24: EndpointSlice default/a: endpoints[0].conditions.ready: must be true or false, not the string \"yes\"; write it without quotes"
    );
}

#[test]
fn keys_are_strings_as_kubectl_makes_them() {
    let parsed = parse("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {8080: shop/web:80, true: x}\n");
    let Object::ConfigMap(map) = &parsed.objects[0].object else { panic!() };
    assert_eq!(map.data.iter().flatten().map(|(key, _)| key.as_str()).collect::<Vec<_>>(), ["8080", "true"]);
}

#[test]
fn null_is_absent() {
    let parsed = parse(
        "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata:\n  name: web\n  creationTimestamp: null\n  labels: {a: null}\n\
         spec: {rules: null, tls: [null]}\nstatus: {loadBalancer: {}}\n",
    );
    let Object::Ingress(ingress) = &parsed.objects[0].object else { panic!() };
    assert_eq!(ingress.metadata.labels.as_ref().unwrap()["a"], "");
    assert_eq!(ingress.spec.as_ref().unwrap().rules, None);
}

#[test]
fn wrong_types_name_the_field_and_its_line() {
    assert_eq!(
        problem(&ingress("spec:\n  rules:\n  - host: a.example\n    http:\n      paths:\n      - path: 8\n")),
        "a.yaml:10:9: Ingress default/web: spec.rules[0].http.paths[0].path: must be a string, not the number 8; put it in quotes"
    );
    assert_eq!(
        problem("apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec:\n  ports:\n  - port: \"80\"\n"),
        "a.yaml:6:12: Service default/web: spec.ports[0].port: must be a whole number, not the string \"80\"; write it without quotes"
    );
    assert_eq!(
        problem(&ingress("spec:\n  rules:\n    host: a\n")),
        "a.yaml:6:3: Ingress default/web: spec.rules: must be a list, not a mapping"
    );
    assert_eq!(
        problem("apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: {ports: [{port: 5000000000}]}\n"),
        "a.yaml:4:17: Service default/web: spec.ports[0].port: invalid value: integer `5000000000`, expected i32"
    );
    assert_eq!(
        problem("apiVersion: v1\nkind: Secret\nmetadata: {name: a}\ndata: {k: not base64}\n"),
        "a.yaml:4:11: Secret default/a: data.k: must be base64 (Invalid symbol 32, offset 3.); plain text goes under stringData"
    );
}

#[test]
fn unknown_fields_are_noted_and_ignored() {
    let parsed = parse(&ingress("spec:\n  rulez: []\n"));
    assert_eq!(names(&parsed), ["Ingress default/web"]);
    assert_eq!(
        lines(&parsed.notes),
        ["a.yaml:6:3: Ingress default/web: spec.rulez: is not a field of this kind and is ignored"]
    );
}

#[test]
fn a_bad_object_leaves_its_neighbours_alone() {
    let parsed =
        parse(&format!("{CONFIG_MAP}\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: b}}\ndata: {{k: 1}}\n"));
    assert_eq!(names(&parsed), ["ConfigMap default/a"]);
    assert_eq!(
        lines(&parsed.problems),
        ["a.yaml:6:8: ConfigMap default/b: data.k: must be a string, not the number 1; put it in quotes"]
    );
}

#[test]
fn secrets_take_string_data_and_broken_lines() {
    let parsed = parse(
        "apiVersion: v1\nkind: Secret\nmetadata: {name: a}\ndata:\n  a: |\n    aGVs\n    bG8=\n  b: eA==\nstringData: {b: plain}\n",
    );
    let Object::Secret(secret) = &parsed.objects[0].object else { panic!() };
    let data = secret.data.as_ref().unwrap();
    assert_eq!((data["a"].0.as_slice(), data["b"].0.as_slice()), (&b"hello"[..], &b"plain"[..]));
    assert_eq!((secret.string_data.as_ref(), secret.type_.as_deref()), (None, Some("Opaque")));
}

#[test]
fn service_ports_get_their_defaults() {
    let parsed = parse("apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {ports: [{port: 80}]}\n");
    let Object::Service(service) = &parsed.objects[0].object else { panic!() };
    let spec = service.spec.as_ref().unwrap();
    let port = &spec.ports.as_ref().unwrap()[0];
    assert_eq!((spec.type_.as_deref(), port.protocol.as_deref()), (Some("ClusterIP"), Some("TCP")));
    assert_eq!(port.target_port, Some(IntOrString::Int(80)));
}

#[test]
fn a_text_nested_without_end_is_refused_before_it_is_read() {
    for open in ["[", "{a: ", "{\"a\":"] {
        let text = format!("# first line\n{}", open.repeat(200_000));
        let started = std::time::Instant::now();
        let problem = parse_documents(Path::new("a.yaml"), text.as_bytes()).unwrap_err();
        assert!(problem.reason.contains("brackets are open"), "{}", problem.reason);
        assert_eq!(problem.line, Some(2));
        assert!(started.elapsed() < std::time::Duration::from_secs(1));
    }
    assert!(
        parse_documents(Path::new("a.yaml"), "[]{}".repeat(5000).as_bytes())
            .is_err_and(|problem| { !problem.reason.contains("brackets are open") }),
        "those that close do not count"
    );
}

proptest::proptest! {
    #[test]
    fn no_text_breaks_the_reader(
        parts in proptest::collection::vec(
            proptest::sample::select(vec![
                "apiVersion: v1\n", "kind: Service\n", "kind: List\n", "items:\n", "metadata:\n", "  name: a\n", "- ", "  ",
                "\n", "---\n", "...\n", "{", "}", "[", "]", "<<: ", "&a ", "*a", ": ", "? ", "| \n", "\"", "'", "!!str ",
                "!x ", "on", "0777", "-1_0", "1e9", "\t", "#", "\u{feff}", "\u{e9}", "\r\n", "null", "spec:\n", "ports:\n", ",",
            ]),
            0..40,
        )
    ) {
        let text = parts.concat();
        if let Ok(parsed) = parse_documents(Path::new("a.yaml"), text.as_bytes()) {
            for problem in parsed.problems.iter().chain(&parsed.notes) {
                proptest::prop_assert!(problem.line.is_none_or(|line| line <= text.lines().count().max(1)));
            }
        }
    }
}
