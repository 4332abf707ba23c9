//! Three servers that share all slots of a cluster.

use std::time::Duration;

use super::{Kind, RedisError, RedisServer, RedisSetup, until};

const NODES: u16 = 3;
const SLOTS: u16 = 16_384;

/// How long the nodes may take to agree.
const PATIENCE: Duration = Duration::from_secs(30);

/// Three servers that share all slots, without replicas.
pub struct Cluster(Vec<RedisServer>);

impl Cluster {
    /// Starts them; answers when every node says that the cluster is complete.
    pub fn start(kind: Kind) -> Result<Self, RedisError> {
        Self::launch(|| RedisSetup::new(kind))
    }

    /// The same, of nodes that find after a restart what they have answered.
    pub fn start_durable(kind: Kind) -> Result<Self, RedisError> {
        Self::launch(|| RedisSetup::new(kind).durable())
    }

    fn launch(setup: impl Fn() -> RedisSetup) -> Result<Self, RedisError> {
        let setup = || setup().with(["--cluster-enabled", "yes", "--cluster-node-timeout", "2000"]);
        let nodes = (0..NODES).map(|_| setup().start()).collect::<Result<Vec<_>, _>>()?;
        let mut first = 0;
        for (number, node) in (1..).zip(&nodes) {
            let last = SLOTS / NODES * number + SLOTS % NODES * (number / NODES) - 1;
            node.command(&["CLUSTER", "ADDSLOTSRANGE", &first.to_string(), &last.to_string()])?;
            node.command(&["CLUSTER", "SET-CONFIG-EPOCH", &number.to_string()])?;
            first = last + 1;
        }
        for node in &nodes[1..] {
            nodes[0].command(&["CLUSTER", "MEET", "127.0.0.1", &node.port().to_string()])?;
        }
        let cluster = Self(nodes);
        cluster.complete()?;
        Ok(cluster)
    }

    /// Answers when every node says that all are there.
    pub fn complete(&self) -> Result<(), RedisError> {
        let complete = format!("cluster_known_nodes:{NODES}");
        until("awaiting that the nodes agree", PATIENCE, || {
            self.0.iter().all(|node| {
                node.command(&["CLUSTER", "INFO"])
                    .is_ok_and(|said| said.contains("cluster_state:ok") && said.contains(&complete))
            })
        })
    }

    /// Answers when every other node has given this one up.
    pub fn given_up(&self, dead: &RedisServer) -> Result<(), RedisError> {
        let gone = |line: &str| line.contains(&format!(":{}@", dead.port())) && line.contains(" master,fail ");
        until("awaiting that the others give a node up", PATIENCE, || {
            self.0
                .iter()
                .filter(|node| node.port() != dead.port())
                .all(|node| node.command(&["CLUSTER", "NODES"]).is_ok_and(|said| said.lines().any(gone)))
        })
    }

    /// The nodes; the first has the lowest slots.
    pub fn nodes(&self) -> &[RedisServer] {
        &self.0
    }

    /// Where the nodes are, as `redis://` addresses.
    pub fn urls(&self) -> Vec<String> {
        self.0.iter().map(RedisServer::url).collect()
    }

    /// The node that has a key, unless its slot was moved.
    pub fn node_of(&self, key: &str) -> Result<&RedisServer, RedisError> {
        let said = self.slot(key)?;
        let slot: u16 = said.parse().map_err(|_| RedisError::Failed { step: "asking for a slot", why: said })?;
        let node = usize::from(slot / (SLOTS / NODES)).min(usize::from(NODES) - 1);
        Ok(&self.0[node])
    }

    /// Begins to move a key's slot from one node to another: new keys go there, old ones stay until they are moved.
    pub fn begin_move(&self, key: &str, from: &RedisServer, to: &RedisServer) -> Result<(), RedisError> {
        let (slot, source, target) = (self.slot(key)?, id(from)?, id(to)?);
        to.command(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &source])?;
        from.command(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &target])?;
        Ok(())
    }

    /// Moves at most so many keys of a key's slot; answers how many.
    pub fn move_keys(&self, key: &str, from: &RedisServer, to: &RedisServer, most: u32) -> Result<usize, RedisError> {
        let said = from.command(&["CLUSTER", "GETKEYSINSLOT", &self.slot(key)?, &most.to_string()])?;
        let keys: Vec<&str> = said.lines().collect();
        if keys.is_empty() {
            return Ok(0);
        }
        let port = to.port().to_string();
        let mut command = vec!["MIGRATE", "127.0.0.1", &port, "", "0", "5000", "KEYS"];
        command.extend(&keys);
        from.command(&command)?;
        Ok(keys.len())
    }

    /// Says everywhere that a key's slot has been moved.
    pub fn end_move(&self, key: &str, to: &RedisServer) -> Result<(), RedisError> {
        let (slot, target) = (self.slot(key)?, id(to)?);
        // The new owner first, so that there is always one.
        for node in std::iter::once(to).chain(self.0.iter().filter(|node| node.port() != to.port())) {
            node.command(&["CLUSTER", "SETSLOT", &slot, "NODE", &target])?;
        }
        Ok(())
    }

    fn slot(&self, key: &str) -> Result<String, RedisError> {
        let mut last = None;
        for node in &self.0 {
            match node.command(&["CLUSTER", "KEYSLOT", key]) {
                Ok(slot) => return Ok(slot),
                Err(why) => last = Some(why),
            }
        }
        Err(last.unwrap_or(RedisError::Failed { step: "asking for a slot", why: "nobody is there".to_owned() }))
    }
}

/// What a node is called among nodes.
fn id(node: &RedisServer) -> Result<String, RedisError> {
    node.command(&["CLUSTER", "MYID"])
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn every_key_has_a_node() {
        for kind in [Kind::Redis, Kind::Valkey] {
            let cluster = Cluster::start(kind).unwrap();
            let mut ports = std::collections::BTreeSet::new();
            for key in (0..20).map(|number| format!("{{queue-{number}}}:id")) {
                let node = cluster.node_of(&key).unwrap();
                assert_eq!(node.command(&["INCR", &key]).unwrap(), "1");
                ports.insert(node.port());
            }
            assert_eq!(ports.len(), 3);
        }
    }
}
