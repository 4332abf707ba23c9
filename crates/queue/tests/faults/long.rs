//! One fault after the other, drawn from all, on one server that syncs every write: `FAULT_SECONDS` says how long (15, unless
//! told otherwise), `FAULT_SEED` which.

use std::time::{Duration, Instant};

use launchkit_testkit::redis::{Kind, RedisSetup};
use launchkit_testkit::{Dice, tell, wish};

use super::scene::*;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Trouble {
    /// The server is killed and started again.
    Killed,
    Hung,
    ClientsKilled,
    ClientsPaused,
    HalfOpen,
    Cut,
    Forgotten,
    ScriptsFlushed,
    NoMemory,
    Replica,
}

const ALL: [Trouble; 10] = [
    Trouble::Killed,
    Trouble::Hung,
    Trouble::ClientsKilled,
    Trouble::ClientsPaused,
    Trouble::HalfOpen,
    Trouble::Cut,
    Trouble::Forgotten,
    Trouble::ScriptsFlushed,
    Trouble::NoMemory,
    Trouble::Replica,
];

impl Scene {
    /// Trouble of this length, from its beginning to its end.
    async fn suffers(&self, trouble: Trouble, time: Duration) {
        let ask = |words: &[&str]| self.server.command(words).expect("it answers");
        let lasts = tokio::time::sleep(time); // the trouble itself, not a wait for something
        match trouble {
            Trouble::Killed => {
                self.server.kill();
                lasts.await;
                self.restarted().await;
            }
            Trouble::Hung => {
                self.server.freeze().expect("it hangs");
                lasts.await;
                self.server.thaw().expect("it goes on");
            }
            Trouble::ClientsKilled => drop(ask(&["CLIENT", "KILL", "TYPE", "normal"])),
            Trouble::ClientsPaused => {
                ask(&["CLIENT", "PAUSE", &time.as_millis().to_string(), "ALL"]);
                lasts.await;
            }
            Trouble::HalfOpen => {
                self.proxy.half_open();
                lasts.await;
                self.proxy.heal();
            }
            Trouble::Cut => {
                self.proxy.cut().await;
                lasts.await;
                self.proxy.heal();
            }
            Trouble::Forgotten => self.proxy.forget(),
            Trouble::ScriptsFlushed => drop(ask(&["SCRIPT", "FLUSH", "SYNC"])),
            Trouble::NoMemory => {
                ask(&["CONFIG", "SET", "maxmemory", "1"]);
                lasts.await;
                ask(&["CONFIG", "SET", "maxmemory", "0"]);
            }
            Trouble::Replica => {
                ask(&["REPLICAOF", "127.0.0.1", "1"]);
                lasts.await;
                ask(&["REPLICAOF", "NO", "ONE"]);
            }
        }
    }
}

#[tokio::test]
async fn a_long_time_of_faults_loses_nothing() {
    let seconds = wish("FAULT_SECONDS").unwrap_or(15);
    let mut dice = Dice::new(wish("FAULT_SEED").unwrap_or(seconds));
    let pause = if seconds > 60 { WORK * 6 } else { WORK };
    let scene = Scene::paced(RedisSetup::new(Kind::Redis).durable(), "", LOCK, pause).await;
    let began = Instant::now();
    let mut counts = [0_u32; ALL.len()];
    let mut slowest = (Duration::ZERO, ALL[0]);
    while began.elapsed() < Duration::from_secs(seconds) {
        let which = dice.roll(ALL.len() as u64) as usize;
        scene.caught().await;
        scene.suffers(ALL[which], Duration::from_millis(100 + dice.roll(2_400))).await;
        counts[which] += 1;
        let healed = Instant::now();
        scene.play.moves_on(1).await;
        slowest = slowest.max((healed.elapsed(), ALL[which]));
        scene.play.moves_on(5 + dice.roll(20)).await;
    }
    let story = scene.play.goes_on("many faults").await.all_ended_once().none_ran_twice();
    let health = &story.health;
    assert!(health.connected && (1..=health.losses).contains(&health.recoveries), "{health:?}");
    let names = ALL.iter().zip(counts).map(|(trouble, count)| format!("{trouble:?} {count}"));
    let (faults, names) = (counts.iter().sum::<u32>(), names.collect::<Vec<_>>().join(", "));
    tell(&format!(
        "{faults} faults of Redis in {} s ({names}): {} jobs were acknowledged, each ended once and ran once, {} ends in all; \
         longest wait for the next end {} ms ({:?}); the line was lost {} times",
        began.elapsed().as_secs(),
        story.acknowledged.len(),
        story.ends.len(),
        slowest.0.as_millis(),
        slowest.1,
        story.health.losses,
    ));
}
