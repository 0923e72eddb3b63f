//! The watched folder over the real file system.

use std::fs;
use std::os::unix::fs::symlink;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::*;

/// What no test waits longer than.
const DEADLINE: Duration = Duration::from_secs(10);

fn config_map(name: &str, value: &str) -> String {
    format!("---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\ndata: {{k: {value}}}\n")
}

fn objects(folder: &Folder) -> Vec<String> {
    let value = |map: &k8s_openapi::api::core::v1::ConfigMap| map.data.as_ref().map(|data| data["k"].clone());
    let maps = &folder.view().objects.config_maps;
    maps.iter().map(|(id, map)| format!("{}={}", id.name, value(map).unwrap_or_default())).collect()
}

/// Waits until the folder shows `expected` and nothing else, and says what it showed on the way.
async fn until(folder: &mut Folder, expected: &[&str]) -> Vec<Vec<String>> {
    let mut seen = Vec::new();
    while objects(folder) != expected {
        seen.push(objects(folder));
        let changed = tokio::time::timeout(DEADLINE, folder.changed()).await;
        changed.unwrap_or_else(|_| panic!("{:?} is not {expected:?}", objects(folder))).unwrap();
    }
    seen
}

async fn until_problem(folder: &mut Folder, part: &str) {
    while !folder.view().problems.iter().any(|problem| problem.to_string().contains(part)) {
        let changed = tokio::time::timeout(DEADLINE, folder.changed()).await;
        changed.unwrap_or_else(|_| panic!("{:?} lacks {part:?}", folder.view().problems)).unwrap();
    }
}

fn folder_of(files: &[(&str, &str)]) -> (TempDir, Folder) {
    let directory = tempfile::tempdir().unwrap();
    for (name, value) in files {
        fs::write(directory.path().join(name).with_extension("yaml"), config_map(name, value)).unwrap();
    }
    let folder = Folder::open(directory.path()).unwrap();
    (directory, folder)
}

/// Runs `change` several times and checks how long after its end it is live: within 100 ms, but where the machine was busy
/// with something else, as it may be most of the time.
async fn is_live_soon(folder: &mut Folder, mut change: impl FnMut(usize) -> Vec<String>) {
    let mut delays = Vec::new();
    for round in 0..7 {
        let expected = change(round);
        let written = Instant::now();
        until(folder, &expected.iter().map(String::as_str).collect::<Vec<_>>()).await;
        delays.push(written.elapsed());
    }
    delays.sort();
    assert!(delays[1] <= Duration::from_millis(100) && delays[6] <= Duration::from_secs(5), "{delays:?}");
}

#[tokio::test]
async fn a_written_file_is_live_within_100_ms() {
    let (directory, mut folder) = folder_of(&[("a", "start")]);
    let path = directory.path().join("a.yaml");
    is_live_soon(&mut folder, |round| {
        fs::write(&path, config_map("a", &format!("v{round}"))).unwrap();
        vec![format!("a=v{round}")]
    })
    .await;
}

#[tokio::test]
async fn a_renamed_over_file_is_live_within_100_ms() {
    let (directory, mut folder) = folder_of(&[("a", "start")]);
    is_live_soon(&mut folder, |round| {
        let new = directory.path().join(".a.yaml.swp");
        fs::write(&new, config_map("a", &format!("v{round}"))).unwrap();
        fs::rename(new, directory.path().join("a.yaml")).unwrap();
        vec![format!("a=v{round}")]
    })
    .await;
}

#[tokio::test]
async fn a_deleted_and_a_new_file_are_live_within_100_ms() {
    let (directory, mut folder) = folder_of(&[("a", "v")]);
    let path = directory.path().join("b.yaml");
    is_live_soon(&mut folder, |round| {
        if round % 2 == 0 {
            fs::write(&path, config_map("b", "v")).unwrap();
            return vec!["a=v".into(), "b=v".into()];
        }
        fs::remove_file(&path).unwrap();
        vec!["a=v".into()]
    })
    .await;
}

/// Lays out a mounted ConfigMap, or swaps it as kubelet does.
fn mount(directory: &Path, version: usize) {
    let data = directory.join(format!("..2026_{version}"));
    fs::create_dir(&data).unwrap();
    for name in ["a", "b"] {
        fs::write(data.join(name).with_extension("yaml"), config_map(name, &format!("v{version}"))).unwrap();
    }
    symlink(data.file_name().unwrap(), directory.join("..data_tmp")).unwrap();
    fs::rename(directory.join("..data_tmp"), directory.join("..data")).unwrap();
    match version {
        0 => ["a.yaml", "b.yaml"].iter().for_each(|name| {
            symlink(Path::new("..data").join(name), directory.join(name)).unwrap();
        }),
        _ => fs::remove_dir_all(directory.join(format!("..2026_{}", version - 1))).unwrap(),
    }
}

#[tokio::test]
async fn a_mounted_config_map_is_swapped_as_one_within_100_ms() {
    let directory = tempfile::tempdir().unwrap();
    mount(directory.path(), 0);
    let mut folder = Folder::open(directory.path()).unwrap();
    assert_eq!(objects(&folder), ["a=v0", "b=v0"]);
    is_live_soon(&mut folder, |round| {
        mount(directory.path(), round + 1);
        vec![format!("a=v{}", round + 1), format!("b=v{}", round + 1)]
    })
    .await;
    mount(directory.path(), 8);
    let seen = until(&mut folder, &["a=v8", "b=v8"]).await;
    assert_eq!(seen, [["a=v7", "b=v7"]], "no mixture");
}

#[tokio::test]
async fn files_written_together_go_live_together() {
    let (directory, mut folder) = folder_of(&[("a", "old"), ("b", "old"), ("c", "old")]);
    for name in ["a", "b", "c"] {
        fs::write(directory.path().join(name).with_extension("yaml"), config_map(name, "new")).unwrap();
    }
    let seen = until(&mut folder, &["a=new", "b=new", "c=new"]).await;
    assert_eq!(seen, [["a=old", "b=old", "c=old"]]);
}

#[tokio::test]
async fn a_slowly_written_file_never_shows_half() {
    let (directory, mut folder) = folder_of(&[("a", "old"), ("b", "old")]);
    let path = directory.path().join("a.yaml");
    let writer = std::thread::spawn(move || {
        use std::io::Write;
        let mut file = fs::File::create(path).unwrap();
        for byte in (config_map("a", "new") + &config_map("c", "new")).bytes() {
            file.write_all(&[byte]).unwrap();
            // The pace of a slow editor is what this is about.
            std::thread::sleep(Duration::from_millis(2));
        }
    });
    let seen = until(&mut folder, &["a=new", "b=old", "c=new"]).await;
    writer.join().unwrap();
    assert!(seen.iter().flatten().all(|shown| !shown.ends_with('=')), "{seen:?}");
    assert!(seen.iter().all(|shown| shown.iter().any(|object| object.starts_with("a="))), "{seen:?}");
}

#[tokio::test]
async fn a_truncated_file_that_is_written_in_time_loses_nothing() {
    let (directory, mut folder) = folder_of(&[("a", "old")]);
    let path = directory.path().join("a.yaml");
    fs::write(&path, "").unwrap();
    // Well within the time that an emptied file is given.
    std::thread::sleep(Duration::from_millis(30));
    fs::write(&path, config_map("a", "new")).unwrap();
    assert_eq!(until(&mut folder, &["a=new"]).await, [["a=old"]]);
}

#[tokio::test]
async fn a_file_emptied_by_a_slow_command_loses_nothing_while_it_is_open() {
    let (directory, mut folder) = folder_of(&[("a", "old"), ("b", "old")]);
    let path = directory.path().join("a.yaml");
    let command = fs::File::create(&path).unwrap();
    fs::write(directory.path().join("b.yaml"), config_map("b", "new")).unwrap();
    until(&mut folder, &["a=old", "b=new"]).await;
    // Longer than a file may be empty that nobody has open.
    assert!(tokio::time::timeout(Duration::from_millis(300), folder.changed()).await.is_err());
    drop(command);
    until(&mut folder, &["b=new"]).await;
}

#[tokio::test]
async fn names_need_not_be_utf_8() {
    use std::os::unix::ffi::OsStrExt;
    let (directory, mut folder) = folder_of(&[]);
    let name = std::ffi::OsStr::from_bytes(b"\xff.YAML");
    fs::write(directory.path().join(name), config_map("a", "v")).unwrap();
    until(&mut folder, &["a=v"]).await;
}

#[tokio::test]
async fn a_broken_file_keeps_its_objects_and_heals() {
    let (directory, mut folder) = folder_of(&[("a", "old"), ("b", "old")]);
    let path = directory.path().join("a.yaml");
    fs::write(&path, "metadata: {\n").unwrap();
    until_problem(&mut folder, "a.yaml:2:1: ").await;
    assert_eq!(objects(&folder), ["a=old", "b=old"]);
    fs::write(&path, config_map("a", "new")).unwrap();
    until(&mut folder, &["a=new", "b=old"]).await;
    assert_eq!(folder.view().problems, []);
}

#[tokio::test]
async fn a_start_on_a_broken_file_starts_with_the_rest() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("a.yaml"), "[").unwrap();
    fs::write(directory.path().join("b.yml"), config_map("b", "v")).unwrap();
    fs::write(directory.path().join("c.txt"), "[").unwrap();
    symlink("nowhere", directory.path().join("d.json")).unwrap();
    let folder = Folder::open(directory.path()).unwrap();
    assert_eq!(objects(&folder), ["b=v"]);
    let problems: Vec<_> =
        folder.view().problems.iter().map(|problem| problem.file.rsplit('/').next().unwrap()).collect();
    assert_eq!(problems, ["a.yaml", "d.json"]);
}

#[tokio::test]
async fn sub_folders_come_go_and_come_again() {
    let (directory, mut folder) = folder_of(&[("a", "v")]);
    let sub = directory.path().join("sub/deep");
    for value in ["one", "two"] {
        fs::create_dir_all(&sub).unwrap();
        fs::write(sub.join("b.yaml"), config_map("b", value)).unwrap();
        until(&mut folder, &["a=v", &format!("b={value}")]).await;
        fs::write(sub.join("c.yaml"), config_map("c", value)).unwrap();
        until(&mut folder, &["a=v", &format!("b={value}"), &format!("c={value}")]).await;
        fs::remove_dir_all(directory.path().join("sub")).unwrap();
        until(&mut folder, &["a=v"]).await;
    }
    assert_eq!(folder.view().problems, []);
}

#[tokio::test]
async fn a_vanished_folder_keeps_its_objects_until_it_is_back() {
    let parent = tempfile::tempdir().unwrap();
    let root = parent.path().join("config");
    fs::create_dir(&root).unwrap();
    fs::write(root.join("a.yaml"), config_map("a", "old")).unwrap();
    let mut folder = Folder::open(&root).unwrap();
    fs::remove_dir_all(&root).unwrap();
    until_problem(&mut folder, "config: cannot be read: No such file or directory").await;
    assert_eq!(objects(&folder), ["a=old"]);
    fs::create_dir(&root).unwrap();
    fs::write(root.join("a.yaml"), config_map("a", "new")).unwrap();
    until(&mut folder, &["a=new"]).await;
    assert_eq!(folder.view().problems, []);
    fs::write(root.join("a.yaml"), config_map("a", "newer")).unwrap();
    until(&mut folder, &["a=newer"]).await;
}

#[tokio::test]
async fn one_file_may_stand_for_a_folder() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("objects");
    fs::write(&path, config_map("a", "start")).unwrap();
    let mut folder = Folder::open(&path).unwrap();
    is_live_soon(&mut folder, |round| {
        let new = directory.path().join("new");
        fs::write(&new, config_map("a", &format!("v{round}"))).unwrap();
        fs::rename(new, &path).unwrap();
        vec![format!("a=v{round}")]
    })
    .await;
}

#[tokio::test]
async fn links_are_followed_out_of_the_folder() {
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("a.yaml"), config_map("a", "old")).unwrap();
    let (directory, mut folder) = folder_of(&[]);
    symlink(outside.path().join("a.yaml"), directory.path().join("link.yaml")).unwrap();
    until(&mut folder, &["a=old"]).await;
    is_live_soon(&mut folder, |round| {
        fs::write(outside.path().join("a.yaml"), config_map("a", &format!("v{round}"))).unwrap();
        vec![format!("a=v{round}")]
    })
    .await;
}

#[tokio::test]
async fn a_link_that_leads_back_is_reported() {
    let (directory, _) = folder_of(&[("a", "v")]);
    symlink(".", directory.path().join("loop")).unwrap();
    let folder = Folder::open(directory.path()).unwrap();
    assert_eq!(objects(&folder), ["a=v"]);
    assert!(
        folder.view().problems[0]
            .to_string()
            .ends_with("/loop: the link leads back to a folder above it and is not followed")
    );
}

#[tokio::test]
async fn files_that_are_too_large_or_no_files_are_reported() {
    let directory = tempfile::tempdir().unwrap();
    fs::File::create(directory.path().join("large.yaml")).unwrap().set_len(20 << 20).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(directory.path().join("socket.yaml")).unwrap();
    let folder = Folder::open(directory.path()).unwrap();
    let problems: Vec<_> = folder.view().problems.iter().map(|problem| problem.reason.as_str()).collect();
    assert_eq!(
        problems,
        [
            "the file has 20 MiB; at most 16 MiB are read; the file is left out",
            "it is not a regular file; the file is left out"
        ]
    );
}

#[tokio::test]
async fn reload_reads_what_no_event_told() {
    let (directory, mut folder) = folder_of(&[("a", "old")]);
    let path = directory.path().join("a.yaml");
    fs::write(&path, config_map("a", "new")).unwrap();
    folder.reload();
    until(&mut folder, &["a=new"]).await;
}

#[test]
fn a_path_that_cannot_be_read_is_an_error() {
    let error = Folder::open(Path::new("/no/such/folder")).unwrap_err();
    assert_eq!(error.to_string(), "cannot read /no/such/folder");
    assert_eq!(error.source.kind(), io::ErrorKind::NotFound);
    assert_eq!(Folder::open(Path::new("/dev/null")).unwrap_err().source.to_string(), "neither a folder nor a file");
}

#[test]
fn several_paths_are_read_once_as_one() {
    let directory = tempfile::tempdir().unwrap();
    let (a, b) = (directory.path().join("a.yaml"), directory.path().join("b"));
    fs::write(&a, config_map("a", "one")).unwrap();
    fs::create_dir(&b).unwrap();
    fs::write(b.join("x.yaml"), config_map("a", "two") + &config_map("b", "two")).unwrap();
    let view = load(&[a, b]).unwrap();
    assert_eq!((view.count(), view.problems.len()), (2, 1));
}
