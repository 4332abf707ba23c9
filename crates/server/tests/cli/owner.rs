//! Whose the queue on Redis is: one deployment's at a time, and no other program's.

use launchkit_testkit::redis::{Kind, RedisServer};

use crate::support::{On, Place, Server, assert_does_a_job, assert_found, ready};

#[test]
fn the_queue_of_another_deployment_or_program_is_left_alone() {
    let place = Place::on(On::Redis);
    let server = place.serve(&[]);
    assert!(!place.path("launchkit-data/queue.db").exists());
    // A second machine with a database of its own.
    let other = Place::new();
    let url = place.redis().url();
    let ran = other.run(&["serve"], &[("REDIS_URL", &url), ("PORT", "0")]);
    assert!(ran.code == 1 && ran.err.contains("another deployment") && ran.err.contains("QUEUE_PREFIX"), "{ran:?}");
    let ran = other.run(&["doctor", "--json"], &[("REDIS_URL", &url)]);
    assert_found(&ran, "redis prefix", "bad", "another deployment");
    assert_eq!(server.stop().0, Some(0));

    let redis = RedisServer::start(Kind::Redis).unwrap();
    fill(&redis);
    let place = Place::new();
    let ran = place.run(&["serve"], &[("REDIS_URL", &redis.url()), ("PORT", "0")]);
    assert!(ran.code == 1 && ran.err.contains("holds jobs of another program"), "{ran:?}");
    let ran = place.run(&["doctor", "--json"], &[("REDIS_URL", &redis.url()), ("PORT", "0")]);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert_found(&ran, "queue", "bad", "ai-jobs holds jobs of another program");
    assert_found(&ran, "queue", "bad", "serve will not start. Set another QUEUE_PREFIX");
    assert_eq!(redis.command(&["LLEN", "bull:ai-jobs:wait"]).unwrap(), "1");
    assert_eq!(redis.command(&["EXISTS", "bull::lk-deployment"]).unwrap(), "0");
    let server = place.serve(&[("REDIS_URL", &redis.url()), ("QUEUE_PREFIX", "mine")]);
    assert_eq!(server.stop().0, Some(0));
}

/// Whoever claims an emptied Redis first has it.
#[test]
fn a_deployment_whose_redis_was_taken_stands_back_until_it_has_it_again() {
    let (ours, theirs) = (Place::on(On::Redis), Place::new());
    let url = ours.redis().url();
    let server = ours.serve(&[]);
    assert_does_a_job(&ours, &server);
    server.signal("STOP");
    ours.redis().command(&["FLUSHALL"]).unwrap();
    let other = theirs.serve(&[("REDIS_URL", &url)]);
    server.signal("CONT");

    let why = ready(&server, 503);
    assert_eq!(why["detail"], "Another deployment has claimed the queue.");
    server.says("the worker has stopped");
    let accepted = submit(&ours, &server);
    let done = server.log().matches("completed successfully").count();
    assert_does_a_job(&theirs, &other);
    assert_eq!((done, server.log().matches("completed successfully").count()), (1, 1));
    assert_eq!(ours.redis().command(&["EXISTS", &format!("bull:ai-jobs:{accepted}")]).unwrap(), "0");
    // What would show or change the other's queue is refused; our own rows are readable.
    let token = ours.run(&["token", "create", "--role", "operator"], &[]).out;
    let key = server.first_key();
    let client =
        [("LAUNCHKIT_URL", server.url.as_str()), ("LAUNCHKIT_TOKEN", token.trim_end()), ("LAUNCHKIT_API_KEY", &key)];
    for order in [&["queue", "pause"][..], &["queue", "metrics"]] {
        let ran = ours.run(order, &client);
        assert!(ran.code == 1 && ran.err.contains("Another deployment has claimed the queue"), "{ran:?}");
    }
    let explained = ours.run(&["jobs", "explain", &accepted], &client);
    assert!(explained.out.contains("Another deployment has claimed the queue"), "{explained:?}");

    // A claim stays when its deployment is stopped, and goes with what it claimed. What comes meanwhile is not for us.
    assert_eq!(other.stop().0, Some(0));
    fill(ours.redis());
    submit(&ours, &server);
    assert_eq!(
        (
            ours.redis().command(&["LLEN", "bull:ai-jobs:wait"]).unwrap().as_str(),
            ready(&server, 503)["status"].as_u64()
        ),
        ("1", Some(503))
    );
    ours.redis().command(&["FLUSHALL"]).unwrap();
    ready(&server, 200);
    let watched = ours.run(&["jobs", "watch", &accepted, "--json"], &client);
    assert_eq!((watched.code, &watched.json()["status"]), (0, &"SUCCEEDED".into()), "{watched:?}");
    for line in ["another deployment has claimed the queue", "the queue belongs to this deployment again"] {
        assert_eq!(server.log().matches(line).count(), 1, "{}", server.log());
    }

    ours.redis().command(&["SET", "bull::lk-deployment", "somebody else's"]).unwrap();
    ready(&server, 503);
    assert_eq!(server.stop().0, Some(0));
}

/// Adds a job as another program would, and calls whoever waits for one.
fn fill(redis: &RedisServer) {
    redis.command(&["HSET", "bull:ai-jobs:1", "name", "n", "data", "{}", "opts", "{}", "timestamp", "1"]).unwrap();
    redis.command(&["LPUSH", "bull:ai-jobs:wait", "1"]).unwrap();
    redis.command(&["ZADD", "bull:ai-jobs:marker", "0", "0"]).unwrap();
}

/// The id of a new job.
fn submit(place: &Place, server: &Server) -> String {
    let environment = [("LAUNCHKIT_URL", server.url.as_str()), ("LAUNCHKIT_API_KEY", &server.first_key())];
    let made = place.run(&["jobs", "submit", "sentiment", "--text", "I love it", "--json"], &environment);
    assert_eq!(made.json()["status"], "QUEUED", "{made:?}");
    made.json()["id"].as_str().unwrap().to_owned()
}
