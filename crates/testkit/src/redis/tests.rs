#![allow(clippy::unwrap_used)]

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};

use super::*;

mod clocked;

const KINDS: [Kind; 2] = [Kind::Redis, Kind::Valkey];

#[test]
fn a_server_answers_and_is_gone_when_dropped() {
    for kind in KINDS {
        let server = RedisServer::start(kind).unwrap();
        assert_eq!(server.command(&["SET", "a", "one"]).unwrap(), "OK");
        assert_eq!(server.command(&["MGET", "a", "b"]).unwrap(), "one\n");
        let (port, home) = (server.port(), server.home.path().to_owned());
        drop(server);
        assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
        assert!(!home.exists());
    }
}

#[test]
fn a_restart_finds_what_was_synced() {
    for kind in KINDS {
        let server = RedisSetup::new(kind).durable().start().unwrap();
        server.command(&["SET", "a", "one"]).unwrap();
        server.kill();
        assert!(server.command(&["PING"]).is_err());
        server.restart().unwrap();
        assert_eq!(server.command(&["GET", "a"]).unwrap(), "one");
    }
}

#[test]
fn a_frozen_server_answers_when_it_is_thawed() {
    for kind in KINDS {
        let server = RedisServer::start(kind).unwrap();
        server.freeze().unwrap();
        let mut client = TcpStream::connect(("127.0.0.1", server.port())).unwrap();
        client.write_all(b"PING\r\n").unwrap();
        client.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        let mut answer = [0; 7];
        assert_eq!(client.read_exact(&mut answer).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        server.thaw().unwrap();
        client.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        client.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"+PONG\r\n");
        server.freeze().unwrap();
        server.restart().unwrap();
        assert_eq!(server.command(&["PING"]).unwrap(), "PONG");
    }
}

#[test]
fn settings_that_it_does_not_know_are_named() {
    let Err(why) = RedisSetup::new(Kind::Redis).with(["--no-such-setting", "1"]).start() else { panic!() };
    assert!(why.to_string().contains("no-such-setting"), "{why}");
}

#[test]
fn many_servers_start_at_the_same_time() {
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let server = RedisServer::start_clocked(Kind::Redis).unwrap();
                assert_eq!(server.command(&["PING"]).unwrap(), "PONG");
            });
        }
    });
}

#[test]
fn a_port_that_is_taken_is_recognised() {
    for kind in KINDS {
        let other = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = other.local_addr().unwrap().port().to_string();
        let Err(RedisError::Failed { why, .. }) = RedisSetup::new(kind).with(["--port", &port]).start() else {
            panic!()
        };
        assert!(process::was_taken(&why), "{why}");
    }
}
