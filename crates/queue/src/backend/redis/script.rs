//! The scripts: their text, held once, and calls of them by hash.

use redis::{Cmd, ToRedisArgs};

/// A script and its hash.
#[derive(Debug)]
pub(super) struct Script {
    pub(super) text: &'static str,
    hash: String,
}

/// A call of a script that is being put together.
#[derive(Debug)]
pub(super) struct Call<'a> {
    pub(super) script: &'a Script,
    pub(super) cmd: Cmd,
}

impl Script {
    pub(super) fn new(text: &'static str) -> Self {
        Self { text, hash: redis::Script::new(text).get_hash().to_owned() }
    }

    /// A call with these keys; arguments follow.
    pub(super) fn call(&self, keys: &[&str]) -> Call<'_> {
        let mut cmd = redis::cmd("EVALSHA");
        cmd.arg(&self.hash).arg(keys.len()).arg(keys);
        Call { script: self, cmd }
    }
}

impl Call<'_> {
    pub(super) fn arg(&mut self, arg: impl ToRedisArgs) -> &mut Self {
        self.cmd.arg(arg);
        self
    }
}

macro_rules! scripts {
    ($($name:ident: $($file:literal)+;)*) => {
        /// Every script.
        #[derive(Debug)]
        pub(super) struct Scripts { $(pub(super) $name: Script),* }

        impl Scripts {
            pub(super) fn new() -> Self {
                Self { $($name: Script::new(concat!($(include_str!(concat!("scripts/", $file, ".lua"))),+))),* }
            }
        }
    };
}

scripts! {
    add: "lib" "family" "add";
    beat: "lib" "beat";
    children: "lib" "family" "kids" "children";
    control: "lib" "control";
    edit: "lib" "family" "revive" "edit";
    facts: "lib" "family" "kids" "facts";
    flow: "lib" "family" "known" "flow";
    info: "lib" "info";
    list: "lib" "family" "list";
    look: "lib" "family" "known" "look";
    minutes: "lib" "minutes";
    records: "lib" "family" "records";
    obliterate: "lib" "family" "obliterate";
    repeat_drop: "lib" "family" "repeat" "repeat_drop";
    repeat_put: "lib" "family" "repeat" "repeat_put";
    repeat_read: "lib" "family" "repeat" "repeat_read";
    repeat_stuck: "lib" "family" "repeat" "repeat_stuck";
    rescue: "lib" "rescue";
    spend: "spend";
    sweep: "lib" "family" "revive" "sweep";
    turn: "lib" "family" "turn";
}
