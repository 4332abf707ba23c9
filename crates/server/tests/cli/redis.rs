//! The service on Redis: what a start refuses, what `doctor` finds, what the shipped settings do.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use launchkit_testkit::redis::{Cluster, Kind, RedisServer, RedisSetup, SentinelFleet};

use crate::support::{On, Place, Server, assert_does_a_job, assert_found, found, ready};

/// A Redis that is not ready, why, and what makes it so.
type Cure<'a> = (&'a Place, &'static str, &'a dyn Fn(&Place));

const SHIPPED: &str = include_str!("../../../../deploy/redis.conf");

/// Settings of the shipped file, as on a command line.
fn shipped() -> Vec<String> {
    let lines = SHIPPED.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    lines
        .flat_map(|line| {
            let (name, value) = line.split_once(' ').unwrap();
            [format!("--{name}"), value.to_owned()]
        })
        .collect()
}

/// Waited for are a server that is gone, one that hangs, a replica whose primary is away, and one that is none yet.
#[test]
fn a_redis_that_is_not_ready_is_waited_for() {
    let replica = ["--replicaof", "127.0.0.1 9"];
    let away = |setup: RedisSetup| Place::with(setup.start().unwrap());
    let setup = || RedisSetup::new(Kind::Redis);
    let (gone, hung) = (Place::on(On::Redis), Place::on(On::Redis));
    let (down, copy) =
        (away(setup().with(replica).with(["--replica-serve-stale-data", "no"])), away(setup().with(replica)));
    gone.redis().kill();
    hung.redis().freeze().unwrap();
    let promote = |place: &Place| drop(place.redis().command(&["REPLICAOF", "NO", "ONE"]).unwrap());
    let cures: [Cure<'_>; 4] = [
        (&gone, "no connection to Redis", &|place| place.redis().restart().unwrap()),
        (&hung, "Redis does not answer", &|place| place.redis().thaw().unwrap()),
        (&down, "MASTERDOWN", &promote),
        (&copy, "READONLY", &promote),
    ];
    let starts: Vec<Server> = cures.iter().map(|(place, ..)| place.begin("serve", &[])).collect();
    for ((place, why, cure), server) in cures.iter().zip(starts) {
        server.says("waiting for Redis");
        assert!(server.log().contains(why), "{why}: {}", server.log());
        cure(place);
        let server = server.ready();
        assert!(!place.path("launchkit-data/queue.db").exists());
        assert_does_a_job(place, &server);
        assert_eq!(server.stop().0, Some(0));
    }
}

#[test]
fn a_wait_for_redis_ends_with_the_stop() {
    let place = Place::new();
    let environment = [("REDIS_URL", "redis://:hunter2@127.0.0.1:9")];
    for command in ["serve", "worker"] {
        let waiting = place.begin(command, &environment);
        waiting.says("127.0.0.1:9");
        let log = waiting.log();
        assert!(log.contains("waiting for Redis") && !log.contains("hunter2"), "{log}");
        let begun = Instant::now();
        assert_eq!(waiting.stop(), (Some(0), String::new()));
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    }
    assert!(!place.path("launchkit-data/queue.db").exists());
    let ran = place.run(&["doctor", "--json"], &environment);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert_found(&ran, "redis", "bad", "serve would wait for it");
}

#[test]
fn what_waiting_does_not_cure_ends_the_start() {
    let place = Place::with(RedisSetup::new(Kind::Redis).with(["--requirepass", "right"]).start().unwrap());
    let at = format!("127.0.0.1:{}", place.redis().port());
    for (url, part) in [
        (format!("redis://:hunter2@{at}"), "password"),
        (format!("redis://{at}"), "password"),
        (format!("redis://:right@{at}/99"), "no database of this number"),
    ] {
        for command in ["serve", "worker"] {
            let ran = place.run(&[command], &[("REDIS_URL", &url), ("PORT", "0")]);
            assert_eq!(ran.code, 1, "{ran:?}");
            assert!(ran.err.contains(part) && !ran.err.contains("hunter"), "{ran:?}");
        }
        let ran = place.run(&["doctor", "--json"], &[("REDIS_URL", &url)]);
        assert_found(&ran, "redis", "bad", "serve would not start");
    }
    let place = Place::on(On::Redis);
    place.redis().command(&["ACL", "SETUSER", "few", "on", ">pw", "~bull:*", "+get"]).unwrap();
    let ran = place.run(&["serve"], &[("REDIS_USERNAME", "few"), ("REDIS_PASSWORD", "pw"), ("PORT", "0")]);
    assert!(ran.code == 1 && ran.err.contains("its ACL lacks a command"), "{ran:?}");
}

#[test]
fn an_encrypted_redis_takes_who_has_the_papers() {
    let place = Place::with(RedisSetup::new(Kind::Redis).encrypted().and_then(RedisSetup::start).unwrap());
    let papers = place.redis().papers().unwrap();
    let files = [("ca.pem", &papers.authority), ("own.pem", &papers.client.0), ("key.pem", &papers.client.1)];
    for (name, text) in files {
        std::fs::write(place.path(name), text).unwrap();
    }
    let known = [("REDIS_TLS_CA", "ca.pem"), ("REDIS_TLS_CERT", "own.pem"), ("REDIS_TLS_KEY", "key.pem")];
    let ran = place.run(&["doctor", "--json"], &[&known[..], &[("PORT", "0")]].concat());
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_found(&ran, "redis", "ok", "Redis ");
    let settings = ran.json()["settings"].clone();
    let shown = |name: &str| settings.as_array().unwrap().iter().find(|fact| fact["name"] == name).unwrap().clone();
    assert_eq!(
        (&shown("REDIS_TLS_CA")["value"], &shown("REDIS_TLS_KEY")["value"]),
        (&"ca.pem".into(), &"key.pem".into())
    );
    let server = place.serve(&known);
    assert_does_a_job(&place, &server);
    assert_eq!(server.stop().0, Some(0));
    for lacking in [&known[..1], &known[1..]] {
        let ran = place.run(&["serve"], &[lacking, &[("PORT", "0")]].concat());
        assert!(ran.code == 1 && ran.err.to_lowercase().contains("certificate"), "{ran:?}");
    }
}

#[test]
fn doctor_is_content_with_the_shipped_settings_and_a_running_server() {
    let place = Place::with(RedisSetup::new(Kind::Redis).with(shipped()).start().unwrap());
    let before = place.run(&["doctor", "--json"], &[("PORT", "0")]);
    assert_eq!(before.code, 0, "{before:?}");
    assert_found(&before, "redis prefix", "ok", "no deployment has claimed");
    let server = place.serve(&[]);
    let ran = place.run(&["doctor", "--json"], &[("PORT", "0")]);
    assert_eq!(ran.code, 0, "{ran:?}");
    for (name, part) in [
        ("redis", "Redis "),
        ("redis prefix", "bull, claimed by this deployment"),
        ("redis policy", "noeviction"),
        ("redis memory", "of 1024 MiB used"),
        ("redis persistence", "synced each second"),
        ("redis role", "primary"),
        ("redis clock", "ms from this machine's"),
        ("redis rights", "all that is needed"),
        ("queue", "ai-jobs: 0 waiting, 0 active, 0 delayed, 0 failed; 1 workers alive"),
    ] {
        assert_found(&ran, name, "ok", part);
    }
    let report = ran.json();
    let settings = report["settings"].as_array().unwrap();
    let fact = |name: &str| settings.iter().find(|fact| fact["name"] == name).unwrap()["value"].clone();
    assert_eq!((fact("LAUNCHKIT_STORE"), fact("REDIS_URL")), ("redis".into(), "(hidden)".into()));
    assert!(report["warnings"][0].as_str().unwrap().contains("only processes of this machine"));
    assert_eq!(server.stop().0, Some(0));
}

#[test]
fn doctor_tells_what_is_wrong_and_a_server_warns_of_eviction() {
    let settings = ["--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"];
    let place = Place::with(RedisSetup::new(Kind::Redis).with(settings).start().unwrap());
    let server = place.serve(&[]);
    assert!(server.log().contains("set maxmemory-policy to noeviction"), "{}", server.log());
    let ready = ready(&server, 200);
    assert!(ready["warnings"][0].as_str().unwrap().contains("allkeys-lru"), "{ready}");

    let redis = place.redis();
    // Somebody's worker and producer, as BullMQ's would look, and a job of theirs that failed.
    let mut line = TcpStream::connect(("127.0.0.1", redis.port())).unwrap();
    line.write_all(b"CLIENT SETNAME bull:YWktam9icw==:w:nodejs\r\n").unwrap();
    let mut ok = [0; 5];
    line.read_exact(&mut ok).unwrap();
    redis.command(&["HSET", "bull:ai-jobs:meta", "version", "bullmq:6.7.0"]).unwrap();
    let failed = ["name", "n", "data", "{}", "opts", "{}", "timestamp", "1", "finishedOn", "1", "failedReason", "boom"];
    redis.command(&[&["HSET", "bull:webhooks:f"][..], &failed].concat()).unwrap();
    redis.command(&["ZADD", "bull:webhooks:failed", "1", "f"]).unwrap();
    redis.command(&["HSET", "bull:webhooks:meta", "paused", "1"]).unwrap();
    redis.command(&["SET", "bull::lk-deployment", "somebody else's"]).unwrap();

    let ran = place.run(&["doctor", "--json"], &[("PORT", "0")]);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert_found(&ran, "redis policy", "bad", "CONFIG SET maxmemory-policy noeviction");
    assert_found(&ran, "redis persistence", "note", "nothing is kept on disk");
    assert_found(&ran, "redis prefix", "bad", "another deployment");
    assert_found(&ran, "queue", "bad", "workers of another program (bullmq:6.7.0)");
    assert_found(&ran, "queue", "bad", "nodejs from 127.0.0.1:");
    assert_found(&ran, "queue", "note", "webhooks: 0 waiting, 0 active, 0 delayed, 1 failed; paused");
    assert_found(&ran, "queue", "note", "webhooks: f failed last, 1970-01-01T00:00:00.001Z: boom");
    let people = place.run(&["doctor"], &[("PORT", "0")]);
    assert!(people.out.contains("BAD      redis policy"), "{people:?}");
    assert_eq!(server.stop().0, Some(0));

    let replica = RedisSetup::new(Kind::Redis).with(["--replicaof", "127.0.0.1 9"]).start().unwrap();
    let ran = Place::with(replica).run(&["doctor", "--json"], &[]);
    assert_found(&ran, "redis role", "bad", "a replica of 127.0.0.1:9");
}

#[test]
fn sentinels_and_a_cluster_serve_as_well() {
    let hosts = |urls: Vec<String>| {
        let hosts = urls.iter().map(|url| url.trim_start_matches("redis://").trim_end_matches('/'));
        hosts.collect::<Vec<_>>().join(",")
    };
    let fleet = SentinelFleet::start(Kind::Redis).unwrap();
    let url = format!("redis-sentinel://{}/{}", hosts(fleet.urls()), fleet.name());
    let (place, environment) = (Place::new(), [("REDIS_URL", url.as_str())]);
    let server = place.serve(&environment);
    assert_does_a_job(&place, &server);
    assert_found(&place.run(&["doctor", "--json"], &environment), "redis role", "ok", "primary with 1 replicas");
    fleet.failover().unwrap();
    assert_does_a_job(&place, &server);
    assert!(server.log().contains("connected to Redis again"), "{}", server.log());
    assert_eq!(server.stop().0, Some(0));

    let cluster = Cluster::start(Kind::Redis).unwrap();
    let url = format!("redis-cluster://{}", hosts(cluster.urls()));
    // As the shipped file says: another pattern, and one command more.
    let rule = format!("{} +cluster|slots", suggested_user().replace("~bull:*", "~{bull}:*"));
    for node in cluster.nodes() {
        node.command(&["ACL SETUSER", &rule].join(" ").split(' ').collect::<Vec<_>>()).unwrap();
    }
    let login = [("REDIS_USERNAME", "launchkit"), ("REDIS_PASSWORD", "CHANGE-ME")];
    let (place, environment) = (Place::new(), [login[0], login[1], ("REDIS_URL", url.as_str())]);
    let server = place.serve(&environment);
    assert_does_a_job(&place, &server);
    let ran = place.run(&["doctor", "--json"], &environment);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_found(&ran, "redis", "ok", "cluster");
    assert_found(&ran, "redis prefix", "ok", "{bull}, claimed by this deployment");
    assert_found(&ran, "redis rights", "ok", "all that is needed");
    assert_found(&ran, "queue", "ok", "1 workers alive");
    assert_eq!(server.stop().0, Some(0));
}

fn suggested_user() -> &'static str {
    SHIPPED.lines().find_map(|line| line.strip_prefix("# user ")).unwrap()
}

/// The user that the shipped file suggests, on both servers.
#[test]
fn the_suggested_user_may_do_what_is_needed_and_no_more() {
    let rule: Vec<&str> = suggested_user().split(' ').collect();
    for kind in [Kind::Redis, Kind::Valkey] {
        let redis = RedisServer::start(kind).unwrap();
        redis.command(&[&["ACL", "SETUSER"][..], &rule].concat()).unwrap();
        let place = Place::with(redis);
        let login = [("REDIS_USERNAME", "launchkit"), ("REDIS_PASSWORD", "CHANGE-ME")];
        let server = place.serve(&login);
        assert_does_a_job(&place, &server);
        let ran = place.run(&["doctor", "--json"], &login);
        assert_found(&ran, "redis rights", "ok", "all that is needed");
        assert_found(&ran, "redis policy", "ok", "noeviction");
        assert_eq!(found(&ran, "redis rights").len(), 1, "{ran:?}");
        assert!(!ran.out.contains("CHANGE-ME") && !server.log().contains("CHANGE-ME"));

        place.redis().command(&["ACL", "SETUSER", "launchkit", "-xadd", "-hset", "-client|list"]).unwrap();
        let ran = place.run(&["doctor", "--json"], &login);
        assert_found(&ran, "redis rights", "bad", "hset, xadd");
        assert_found(&ran, "redis rights", "note", "client|list");
        place.redis().command(&["ACL", "SETUSER", "launchkit", "+xadd", "+hset", "resetkeys", "~else:*"]).unwrap();
        let ran = place.run(&["doctor", "--json"], &login);
        assert_found(&ran, "redis rights", "bad", "keys");
        assert_found(&ran, "redis prefix", "note", "may not read whose it is");
        // Everybody may ask whether the service is ready; what Redis says of the user is for its operators.
        place.redis().command(&["ACL", "SETUSER", "launchkit", "~bull:*", "-evalsha"]).unwrap();
        assert_eq!(ready(&server, 503)["detail"], "The queue does not answer: login, rights or version refused.");
        server.says("NOPERM");
        place.redis().command(&["ACL", "SETUSER", "launchkit", "+evalsha"]).unwrap();
        assert_eq!(server.stop().0, Some(0));
    }
}
