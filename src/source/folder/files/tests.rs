use super::*;
use crate::snapshot::Reference;
use crate::translate::PolicyObject;

fn config_map(name: &str, value: &str) -> String {
    format!("---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\ndata: {{k: {value}}}\n")
}

/// A folder in memory.
#[derive(Default)]
struct Folder(Files);

impl Folder {
    fn write(&mut self, path: &str, text: &str) -> bool {
        let change = self.0.read(Path::new(path), text.as_bytes());
        let loses = change.loses;
        self.0.apply(change);
        loses
    }

    fn remove(&mut self, path: &str) -> bool {
        let change = self.0.removed(Path::new(path));
        let loses = change.loses;
        self.0.apply(change);
        loses
    }

    /// `name=value` of every ConfigMap.
    fn objects(&mut self) -> Vec<String> {
        self.0.assemble();
        let maps = &self.0.view().objects.config_maps;
        let value = |map: &k8s_openapi::api::core::v1::ConfigMap| map.data.as_ref().map(|data| data["k"].clone());
        maps.iter().map(|(id, map)| format!("{}={}", id.name, value(map).unwrap_or_default())).collect()
    }

    fn problems(&mut self) -> Vec<String> {
        self.0.assemble();
        self.0.view().problems.iter().map(ToString::to_string).collect()
    }

    fn config_map(&mut self, name: &str) -> Arc<k8s_openapi::api::core::v1::ConfigMap> {
        self.0.assemble();
        self.0.view().objects.config_maps[&Reference::new("default", name)].clone()
    }
}

#[test]
fn an_object_that_did_not_change_keeps_its_arc() {
    let mut folder = Folder::default();
    folder.write("a.yaml", &(config_map("a", "one") + &config_map("b", "one")));
    let (a, b) = (folder.config_map("a"), folder.config_map("b"));
    folder.write("a.yaml", &(config_map("a", "two") + "# a comment\n" + &config_map("b", "one")));
    assert!(!Arc::ptr_eq(&a, &folder.config_map("a")));
    assert!(Arc::ptr_eq(&b, &folder.config_map("b")));
    folder.remove("a.yaml");
    folder.write("z.yaml", &config_map("b", "one"));
    assert!(Arc::ptr_eq(&b, &folder.config_map("b")), "it moved to another file");
}

#[test]
fn assembling_tells_whether_anything_changed() {
    let mut folder = Folder::default();
    assert!(!folder.0.assemble());
    folder.write("a.yaml", &config_map("a", "one"));
    assert!(folder.0.assemble());
    folder.write("a.yaml", &("# a comment\n".to_owned() + &config_map("a", "one")));
    assert!(!folder.0.assemble());
    folder.write("a.yaml", "apiVersion: v1\nkind: Pod\n");
    assert!(folder.0.assemble());
    folder.write("a.yaml", "apiVersion: v1\nkind: Node\n");
    assert!(folder.0.assemble(), "another note");
    folder.write("a.yaml", "{");
    assert!(folder.0.assemble(), "a problem");
    folder.remove("a.yaml");
    assert!(folder.0.assemble());
    assert!(!folder.0.assemble());
}

#[test]
fn a_file_that_stops_parsing_keeps_its_last_good_objects() {
    let mut folder = Folder::default();
    folder.write("a.yaml", &(config_map("a", "one") + &config_map("b", "one")));
    folder.write("b.yaml", &config_map("c", "one"));
    assert!(folder.write("a.yaml", "data: [\n"));
    folder.write("b.yaml", &config_map("c", "two"));
    assert_eq!(folder.objects(), ["a=one", "b=one", "c=two"]);
    assert_eq!(
        folder.problems(),
        ["a.yaml:2:1: did not find expected node content, while parsing a flow node; its last good objects (2) stay"]
    );
    folder.write("a.yaml", &config_map("a", "two"));
    assert_eq!(folder.objects(), ["a=two", "c=two"]);
    assert_eq!(folder.problems(), [""; 0]);
}

#[test]
fn a_file_that_never_parsed_is_left_out() {
    let mut folder = Folder::default();
    folder.write("a.yaml", "[");
    folder.write("b.yaml", &config_map("b", "one"));
    assert_eq!(folder.objects(), ["b=one"]);
    assert_eq!(
        folder.problems(),
        ["a.yaml:2:1: did not find expected node content, while parsing a flow node; the file is left out"]
    );
}

#[test]
fn an_invalid_object_keeps_its_last_good_version_and_its_neighbours_change() {
    let mut folder = Folder::default();
    folder.write("a.yaml", &(config_map("a", "one") + &config_map("b", "one") + &config_map("gone", "one")));
    assert!(folder.write("a.yaml", &(config_map("a", "on") + &config_map("b", "two") + &config_map("c", "on"))));
    assert_eq!(folder.objects(), ["a=one", "b=two"]);
    let must = "data.k: must be a string, not `on` without quotes, which is a boolean; write \"on\"";
    assert_eq!(
        folder.problems(),
        [
            format!("a.yaml:5:11: ConfigMap default/a: {must}; its last good version stays"),
            format!("a.yaml:15:11: ConfigMap default/c: {must}; it is left out")
        ]
    );
}

#[test]
fn a_document_that_means_no_known_object_loses_nothing() {
    let mut folder = Folder::default();
    folder.write("a.yaml", &(config_map("a", "one") + &config_map("b", "one")));
    folder.write("a.yaml", &(config_map("a", "two") + "---\nkind: Confi\n"));
    assert_eq!(folder.objects(), ["a=two", "b=one"]);
    assert_eq!(folder.problems(), ["a.yaml:7:1: apiVersion: is required; what the file had before stays"]);
}

#[test]
fn of_the_same_object_the_first_path_and_document_counts() {
    let mut folder = Folder::default();
    folder.write("b.yaml", &config_map("a", "b"));
    folder.write("a/z.yaml", &(config_map("a", "first") + &config_map("a", "second")));
    assert_eq!(folder.objects(), ["a=first"]);
    let reason = "a/z.yaml:2 has the same object and comes first; this one is left out";
    assert_eq!(
        folder.problems(),
        [format!("a/z.yaml:7: ConfigMap default/a: {reason}"), format!("b.yaml:2: ConfigMap default/a: {reason}")]
    );
    folder.remove("a/z.yaml");
    assert_eq!(folder.objects(), ["a=b"]);
    assert_eq!(folder.problems(), [""; 0]);
}

#[test]
fn changes_tell_whether_they_lose_something() {
    let mut folder = Folder::default();
    assert!(!folder.write("a.yaml", &config_map("a", "one")));
    assert!(!folder.write("a.yaml", &(config_map("a", "two") + &config_map("b", "one"))));
    assert!(folder.write("a.yaml", &config_map("b", "one")));
    assert!(folder.write("a.yaml", ""));
    assert!(!folder.write("a.yaml", "# still nothing"));
    assert!(folder.write("a.yaml", "["));
    assert!(!folder.write("a.yaml", "[["), "broken before and after");
    assert!(!folder.remove("a.yaml"), "there was no object");
    folder.write("a.yaml", &config_map("a", "one"));
    assert!(folder.remove("a.yaml"));
}

#[test]
fn an_unreadable_file_keeps_its_objects_and_is_told_once() {
    let mut folder = Folder::default();
    folder.write("a.yaml", &config_map("a", "one"));
    let change = folder.0.unreadable(Path::new("a.yaml"), "denied".into()).unwrap();
    assert!(change.loses);
    folder.0.apply(change);
    assert_eq!(folder.objects(), ["a=one"]);
    assert_eq!(folder.problems(), ["a.yaml: denied; its last good objects (1) stay"]);
    assert!(folder.0.unreadable(Path::new("a.yaml"), "denied".into()).is_none());
}

#[test]
fn texts_give_a_view_without_a_folder() {
    let (a, b) = (config_map("a", "one"), "nonsense");
    let view = view_of([("a.yaml", a.as_str()), ("b.yaml", b)]);
    assert_eq!((view.count(), view.problems.len()), (1, 1));
}

#[test]
fn a_guess_ends_when_the_file_is_read_and_does_not_come_again() {
    let mut folder = Folder::default();
    let ingress = "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: shop}\nspec: {rules: []}\n";
    let policy = "apiVersion: headgate.dev/v1alpha1\nkind: ProxyPolicy\nmetadata: {name: p}\n\
                  spec: {targetRefs: [{group: networking.k8s.io, kind: Ingress, name: shop}]}\n";
    let broken = format!("{policy}[");
    let policies = |folder: &mut Folder| -> Vec<(String, Arc<PolicyObject>)> {
        folder.0.assemble();
        let policies = folder.0.view().objects.policies.iter();
        policies.map(|(id, policy)| (id.name.clone(), policy.clone())).collect()
    };
    folder.write("shop.yaml", ingress);
    folder.write("p.yaml", &broken);
    let guessed = policies(&mut folder);
    assert_eq!(guessed[0].0, "in p.yaml");
    folder.write("other.yaml", &config_map("a", "1"));
    assert!(Arc::ptr_eq(&guessed[0].1, &policies(&mut folder)[0].1));
    folder.write("p.yaml", policy);
    assert_eq!(policies(&mut folder)[0].0, "p");
    folder.write("p.yaml", &broken);
    assert_eq!(policies(&mut folder)[0].0, "p");
    assert_eq!(policies(&mut folder).len(), 1);
    folder.remove("p.yaml");
    folder.write("p.yaml", &broken);
    assert_eq!(policies(&mut folder)[0].0, "in p.yaml");
    folder.remove("shop.yaml");
    assert!(policies(&mut folder).is_empty());
}
