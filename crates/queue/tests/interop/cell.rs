//! One cell of the matrix: who adds, who works, the queue that they share, and what may be left of it.

use std::sync::{LazyLock, Mutex};
use std::time::{Duration, Instant};

use launchkit_testkit::redis::{Kind, RedisServer};
use tokio::runtime::Runtime;

use crate::look::Look;
use crate::side::{Side, Who};

/// What a cell may take.
pub(crate) const BOUND: Duration = Duration::from_secs(60);

/// The peers are shared by all cells, so that all run on one runtime.
pub(crate) static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
});

/// The server of all cells; each has queues of its own on it.
pub(crate) static SERVER: LazyLock<RedisServer> = LazyLock::new(|| RedisServer::start(Kind::Redis).expect("a server"));

pub(crate) struct Cell {
    /// The queue.
    pub(crate) queue: String,
    /// Another one, of children.
    pub(crate) kids: String,
    /// Who adds.
    pub(crate) adds: Side,
    /// Who works.
    pub(crate) works: Side,
    /// The queue as it lies in Redis.
    pub(crate) look: Look,
    may_leave: Mutex<Vec<String>>,
    begun: Instant,
}

impl Cell {
    pub(crate) async fn new(path: &str, adds: Who, works: Who) -> Self {
        let path = path.trim_start_matches("interop::").replace("::", "-");
        let queue = format!("{path}-{}-{}", adds.name(), works.name());
        let (adds, works) = (Side::of(adds).await, Side::of(works).await);
        let kids = format!("{queue}-kids");
        let look = Look::at(&queue).await;
        Self { look, kids, queue, adds, works, may_leave: Mutex::default(), begun: Instant::now() }
    }

    /// The same queue of children.
    pub(crate) async fn kids(&self) -> Look {
        Look::at(&self.kids).await
    }

    /// Something that is meant to be there at the end, as [`Look::leftovers`] names it.
    pub(crate) fn leaves(&self, what: impl Into<String>) {
        self.may_leave.lock().unwrap().push(what.into());
    }

    /// A worker of the working side.
    pub(crate) async fn work(&self) {
        self.works.work(&self.queue, "w", serde_json::json!({})).await;
    }

    /// Adds one job and answers its id.
    pub(crate) async fn add(&self, data: serde_json::Value, options: serde_json::Value) -> String {
        self.adds.add(&self.queue, "job", data, options).await
    }

    /// Both sides read the same job, field by field.
    pub(crate) async fn agree(&self, id: &str) -> serde_json::Value {
        let ours = self.adds.get(&self.queue, id).await;
        assert_eq!(ours, self.works.get(&self.queue, id).await, "{id} as both sides read it");
        assert_eq!(self.adds.state(&self.queue, id).await, self.works.state(&self.queue, id).await);
        ours
    }

    /// Lets go of what belongs to the cell, and looks for what nobody should have left.
    pub(crate) async fn finish(self) {
        for queue in [&self.queue, &self.kids] {
            for side in [&self.adds, &self.works] {
                side.forget(queue).await;
            }
        }
        let (mut found, kids) = (self.look.leftovers().await, self.kids().await);
        found.extend(kids.leftovers().await);
        let mut expected = self.may_leave.into_inner().unwrap();
        found.sort();
        expected.sort();
        assert_eq!(found, expected, "left over");
        let (jobs, events) = (self.look.jobs().await.len(), self.look.events().await.len());
        println!("{}: {jobs} jobs kept, {events} events, {:?}", self.queue, self.begun.elapsed());
    }
}

/// Makes the cells of features, each a function of this module over a [`Cell`]: both directions for each peer.
macro_rules! cells {
    ($($name:ident),* $(,)?) => { $(mod $name {
        cells!(@ $name ours_to_node Ours Node);
        cells!(@ $name node_to_ours Node Ours);
        cells!(@ $name ours_to_python Ours Python);
        cells!(@ $name python_to_ours Python Ours);
        cells!(@ $name ours_to_official Ours Official);
        cells!(@ $name official_to_ours Official Ours);
    })* };
    (@ $name:ident $cell:ident $adds:ident $works:ident) => {
        #[test]
        fn $cell() {
            use $crate::{cell::{BOUND, Cell, RUNTIME}, side::Who};
            RUNTIME.block_on(async {
                let cell = Cell::new(module_path!(), Who::$adds, Who::$works).await;
                tokio::time::timeout(BOUND, super::$name(&cell)).await.expect("the cell ends in time");
                cell.finish().await;
            });
        }
    };
}
