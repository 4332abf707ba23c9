//! A primary, a replica, and three sentinels that watch them.

use std::time::Duration;

use super::{Kind, RedisError, RedisServer, RedisSetup, until};

/// What the primary is called among sentinels.
const NAME: &str = "main";

/// How long the sentinels may take to know each other, or to promote the replica.
const PATIENCE: Duration = Duration::from_secs(30);

/// After how many milliseconds of silence each sentinel gives a primary up. One of them is enough to begin, and the others vote
/// for it: sentinels that begin at the same time share the votes among themselves, and then wait for seconds.
const SILENCE: [u32; 3] = [400, 2_000, 4_000];

/// Sentinels look at servers and tell each other of themselves more often than every ten and two seconds.
const OFTEN: [&str; 12] = [
    "SENTINEL",
    "DEBUG",
    "INFO-PERIOD",
    "200",
    "PING-PERIOD",
    "100",
    "PUBLISH-PERIOD",
    "100",
    "ASK-PERIOD",
    "100",
    "ELECTION-TIMEOUT",
    "1000",
];

/// Two servers under three sentinels.
pub struct SentinelFleet {
    servers: [RedisServer; 2],
    sentinels: Vec<RedisServer>,
}

impl SentinelFleet {
    /// Starts them; answers when every sentinel knows the replica and the other sentinels.
    pub fn start(kind: Kind) -> Result<Self, RedisError> {
        // A primary would wait for more replicas before it sends its data.
        let setup = || RedisSetup::new(kind).with(["--repl-diskless-sync-delay", "0"]);
        let primary = setup().start()?;
        let replica = setup().with(["--replicaof", &format!("127.0.0.1 {}", primary.port())]).start()?;
        let config = |silence: u32| {
            format!(
                "sentinel monitor {NAME} 127.0.0.1 {} 1\n\
                 sentinel down-after-milliseconds {NAME} {silence}\n\
                 sentinel failover-timeout {NAME} 2000\n",
                primary.port()
            )
        };
        let start = |silence| RedisSetup::new(kind).sentinel(config(silence)).start();
        let sentinels = SILENCE.into_iter().map(start).collect::<Result<Vec<_>, _>>()?;
        for sentinel in &sentinels {
            sentinel.command(&OFTEN)?;
        }
        let fleet = Self { servers: [primary, replica], sentinels };
        until("awaiting that sentinels know each other", PATIENCE, || {
            fleet.sentinels.iter().all(|sentinel| {
                sentinel.command(&["INFO", "sentinel"]).is_ok_and(|said| said.contains("slaves=1,sentinels=3"))
            })
        })?;
        until("awaiting the replica", PATIENCE, || {
            let says = |server: &RedisServer, what: &str| {
                server.command(&["INFO", "replication"]).is_ok_and(|said| said.contains(what))
            };
            let [primary, replica] = &fleet.servers;
            says(replica, "master_link_status:up") && says(primary, "state=online")
        })?;
        Ok(fleet)
    }

    /// What the primary is called among sentinels.
    pub fn name(&self) -> &'static str {
        NAME
    }

    /// Where the sentinels are, as `redis://` addresses.
    pub fn urls(&self) -> Vec<String> {
        self.sentinels.iter().map(RedisServer::url).collect()
    }

    /// The sentinels.
    pub fn sentinels(&self) -> &[RedisServer] {
        &self.sentinels
    }

    /// The server that the first sentinel holds for the primary.
    pub fn primary(&self) -> Result<&RedisServer, RedisError> {
        self.server(|port, primary| port == primary)
    }

    /// The other server.
    pub fn replica(&self) -> Result<&RedisServer, RedisError> {
        self.server(|port, primary| port != primary)
    }

    /// Kills the primary and answers when the replica has been promoted, accepts writes, and all sentinels say so. The killed
    /// one stays away until it is restarted; it is the replica then.
    pub fn failover(&self) -> Result<(), RedisError> {
        let (old, new) = (self.primary()?, self.replica()?);
        let promoted = new.port();
        old.kill();
        until("awaiting the promotion", PATIENCE, || {
            self.sentinels.iter().all(|sentinel| primary_of(sentinel).is_ok_and(|port| port == promoted))
                && new.command(&["ROLE"]).is_ok_and(|role| role.starts_with("master"))
        })
    }

    fn server(&self, is_it: impl Fn(u16, u16) -> bool) -> Result<&RedisServer, RedisError> {
        let primary = primary_of(&self.sentinels[0])?;
        self.servers.iter().find(|server| is_it(server.port(), primary)).ok_or_else(|| RedisError::Failed {
            step: "asking a sentinel",
            why: format!("it names port {primary}, which none of the servers has"),
        })
    }
}

/// The primary's port, as a sentinel has it.
fn primary_of(sentinel: &RedisServer) -> Result<u16, RedisError> {
    let said = sentinel.command(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", NAME])?;
    said.lines()
        .nth(1)
        .and_then(|port| port.parse().ok())
        .ok_or(RedisError::Failed { step: "asking a sentinel for the primary", why: said })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_replica_takes_over_and_the_old_primary_follows_it() {
        for kind in [Kind::Redis, Kind::Valkey] {
            let fleet = SentinelFleet::start(kind).unwrap();
            let old = fleet.primary().unwrap();
            old.command(&["SET", "a", "one"]).unwrap();
            let replica = fleet.replica().unwrap();
            until("awaiting its copy", PATIENCE, || replica.command(&["GET", "a"]).is_ok_and(|a| a == "one")).unwrap();
            fleet.failover().unwrap();
            let new = fleet.primary().unwrap();
            assert_ne!(new.port(), old.port());
            assert_eq!(new.command(&["GET", "a"]).unwrap(), "one");
            new.command(&["SET", "a", "two"]).unwrap();
            old.restart().unwrap();
            until("awaiting the old primary", PATIENCE, || old.command(&["GET", "a"]).is_ok_and(|a| a == "two"))
                .unwrap();
        }
    }
}
