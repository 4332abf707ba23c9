//! The store on Redis and on Valkey, each case on a server of its own that tells the case's time.

use std::sync::Arc;

use launchkit_queue::backend::Backend;
use launchkit_queue::backend::redis::{Redis, RedisOptions};

use super::{Clocked, Kind, RedisServer};
use crate::given::T0;
use crate::harness::Harness;

/// The store on Debian's Redis.
pub struct RedisHarness(OnServer);

/// The store on Valkey.
pub struct ValkeyHarness(OnServer);

/// A store and its server, which ends with the last handle.
struct OnServer {
    store: Arc<Clocked>,
    server: Arc<RedisServer>,
}

impl OnServer {
    async fn fresh(kind: Kind) -> Self {
        let server = RedisServer::start_clocked(kind).unwrap_or_else(|why| panic!("{why}"));
        server.set_clock(T0).expect("it has a clock");
        let server = Arc::new(server);
        Self { store: open(&server).await, server }
    }

    async fn reopen(self) -> Self {
        self.store.close().await;
        drop(self.store);
        Self { store: open(&self.server).await, server: self.server }
    }
}

async fn open(server: &Arc<RedisServer>) -> Arc<Clocked> {
    let store = Redis::open(&RedisOptions::parse(&server.url()).expect("a URL"))
        .await
        .expect("a store on a running server opens");
    Clocked::over(Arc::new(store), server.clone())
}

macro_rules! harness {
    ($harness:ident, $kind:expr) => {
        impl $harness {
            /// The server.
            pub fn server(&self) -> &Arc<RedisServer> {
                &self.0.server
            }
        }

        impl Harness for $harness {
            const NAME: &'static str = $kind.name();

            async fn fresh() -> Self {
                Self(OnServer::fresh($kind).await)
            }

            fn backend(&self) -> Arc<dyn Backend> {
                self.0.store.clone()
            }

            async fn another(&self) -> Option<Arc<dyn Backend>> {
                Some(open(&self.0.server).await)
            }

            async fn reopen(self) -> Option<Self> {
                Some(Self(self.0.reopen().await))
            }
        }
    };
}

harness!(RedisHarness, Kind::Redis);
harness!(ValkeyHarness, Kind::Valkey);
