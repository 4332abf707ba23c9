//! How connections come to be: to one server, to the master that sentinels name, to a cluster.

use redis::aio::MultiplexedConnection;
use redis::cluster::ClusterClient;
use redis::cluster_async::ClusterConnection;
use redis::cluster_routing::Slot;
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, ConnectionInfo, IntoConnectionInfo as _, ProtocolVersion,
    PushInfo, RedisConnectionInfo, RedisError, RedisResult, TlsCertificates, Value,
};

use super::super::options::{RedisOptions, Site, Times};
use super::sentinel::Sentinels;
use crate::error::StoreError;

/// Where connections come from.
pub(super) struct Road {
    way: Way,
    times: Times,
}

enum Way {
    One(Box<Client>),
    Sentinel(Box<Sentinels>),
    Cluster { client: Box<ClusterClient>, node: Box<ConnectionInfo> },
}

/// A connection that many share.
#[derive(Clone)]
pub(super) enum Wire {
    One(MultiplexedConnection),
    Cluster(ClusterConnection),
}

impl Wire {
    /// Sends one command; what the server answers with an error is an error.
    pub(super) async fn send(&mut self, cmd: &Cmd) -> RedisResult<Value> {
        let answer = match self {
            Wire::One(wire) => wire.send_packed_command(cmd).await?,
            Wire::Cluster(wire) => redis::aio::ConnectionLike::req_packed_command(wire, cmd).await?,
        };
        match answer {
            Value::ServerError(error) => Err(error.into()),
            answer => Ok(answer),
        }
    }
}

impl Road {
    pub(super) fn new(options: &RedisOptions) -> RedisResult<Self> {
        let times = options.times;
        if options.site.is_encrypted() {
            // The driver takes the process's cryptography and panics without one. Whoever chose one already keeps it.
            let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        }
        let way = match &options.site {
            Site::One(address) => {
                Way::One(Box::new(Client::open(node(address, &options.login, &options.certificates)?)?))
            }
            Site::Sentinel { nodes, master } => Way::Sentinel(Box::new(Sentinels::new(nodes, master, options)?)),
            Site::Cluster(nodes) => {
                let seeds = nodes.iter().map(|address| node(address, &options.login, &options.certificates));
                let seeds = seeds.collect::<RedisResult<Vec<_>>>()?;
                let [first, ..] = &seeds[..] else {
                    return Err((redis::ErrorKind::InvalidClientConfig, "a cluster without nodes").into());
                };
                let first = first.clone();
                // The client repeats also what may have been carried out: what is safe to repeat is repeated above it.
                let mut builder = ClusterClient::builder(seeds)
                    .retries(0)
                    .use_protocol(ProtocolVersion::RESP3)
                    .connection_timeout(times.connect)
                    .response_timeout(times.answer);
                if let Some(certificates) = &options.certificates {
                    builder = builder.certs(certificates.clone());
                }
                Way::Cluster { client: Box::new(builder.build()?), node: Box::new(first) }
            }
        };
        Ok(Self { way, times })
    }

    pub(super) fn is_cluster(&self) -> bool {
        matches!(self.way, Way::Cluster { .. })
    }

    /// A connection to share; `heard` is told when it breaks. A cluster's mends itself.
    pub(super) async fn shared(
        &self,
        heard: impl Fn(PushInfo) -> Result<(), ()> + Send + Sync + 'static,
    ) -> RedisResult<Wire> {
        match &self.way {
            Way::Cluster { client, node } => match client.get_async_connection().await {
                Ok(wire) => Ok(Wire::Cluster(wire)),
                // It tells why in words alone; a node tells what kind of trouble it is.
                Err(error) => {
                    let node = Client::open(node.as_ref().clone())?;
                    node.get_multiplexed_async_connection_with_config(&self.config()).await.and(Err(error))
                }
            },
            _ => {
                let config = self.config().set_push_sender(heard);
                let client = self.client().await?;
                Ok(Wire::One(client.get_multiplexed_async_connection_with_config(&config).await?))
            }
        }
    }

    /// A connection of one's own to the server that holds a key; `slots` is a cluster's answer to [`slots`].
    pub(super) async fn own(&self, key: &str, slots: &Value) -> RedisResult<MultiplexedConnection> {
        let client = match &self.way {
            Way::Cluster { node, .. } => Client::open(owner(slots, key, node)?)?,
            _ => self.client().await?,
        };
        client.get_multiplexed_async_connection_with_config(&self.config()).await
    }

    /// Which of the sentinels refuses us, when nothing less lasting keeps a connection from being made.
    pub(super) async fn refusal(&self) -> Option<StoreError> {
        match &self.way {
            Way::Sentinel(sentinels) => sentinels.refusal(self.times.connect).await,
            Way::One(_) | Way::Cluster { .. } => None,
        }
    }

    async fn client(&self) -> RedisResult<Client> {
        match &self.way {
            Way::One(client) => Ok(client.as_ref().clone()),
            Way::Sentinel(sentinels) => sentinels.master().await,
            Way::Cluster { node, .. } => Client::open(node.as_ref().clone()),
        }
    }

    /// Answers are timed by whoever waits for them.
    fn config(&self) -> AsyncConnectionConfig {
        AsyncConnectionConfig::new().set_connection_timeout(Some(self.times.connect)).set_response_timeout(None)
    }
}

pub(super) fn node(
    address: &ConnectionAddr,
    login: &RedisConnectionInfo,
    certificates: &Option<TlsCertificates>,
) -> RedisResult<ConnectionInfo> {
    let node = address.clone().into_connection_info()?.set_redis_settings(login.clone());
    match certificates {
        Some(certificates) => Ok(Client::build_with_tls(node, certificates.clone())?.get_connection_info().clone()),
        None => Ok(node),
    }
}

/// Asks which node of a cluster holds what.
pub(super) fn slots() -> Cmd {
    let mut cmd = redis::cmd("CLUSTER");
    cmd.arg("SLOTS");
    cmd
}

/// The master that holds a key, by the cluster's list of slots.
fn owner(slots: &Value, key: &str, seed: &ConnectionInfo) -> RedisResult<ConnectionInfo> {
    let slot = Slot::for_key(key);
    let Value::Array(ranges) = slots else { return Err(unreadable()) };
    for range in ranges {
        let Value::Array(parts) = range else { return Err(unreadable()) };
        let [Value::Int(first), Value::Int(last), Value::Array(master), ..] = &parts[..] else {
            return Err(unreadable());
        };
        let (first, last) = (u16::try_from(*first), u16::try_from(*last));
        let (Ok(first), Ok(last)) = (first, last) else { return Err(unreadable()) };
        if !(first..=last).any(|number| Slot::new(number) == Some(slot)) {
            continue;
        }
        let [host, Value::Int(port), ..] = &master[..] else { return Err(unreadable()) };
        let host: Option<String> = redis::from_redis_value_ref(host).map_err(|_| unreadable())?;
        let port = u16::try_from(*port).map_err(|_| unreadable())?;
        return Ok(seed.clone().set_addr(beside(seed.addr(), host.unwrap_or_default(), port)));
    }
    Err((redis::ErrorKind::ClusterConnectionNotFound, "no node of the cluster holds this slot").into())
}

/// An address like another, elsewhere. A node that does not know its own name is where it was asked.
fn beside(seed: &ConnectionAddr, name: String, at: u16) -> ConnectionAddr {
    let or = |known: &String| if name.is_empty() || name == "?" { known.clone() } else { name.clone() };
    match seed {
        ConnectionAddr::TcpTls { host, insecure, tls_params, .. } => {
            ConnectionAddr::TcpTls { host: or(host), port: at, insecure: *insecure, tls_params: tls_params.clone() }
        }
        ConnectionAddr::Tcp(host, _) => ConnectionAddr::Tcp(or(host), at),
        _ => ConnectionAddr::Tcp(name, at),
    }
}

fn unreadable() -> RedisError {
    (redis::ErrorKind::UnexpectedReturnType, "the cluster's slots cannot be read").into()
}
