use std::fs;

use super::*;

fn config_map(name: &str) -> String {
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\n")
}

fn look(disk: &Disk) -> Batch {
    disk.look(&mut |_| {})
}

fn names(disk: &Disk) -> Vec<&str> {
    disk.view().objects.config_maps.keys().map(|id| id.name.as_str()).collect()
}

/// Sets the file's clock back, so that its stamp is trusted.
fn age(path: &Path) {
    let file = File::options().write(true).open(path).unwrap();
    file.set_modified(SystemTime::now() - Duration::from_secs(60)).unwrap();
}

#[test]
fn only_files_whose_stamp_moved_are_read() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("a.yaml");
    fs::write(&path, config_map("a")).unwrap();
    let mut disk = Disk::new(root.path());
    disk.commit(look(&disk), true);
    assert_eq!(look(&disk).touched.len(), 1, "just written: its stamp may miss the next write");
    age(&path);
    disk.commit(look(&disk), true);
    assert!(look(&disk).touched.is_empty());
    disk.distrust();
    assert_eq!(look(&disk).changes.len(), 1);
}

#[test]
fn a_write_within_one_tick_of_the_clock_is_found() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("a.yaml");
    fs::write(&path, config_map("a")).unwrap();
    let modified = fs::metadata(&path).unwrap().modified().unwrap();
    let mut disk = Disk::new(root.path());
    disk.commit(look(&disk), true);
    fs::write(&path, config_map("b")).unwrap();
    File::options().write(true).open(&path).unwrap().set_modified(modified).unwrap();
    assert!(disk.commit(look(&disk), true));
    assert_eq!(names(&disk), ["b"]);
}

#[test]
fn losses_can_be_held_back_while_the_rest_goes_live() {
    let root = tempfile::tempdir().unwrap();
    let path = |name: &str| root.path().join(name);
    fs::write(path("a.yaml"), config_map("a")).unwrap();
    let mut disk = Disk::new(root.path());
    disk.commit(look(&disk), true);
    fs::write(path("a.yaml"), "").unwrap();
    fs::write(path("b.yaml"), config_map("b")).unwrap();
    let batch = look(&disk);
    assert!(batch.loses);
    disk.commit(batch, false);
    assert_eq!(names(&disk), ["a", "b"]);
    let batch = look(&disk);
    assert!(batch.loses, "it is still there to be found");
    disk.commit(batch, true);
    assert_eq!(names(&disk), ["b"]);
}

#[test]
fn files_of_a_folder_that_cannot_be_listed_stay() {
    let root = tempfile::tempdir().unwrap();
    let sub = root.path().join("sub");
    fs::create_dir(&sub).unwrap();
    fs::write(sub.join("a.yaml"), config_map("a")).unwrap();
    fs::write(root.path().join("b.yaml"), config_map("b")).unwrap();
    let mut disk = Disk::new(root.path());
    disk.commit(look(&disk), true);
    // What a listing says when the permission is gone; the superuser always has it.
    let listing = Listing { unlisted: vec![sub], ..Listing::default() };
    disk.commit(disk.compare(listing), true);
    assert_eq!(names(&disk), ["a"]);
}

#[test]
fn a_vanished_folder_is_told_once() {
    let root = tempfile::tempdir().unwrap();
    fs::write(root.path().join("a.yaml"), config_map("a")).unwrap();
    let mut disk = Disk::new(root.path());
    disk.commit(look(&disk), true);
    root.close().unwrap();
    let batch = look(&disk);
    assert!(batch.loses);
    assert!(disk.commit(batch, true));
    assert_eq!((names(&disk), disk.view().problems.len()), (vec!["a"], 1));
    let batch = look(&disk);
    assert!(!batch.loses);
    assert!(!disk.commit(batch, true));
}
