//! Sentinels: the client that asks them for their master, and which of them refuses us.

use std::time::Duration;

use redis::sentinel::{SentinelClient, SentinelClientBuilder, SentinelServerType};
use redis::{AsyncConnectionConfig, Client, Cmd, ConnectionInfo, ProtocolVersion, RedisResult, TlsMode};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::super::options::RedisOptions;
use super::road::{Wire, node};
use super::trouble::{Trouble, is_mistrust};
use crate::error::StoreError;

/// The sentinels of one master.
pub(super) struct Sentinels {
    client: tokio::sync::Mutex<SentinelClient>,
    nodes: Vec<ConnectionInfo>,
}

impl Sentinels {
    pub(super) fn new(addresses: &[redis::ConnectionAddr], master: &str, options: &RedisOptions) -> RedisResult<Self> {
        let asked = addresses.iter().map(|address| node(address, &options.sentinel_login, &options.certificates));
        let client = tokio::sync::Mutex::new(client(addresses.to_vec(), master, options)?);
        Ok(Self { client, nodes: asked.collect::<RedisResult<_>>()? })
    }

    /// A client of the master.
    pub(super) async fn master(&self) -> RedisResult<Client> {
        self.client.lock().await.async_get_client().await
    }

    /// The first sentinel that does not take us, and why. The driver answers with the last one's trouble, which may be that
    /// it is away: waited for, while the refusal of another one would last.
    pub(super) async fn refusal(&self, limit: Duration) -> Option<StoreError> {
        let mut asked = JoinSet::new();
        for node in &self.nodes {
            let (address, look) = (node.addr().to_string(), look(node.clone(), limit));
            asked.spawn(async move { timeout(limit, look).await.map(|looked| (address, looked)) });
        }
        while let Some(answer) = asked.join_next().await {
            let Ok(Ok((address, Err(error)))) = answer else { continue };
            let advice = match is_mistrust(&error) {
                true => "",
                false => "; the sentinels' own login is sentinel_user and sentinel_password in the URL",
            };
            if let StoreError::Refused(why) = Trouble::from(error).why {
                return Some(StoreError::Refused(format!("the sentinel {address}: {why}{advice}")));
            }
        }
        None
    }
}

/// What the client needs of a sentinel.
async fn look(node: ConnectionInfo, limit: Duration) -> RedisResult<()> {
    let config = AsyncConnectionConfig::new().set_connection_timeout(Some(limit)).set_response_timeout(Some(limit));
    let mut wire = Wire::One(Client::open(node)?.get_multiplexed_async_connection_with_config(&config).await?);
    for words in [&["ROLE"][..], &["SENTINEL", "MASTERS"]] {
        let mut cmd = Cmd::new();
        wire.send(cmd.arg(words)).await?;
    }
    Ok(())
}

fn client(nodes: Vec<redis::ConnectionAddr>, master: &str, options: &RedisOptions) -> RedisResult<SentinelClient> {
    let (login, watch) = (&options.login, &options.sentinel_login);
    let mut builder = SentinelClientBuilder::new(nodes, master, SentinelServerType::Master)?
        .set_client_to_redis_db(login.db())
        .set_client_to_redis_protocol(ProtocolVersion::RESP3);
    if let Some(user) = login.username() {
        builder = builder.set_client_to_redis_username(user);
    }
    if let Some(password) = login.password() {
        builder = builder.set_client_to_redis_password(password);
    }
    if let Some(user) = watch.username() {
        builder = builder.set_client_to_sentinel_username(user);
    }
    if let Some(password) = watch.password() {
        builder = builder.set_client_to_sentinel_password(password);
    }
    if options.site.is_encrypted() {
        builder =
            builder.set_client_to_redis_tls_mode(TlsMode::Secure).set_client_to_sentinel_tls_mode(TlsMode::Secure);
    }
    if let Some(certificates) = &options.certificates {
        builder = builder
            .set_client_to_redis_certificates(certificates.clone())
            .set_client_to_sentinel_certificates(certificates.clone());
    }
    builder.build()
}
