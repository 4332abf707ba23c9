//! Organisations, keys, audit.

use super::*;

both![
    the_default_organisation_is_made_once,
    organisations_are_listed_in_pages_and_plans_change,
    a_key_is_shown_once_found_by_its_prefix_and_verified,
    a_wrong_secret_or_mode_is_not_the_key,
    a_key_can_be_revoked_by_its_own_organisation_only,
    a_use_is_noted_once_a_minute,
    the_audit_is_per_organisation_newest_first,
];

impl Fixture {
    async fn key(&self, mode: KeyMode) -> (KeyRow, String) {
        let key = NewKey {
            org: self.org.clone(),
            name: "test".to_owned(),
            mode,
            scopes: vec!["jobs:read".to_owned(), "jobs:write".to_owned()],
            expires_at: Some(NOW + HOUR),
        };
        self.ledger.create_key(&key, NOW).await.unwrap().unwrap()
    }
}

async fn the_default_organisation_is_made_once(f: Fixture) {
    let first = f.ledger.org(&f.org).await.unwrap().unwrap();
    let again = f.ledger.ensure_default_org(NOW + 5).await.unwrap();
    assert_eq!(first, again);
    assert_eq!(f.number("SELECT COUNT(*) FROM orgs").await, 1);
    assert_eq!(f.ledger.org("nobody").await.unwrap(), None);
}

async fn organisations_are_listed_in_pages_and_plans_change(f: Fixture) {
    for _ in 0..4 {
        f.limited_org(Some(1), None).await;
    }
    let l = &f.ledger;
    let all = l.list_orgs(None, 100).await.unwrap();
    assert_eq!(all.len(), 5);
    let some = l.list_orgs(None, 2).await.unwrap();
    let rest = l.list_orgs(Some(&some[1].id), 100).await.unwrap();
    assert_eq!([some, rest].concat(), all);
    let plan = Plan { name: "big".to_owned(), jobs_limit: None, tokens_limit: Some(9) };
    assert!(l.set_plan(&all[0].id, &plan).await.unwrap());
    assert_eq!(l.org(&all[0].id).await.unwrap().unwrap().plan, plan);
    assert!(!l.set_plan("nobody", &plan).await.unwrap());
}

async fn a_key_is_shown_once_found_by_its_prefix_and_verified(f: Fixture) {
    for (mode, begin) in [(KeyMode::Live, "lk_live_"), (KeyMode::Test, "lk_test_")] {
        let (row, whole) = f.key(mode).await;
        assert!(whole.starts_with(begin), "{whole}");
        let parsed = parse_key(&whole).unwrap();
        let found = f.ledger.find_key(parsed.prefix).await.unwrap().unwrap();
        assert_eq!(found, row);
        assert!(verify_key(&found, &parsed));
        assert!(found.is_usable(NOW) && !found.is_usable(NOW + HOUR));
        // What is stored does not contain the secret, and what is shown of a parsed key neither.
        assert!(!format!("{found:?} {parsed:?}").contains(parsed.secret));
    }
    assert_eq!(f.ledger.find_key("000000000000").await.unwrap(), None);
    let nowhere = NewKey {
        org: "nobody".to_owned(),
        name: String::new(),
        mode: KeyMode::Live,
        scopes: Vec::new(),
        expires_at: None,
    };
    assert_eq!(f.ledger.create_key(&nowhere, NOW).await.unwrap(), None);
    assert_eq!(f.ledger.list_keys(&f.org).await.unwrap().len(), 2);
}

async fn a_wrong_secret_or_mode_is_not_the_key(f: Fixture) {
    let (row, whole) = f.key(KeyMode::Live).await;
    let (_, other) = f.key(KeyMode::Live).await;
    assert!(!verify_key(&row, &parse_key(&other).unwrap()));
    let last = if whole.ends_with('0') { "1" } else { "0" };
    let changed = format!("{}{last}", &whole[..whole.len() - 1]);
    assert!(!verify_key(&row, &parse_key(&changed).unwrap()));
    let test = whole.replacen("live", "test", 1);
    assert!(!verify_key(&row, &parse_key(&test).unwrap()));
    let bad = [
        String::new(),
        "lk_".to_owned(),
        "lk_live__".to_owned(),
        whole.to_uppercase(),
        whole.replacen("lk_", "sk_", 1),
        whole.replacen("live", "prod", 1),
        format!("{whole}0"),
        format!(" {whole}"),
        whole.replacen(&row.prefix, "ünïcödëprefi", 1),
    ];
    for text in bad {
        assert_eq!(parse_key(&text), None, "{text}");
    }
}

async fn a_key_can_be_revoked_by_its_own_organisation_only(f: Fixture) {
    let (row, _) = f.key(KeyMode::Live).await;
    let other = f.limited_org(None, None).await;
    let l = &f.ledger;
    assert!(!l.revoke_key(&other, &row.id, NOW).await.unwrap());
    assert_eq!(l.find_key(&row.prefix).await.unwrap().unwrap().revoked_at, None);
    assert!(l.list_keys(&other).await.unwrap().is_empty());
    for at in [NOW + 1, NOW + 2] {
        assert!(l.revoke_key(&f.org, &row.id, at).await.unwrap());
    }
    let revoked = l.find_key(&row.prefix).await.unwrap().unwrap();
    assert_eq!(revoked.revoked_at, Some(NOW + 1));
    assert!(!revoked.is_usable(NOW));
}

async fn a_use_is_noted_once_a_minute(f: Fixture) {
    let (row, _) = f.key(KeyMode::Live).await;
    let minute = 60_000;
    for (at, noted) in [(NOW, NOW), (NOW + minute - 1, NOW), (NOW + minute, NOW + minute)] {
        // Also with a row that was read long ago.
        f.ledger.touch_key(&row, at).await.unwrap();
        let found = f.ledger.find_key(&row.prefix).await.unwrap().unwrap();
        assert_eq!(found.last_used_at, Some(noted));
        f.ledger.touch_key(&found, at).await.unwrap();
        let found = f.ledger.find_key(&row.prefix).await.unwrap().unwrap();
        assert_eq!(found.last_used_at, Some(noted));
    }
}

async fn the_audit_is_per_organisation_newest_first(f: Fixture) {
    let entry = |org: Option<&str>, what: &str| AuditEntry {
        org: org.map(str::to_owned),
        who: "someone".to_owned(),
        what: what.to_owned(),
        target: "t".to_owned(),
        from: "127.0.0.1".to_owned(),
        at: NOW,
    };
    let l = &f.ledger;
    for what in ["one", "two", "three"] {
        l.audit(&entry(Some(&f.org), what)).await.unwrap();
    }
    l.audit(&entry(Some("other"), "foreign")).await.unwrap();
    l.audit(&entry(None, "queue.pause")).await.unwrap();
    let log = l.audit_log(&f.org, None, 2).await.unwrap();
    let whats: Vec<&str> = log.iter().map(|(_, entry)| entry.what.as_str()).collect();
    assert_eq!(whats, ["three", "two"]);
    let rest = l.audit_log(&f.org, Some(&log[1].0), 100).await.unwrap();
    assert_eq!(rest.len(), 1);
    assert_eq!(rest[0].1, entry(Some(&f.org), "one"));
}
