//! What the server refuses to this user: every command that the store sends is tried on a key that is nobody's.

use ::redis::Cmd;

use super::Line;
use crate::error::StoreError;

/// Something that the server refuses.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RedisLack {
    /// The command, as an ACL writes it: `hset`, `client|list`; or `keys` when the keys of the prefix are refused.
    pub command: String,
    /// Whether jobs cannot be worked on without it.
    pub needed: bool,
}

/// Makes the key; it holds a text and goes by itself.
const MAKE: &str = "SET K x PX 10000";

/// What the store sends, itself or in scripts. On a key that holds a text, commands for anything else change nothing; what
/// would remove it or make another one is sent to `N`, which does not exist.
const NEEDED: &[&str] = &[
    "BITPOS K 1",
    "BZPOPMIN K 0.001",
    "DEL N",
    "EVAL return 0",
    "EVALSHA 0000000000000000000000000000000000000000 1 K",
    "EXISTS K",
    "GET K",
    "GETBIT K 0",
    "HDEL K f",
    "HEXISTS K f",
    "HGET K f",
    "HGETALL K",
    "HINCRBY K f 1",
    "HKEYS K",
    "HLEN K",
    "HMGET K f",
    "HRANDFIELD K",
    "HSCAN K 0",
    "HSET K f v",
    "HSETNX K f v",
    "INCR K",
    "INCRBY K 1",
    "LLEN K",
    "LPOP K",
    "LPOS K v",
    "LPUSH K v",
    "LRANGE K 0 0",
    "LREM K 1 v",
    "LSET K 0 v",
    "LTRIM K 0 0",
    "MGET K",
    "PERSIST N",
    "PEXPIRE N 1",
    "PING",
    "PSETEX K 10000 x",
    "PTTL K",
    "RENAME N N",
    "RPOP K",
    "RPOPLPUSH K K",
    "RPUSH K v",
    "SADD K v",
    "SCARD K",
    "SETBIT K 0 0",
    "SETNX K x",
    "SISMEMBER K v",
    "SMEMBERS K",
    "SMISMEMBER K v",
    "SPOP K",
    "SRANDMEMBER K",
    "SREM K v",
    "SSCAN K 0",
    "UNLINK N",
    "XADD K * f v",
    "XLEN K",
    "XRANGE K - + COUNT 1",
    "XREAD COUNT 1 STREAMS K 0",
    "XREVRANGE K + - COUNT 1",
    "XTRIM K MAXLEN 0",
    "ZADD K 0 m",
    "ZCARD K",
    "ZCOUNT K 0 0",
    "ZMSCORE K m",
    "ZPOPMIN K",
    "ZRANGE K 0 0",
    "ZRANGEBYLEX K - +",
    "ZRANGEBYSCORE K 0 0",
    "ZRANK K m",
    "ZREM K m",
    "ZREMRANGEBYRANK K 0 0",
    "ZREVRANGE K 0 0",
    "ZREVRANGEBYSCORE K 0 0",
    "ZSCAN K 0",
    "ZSCORE K m",
];

/// What makes it work better, or be seen.
const WANTED: &[&str] = &["CLIENT ID", "CLIENT LIST", "CLIENT SETNAME", "CLIENT UNBLOCK 0", "INFO memory", "TIME"];

impl Line<'_> {
    /// Tries every command; what this user may not send is listed.
    pub(super) async fn lacks(&mut self) -> Result<Vec<RedisLack>, StoreError> {
        let key = self.redis.keys.try_out();
        if let Some(command) = self.lack(MAKE, &key).await {
            // Without the key the others would make it.
            return Ok(vec![RedisLack { command, needed: true }]);
        }
        let mut lacks = Vec::new();
        for (commands, needed) in [(NEEDED, true), (WANTED, false)] {
            for command in commands {
                let lack = self.lack(command, &key).await.map(|command| RedisLack { command, needed });
                // One command may be tried in several ways, and keys are refused to all alike.
                lacks.extend(lack.filter(|lack| !lacks.contains(lack)));
            }
        }
        // A line that broke on the way would have refused nothing.
        self.told(&::redis::cmd("PING")).await?;
        Ok(lacks)
    }

    async fn lack(&mut self, command: &str, key: &str) -> Option<String> {
        let own_name = self.redis.keys.look();
        let mut cmd = Cmd::new();
        for word in command.split(' ') {
            match word {
                "K" => cmd.arg(key),
                "N" => cmd.arg(format!("{key}-none")),
                // What the line is called already.
                "SETNAME" => cmd.arg(word).arg(&own_name),
                word => cmd.arg(word),
            };
        }
        let refusal = self.ask(&cmd).await.err().and_then(|why| super::refusal(&why).map(str::to_owned))?;
        // A refused command or user may be called something with "key" as well.
        let keys = refusal.contains("access") && refusal.contains("key");
        Some(if keys { "keys".to_owned() } else { acl_name(command) })
    }
}

/// A command as an ACL writes it.
fn acl_name(command: &str) -> String {
    let mut words = command.split(' ').map(str::to_ascii_lowercase);
    let first = words.next().unwrap_or_default();
    match words.next().filter(|_| matches!(&*first, "client" | "script")) {
        Some(second) => format!("{first}|{second}"),
        None => first,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// The list would be worth nothing if a script used a command that it lacks.
    #[test]
    fn every_command_of_the_scripts_is_tried() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/backend/redis/scripts");
        let mut used = BTreeSet::new();
        for file in std::fs::read_dir(folder).unwrap() {
            let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
            let code: Vec<&str> = text.lines().map(|line| line.split("--").next().unwrap()).collect();
            let code = code.join(" ");
            let quoted = code.split('\'').skip(1).step_by(2);
            let command = |word: &&str| word.len() > 2 && word.chars().all(|c| c.is_ascii_uppercase());
            used.extend(quoted.filter(command).map(str::to_owned));
        }
        assert!(used.len() > 40 && used.contains("LPUSH"), "{used:?}");
        let tried: BTreeSet<String> =
            NEEDED.iter().chain([&MAKE]).map(|command| command.split(' ').next().unwrap().to_owned()).collect();
        // Words of commands and of refusals, not commands.
        let words = ["COUNT", "KEEPTTL", "LIMIT", "MATCH", "MAXLEN", "MINID", "RANK", "WITHSCORES", "WRONGTYPE"]
            .map(str::to_owned);
        let missing: Vec<&String> =
            used.iter().filter(|word| !tried.contains(*word) && !words.contains(word)).collect();
        assert!(missing.is_empty(), "{missing:?}");
    }

    #[test]
    fn names_are_as_in_an_acl() {
        assert_eq!(acl_name("HSET K f v"), "hset");
        assert_eq!(acl_name("CLIENT LIST"), "client|list");
        assert_eq!(acl_name("INFO memory"), "info");
    }
}
