//! `backup` and `restore` as an operator uses them.

use std::os::unix::fs::PermissionsExt as _;

use serde_json::Value;

use crate::support::Place;

/// A deployment with one key, and a backup of it.
fn backed_up() -> (Place, Value) {
    let place = Place::new();
    assert_eq!(place.run(&["keys", "create"], &[]).code, 0);
    let ran = place.run(&["backup", "copy", "--json"], &[]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    (place, serde_json::from_str(&ran.out).unwrap())
}

#[test]
fn a_backup_says_what_it_has_and_is_its_owners_alone() {
    let (place, said) = backed_up();
    let written: Value = serde_json::from_slice(&std::fs::read(place.path("copy/backup.json")).unwrap()).unwrap();
    assert_eq!(written, said);
    let names: Vec<&str> =
        said["files"].as_array().unwrap().iter().map(|file| file["name"].as_str().unwrap()).collect();
    assert!(names.contains(&"launchkit.db"), "{said}");
    for entry in std::fs::read_dir(place.path("copy")).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o077, 0, "{:?}", entry.path());
    }
    assert_eq!(std::fs::metadata(place.path("copy")).unwrap().permissions().mode() & 0o077, 0);
}

#[test]
fn a_restored_deployment_knows_its_keys() {
    let (place, said) = backed_up();
    std::fs::rename(place.path("launchkit-data"), place.path("gone")).unwrap();
    let ran = place.run(&["restore", "copy", "--json"], &[]);
    assert_eq!((ran.code, serde_json::from_str::<Value>(&ran.out).unwrap()), (0, said), "{}", ran.err);
    let keys = |data: &str| place.run(&["keys", "list", "--json", "--data-dir", data], &[]).out;
    assert_eq!(keys("launchkit-data"), keys("gone"));
    let again = place.run(&["restore", "copy"], &[]);
    assert_eq!(again.code, 2, "{}", again.err);
    assert!(again.err.contains("is there already"), "{}", again.err);
}

#[test]
fn a_backup_writes_over_nothing_and_needs_a_deployment() {
    let (place, _) = backed_up();
    let again = place.run(&["backup", "copy"], &[]);
    assert!(again.code == 2 && again.err.contains("is there already"), "{}", again.err);
    let nothing = place.run(&["backup", "other", "--data-dir", "nowhere"], &[]);
    assert!(nothing.code == 2 && nothing.err.contains("no deployment"), "{}", nothing.err);
    assert!(!place.path("other").exists() && !place.path("nowhere").exists());
}

#[test]
fn a_damaged_or_strange_backup_is_refused_and_nothing_is_put_in_place() {
    let (place, said) = backed_up();
    let restore = || place.run(&["restore", "copy", "--data-dir", "new"], &[]);
    let (file, manifest) = (place.path("copy/launchkit.db"), place.path("copy/backup.json"));
    let whole = std::fs::read(&file).unwrap();
    let mut damaged = whole.clone();
    damaged[5_000] ^= 1;
    std::fs::write(&file, damaged).unwrap();
    let ran = restore();
    assert!(ran.code == 1 && ran.err.contains("is damaged"), "{}", ran.err);
    std::fs::write(&file, whole).unwrap();
    for (at, value) in
        [("/format", Value::from(2)), ("/files/0/name", Value::from("../evil")), ("/files", Value::Array(vec![]))]
    {
        let mut strange = said.clone();
        *strange.pointer_mut(at).unwrap() = value;
        std::fs::write(&manifest, strange.to_string()).unwrap();
        let ran = restore();
        assert!(ran.code == 2 && ran.err.contains("no backup that this version can read"), "{at}: {}", ran.err);
    }
    assert_eq!(std::fs::read_dir(place.path("new")).unwrap().count(), 0, "nothing was put in place");
    std::fs::write(&manifest, said.to_string()).unwrap();
    assert_eq!(restore().code, 0);
}

#[test]
fn a_restore_goes_only_where_nothing_of_a_deployment_is() {
    let (place, _) = backed_up();
    for stray in ["queue.db", "queue.db-wal", "launchkit.db-journal", "secret-key"] {
        let data = format!("with-{stray}");
        std::fs::create_dir(place.path(&data)).unwrap();
        std::fs::write(place.path(&data).join(stray), "another's").unwrap();
        let ran = place.run(&["restore", "copy", "--data-dir", &data], &[]);
        assert!(ran.code == 2 && ran.err.contains(stray), "{}", ran.err);
        assert_eq!(std::fs::read_dir(place.path(&data)).unwrap().count(), 1);
    }
}

#[test]
fn a_name_with_a_slash_at_its_end_is_a_name() {
    let (place, _) = backed_up();
    let ran = place.run(&["backup", "other/"], &[]);
    assert!(ran.code == 0 && place.path("other/backup.json").exists(), "{}", ran.err);
}

#[test]
fn with_postgresql_the_operator_is_told_what_to_do() {
    let shared = [("DATABASE_URL", "postgres://somewhere/launchkit"), ("REDIS_URL", "redis://somewhere")];
    let ran = Place::new().run(&["backup", "copy"], &shared);
    assert!(ran.code == 2 && ran.err.contains("pg_dump"), "{}", ran.err);
}
