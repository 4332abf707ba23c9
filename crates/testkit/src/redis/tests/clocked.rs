//! What a standing clock does to a server.

use std::time::{Duration, Instant};

use super::*;

const T0: i64 = 1_700_000_000_123;

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(T0 + millis)
}

fn clocked(kind: Kind) -> RedisServer {
    let server = RedisServer::start_clocked(kind).unwrap();
    server.set_clock(at(0)).unwrap();
    server
}

#[test]
fn the_time_is_what_was_set() {
    for kind in KINDS {
        let server = clocked(kind);
        for _ in 0..3 {
            assert_eq!(server.command(&["TIME"]).unwrap(), "1700000000\n123000");
        }
        server.set_clock(at(-1_000)).unwrap();
        assert_eq!(server.command(&["TIME"]).unwrap(), "1699999999\n123000");
        server.set_clock(Timestamp::from_millis(0)).unwrap();
        let seconds: i64 = server.command(&["TIME"]).unwrap().lines().next().unwrap().parse().unwrap();
        assert!(seconds > T0 / 1000);
    }
}

#[test]
fn keys_expire_at_exactly_their_time() {
    for kind in KINDS {
        let server = clocked(kind);
        server.command(&["SET", "lock", "token", "PX", "1000"]).unwrap();
        assert_eq!(server.command(&["PTTL", "lock"]).unwrap(), "1000");
        server.set_clock(at(999)).unwrap();
        assert_eq!(server.command(&["PTTL", "lock"]).unwrap(), "1");
        server.set_clock(at(400)).unwrap();
        assert_eq!(server.command(&["PTTL", "lock"]).unwrap(), "600");
        assert_eq!(server.command(&["EVAL", "return redis.call('PTTL', KEYS[1])", "1", "lock"]).unwrap(), "600");
        server.set_clock(at(1_001)).unwrap();
        assert_eq!(server.command(&["EXISTS", "lock"]).unwrap(), "0");
        // What has expired stays so when the clock goes back.
        server.set_clock(at(0)).unwrap();
        assert_eq!(server.command(&["PTTL", "lock"]).unwrap(), "-2");
    }
}

#[test]
fn stream_entries_are_numbered_by_it() {
    for kind in KINDS {
        let server = clocked(kind);
        let add = || server.command(&["XADD", "events", "*", "a", "b"]).unwrap();
        assert_eq!(add(), format!("{T0}-0"));
        assert_eq!(add(), format!("{T0}-1"));
        server.set_clock(at(5)).unwrap();
        assert_eq!(add(), format!("{}-0", T0 + 5));
        // Numbers never go back.
        server.set_clock(at(0)).unwrap();
        assert_eq!(add(), format!("{}-1", T0 + 5));
    }
}

#[test]
fn blocked_clients_time_out_by_it() {
    for kind in KINDS {
        let server = clocked(kind);
        let url = server.url();
        let began = Instant::now();
        let waits = std::thread::spawn(move || ask::ask(&url, &["BZPOPMIN", "marker", "0.1"]));
        while !server.command(&["INFO", "clients"]).unwrap().contains("blocked_clients:1") {
            assert!(began.elapsed() < Duration::from_secs(5));
            std::thread::yield_now();
        }
        // Each command is a turn of the server's loop, in which it looks at who has blocked for long enough.
        let twice = Instant::now() + Duration::from_millis(200);
        while Instant::now() < twice {
            server.command(&["PING"]).unwrap();
        }
        assert!(!waits.is_finished(), "{} counts by another clock", kind.name());
        server.set_clock(at(101)).unwrap();
        assert_eq!(waits.join().unwrap().unwrap(), "");
    }
}
