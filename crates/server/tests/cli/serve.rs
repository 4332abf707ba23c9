//! `serve` as a process: its line, its first key, its logs, its stop; and the commands that talk to it.

use std::io::{Read, Write};

use crate::support::{On, Place, on_each_store};

on_each_store! {
    the_first_start_keeps_its_key_in_a_private_file_and_the_second_makes_none
    commands_talk_to_a_server
    an_idle_connection_does_not_hold_up_the_stop
}

fn the_first_start_keeps_its_key_in_a_private_file_and_the_second_makes_none(on: On) {
    let place = Place::on(on);
    let server = place.serve(&[]);
    let key = server.first_key();
    assert!(server.log().contains("The first API key was written to"));
    let (code, rest) = server.stop();
    assert_eq!((code, rest.as_str()), (Some(0), ""));
    std::fs::remove_file(place.path("launchkit-data/first-api-key")).unwrap();
    let server = place.serve(&[]);
    assert!(!place.path("launchkit-data/first-api-key").exists());
    // The key of the first start is good in the second.
    let listed = place.run(&["jobs", "list", "--json"], &[("LAUNCHKIT_URL", &server.url), ("LAUNCHKIT_API_KEY", &key)]);
    assert_eq!((listed.code, &listed.json()["total"]), (0, &0.into()), "{listed:?}");
    let stderr = std::fs::read_to_string(place.path("stderr.log")).unwrap();
    let secret = key.rsplit('_').next().unwrap();
    assert!(!stderr.contains(secret) && !server.log().contains(secret));
}

fn commands_talk_to_a_server(on: On) {
    let place = Place::on(on);
    let server = place.serve(&[]);
    let token = place.run(&["token", "create", "--role", "operator"], &[]).out;
    let key = server.first_key();
    let environment =
        [("LAUNCHKIT_URL", server.url.as_str()), ("LAUNCHKIT_API_KEY", &key), ("LAUNCHKIT_TOKEN", token.trim_end())];
    let ask = |arguments: &[&str]| place.run(arguments, &environment);

    let text = ["jobs", "submit", "sentiment", "--text", "I love it", "--metadata", "team=blue", "--watch", "--json"];
    let done = ask(&text);
    assert_eq!((done.code, &done.json()["status"]), (0, &"SUCCEEDED".into()), "{done:?}");
    let id = done.json()["id"].as_str().unwrap().to_owned();
    assert_eq!(ask(&["jobs", "get", &id, "--json"]).json(), done.json());
    assert!(ask(&["jobs", "list", "--status", "succeeded"]).out.contains(&id));
    let refused = ask(&["jobs", "cancel", &id]);
    assert!(refused.code == 1 && refused.err.contains("job-already-finished"), "{refused:?}");
    let later = ask(&["jobs", "submit", "sentiment", "--text", "x", "--delay", "600000", "--json"]).json();
    let later = later["id"].as_str().unwrap();
    assert_eq!(ask(&["jobs", "cancel", later, "--json"]).json()["status"], "CANCELED");
    assert_eq!(ask(&["jobs", "watch", later]).code, 1);
    let bad = ask(&["jobs", "submit", "summarize", "--text", " "]);
    assert!(bad.code == 1 && bad.err.contains("/input/text"), "{bad:?}");

    assert_eq!(ask(&["queue", "pause", "--json"]).json()["message"], "Queue ai-jobs paused");
    assert_eq!(ask(&["queue", "metrics", "ai-jobs", "--json"]).json()["paused"], true);
    let waiting = ask(&["jobs", "submit", "sentiment", "--text", "x", "--json"]).json();
    assert_eq!(waiting["status"], "QUEUED");
    let explained = loop {
        let explained = ask(&["jobs", "explain", waiting["id"].as_str().unwrap()]).out;
        // It is carried to the queue a moment after its commit.
        if !explained.contains("not-in-queue") {
            break explained;
        }
    };
    assert!(explained.starts_with("QUEUED\nThe queue is paused: it gives out no jobs. (queue-paused)"), "{explained}");
    assert_eq!(ask(&["queue", "resume"]).out, "Queue ai-jobs resumed\n");
    assert_eq!(ask(&["jobs", "watch", waiting["id"].as_str().unwrap()]).code, 0);
    let cleaned = ask(&["queue", "clean", "--grace", "0", "--state", "completed", "--json"]).json();
    assert_eq!(cleaned["removed"]["failed"], 0);
    let limited = ask(&["queue", "limits", "--concurrency", "3", "--rate", "10", "--per", "1000"]);
    assert!(limited.out.contains("concurrency    3\nrate           10 in 1000 ms"), "{limited:?}");
    assert_eq!(ask(&["queue", "limits", "--json"]).json()["concurrency"], 3);
    let bad = ask(&["queue", "limits", "--hold", "long"]);
    assert!(bad.code == 1 && bad.err.contains("hold"), "{bad:?}");
    let none = ask(&["queue", "retry-failed", "--error", "nothing like it", "--dry-run", "--json"]).json();
    assert_eq!(none, serde_json::json!({"scanned": 0, "chosen": 0, "retried": 0, "overQuota": 0, "dry": true}));
    let viewer = place.run(&["token", "create", "--role", "viewer"], &[]).out;
    let environment = [("LAUNCHKIT_URL", server.url.as_str()), ("LAUNCHKIT_TOKEN", viewer.trim_end())];
    let refused = place.run(&["queue", "pause"], &environment);
    assert!(refused.code == 1 && refused.err.contains("forbidden"), "{refused:?}");
}

fn an_idle_connection_does_not_hold_up_the_stop(on: On) {
    let place = Place::on(on);
    let server = place.serve(&[("SHUTDOWN_GRACE", "20s")]);
    let mut idle = std::net::TcpStream::connect(server.url.strip_prefix("http://").unwrap()).unwrap();
    idle.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    let mut seen = [0; 15];
    idle.read_exact(&mut seen).unwrap();
    assert_eq!(&seen, b"HTTP/1.1 200 OK");
    let begun = std::time::Instant::now();
    assert_eq!(server.stop().0, Some(0));
    assert!(begun.elapsed().as_secs() < 15, "the stop waited for an idle connection: {:?}", begun.elapsed());
}

#[test]
fn logs_can_be_json_and_stand_in_the_file_too() {
    let place = Place::new();
    let server = place.serve(&[("LOG_FORMAT", "json")]);
    let (log, _) = (server.log(), server.stop());
    assert!(log.lines().count() >= 3);
    for line in log.lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(line["message"].is_string() && line["level"].is_string(), "{line}");
    }
}
