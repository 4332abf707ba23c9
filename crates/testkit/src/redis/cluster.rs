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
        let setup = || RedisSetup::new(kind).with(["--cluster-enabled", "yes", "--cluster-node-timeout", "2000"]);
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
        let complete = format!("cluster_known_nodes:{NODES}");
        until("awaiting that the nodes agree", PATIENCE, || {
            nodes.iter().all(|node| {
                node.command(&["CLUSTER", "INFO"])
                    .is_ok_and(|said| said.contains("cluster_state:ok") && said.contains(&complete))
            })
        })?;
        Ok(Self(nodes))
    }

    /// The nodes; the first has the lowest slots.
    pub fn nodes(&self) -> &[RedisServer] {
        &self.0
    }

    /// Where the nodes are, as `redis://` addresses.
    pub fn urls(&self) -> Vec<String> {
        self.0.iter().map(RedisServer::url).collect()
    }

    /// The node that has a key.
    pub fn node_of(&self, key: &str) -> Result<&RedisServer, RedisError> {
        let said = self.0[0].command(&["CLUSTER", "KEYSLOT", key])?;
        let slot: u16 = said.parse().map_err(|_| RedisError::Failed { step: "asking for a slot", why: said })?;
        let node = usize::from(slot / (SLOTS / NODES)).min(usize::from(NODES) - 1);
        Ok(&self.0[node])
    }
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
