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
    /// The same call with the script's text in the place of its hash.
    pub(super) fn whole(&self) -> Cmd {
        let mut cmd = redis::cmd("EVAL");
        cmd.arg(self.script.text);
        for arg in self.cmd.args_iter().skip(2) {
            if let redis::Arg::Simple(arg) = arg {
                cmd.arg(arg);
            }
        }
        cmd
    }

    pub(super) fn arg(&mut self, arg: impl ToRedisArgs) -> &mut Self {
        self.cmd.arg(arg);
        self
    }
}

macro_rules! file {
    ($name:literal) => {
        include_str!(concat!("scripts/", $name, ".lua"))
    };
}

macro_rules! text {
    ($($part:literal)+) => {
        concat!($(file!($part)),+)
    };
}

macro_rules! scripts {
    ($($name:ident: $($part:literal)+;)*) => {
        /// Every script: what all share, the rooms of which each call furnishes those that it needs, and its own text. Those of
        /// the plain case do with less.
        #[derive(Debug)]
        pub(super) struct Scripts {
            $(pub(super) $name: Script,)*
            pub(super) add_plain: Script,
            pub(super) spend: Script,
            pub(super) turn_plain: Script,
        }

        impl Scripts {
            pub(super) fn new() -> Self {
                Self {
                    $($name: Script::new(concat!(
                        text!("head" "core" "lib"),
                        "furnish = function()\n", text!("places" "dedup" "family" "groups" "heads" "minute"), "end\n",
                        text!($($part)+),
                    )),)*
                    add_plain: Script::new(text!("head" "add_plain")),
                    spend: Script::new(file!("spend")),
                    turn_plain: Script::new(concat!(
                        text!("head"), "local minutes = {}\nlocal function furnish()\n", text!("minute"), "minutes[1]()\nend\n",
                        text!("turn_plain"),
                    )),
                }
            }
        }
    };
}

scripts! {
    add: "add";
    beat: "beat";
    children: "kids" "children";
    control: "control";
    edit: "revive" "edit";
    facts: "kids" "facts";
    flow: "known" "flow";
    group: "group";
    group_list: "group_list";
    info: "lines" "info";
    leftovers: "leftovers";
    list: "lines" "list";
    look: "known" "look";
    minutes: "minutes";
    obliterate: "obliterate";
    records: "records";
    repeat_drop: "repeat" "repeat_drop";
    repeat_put: "repeat" "repeat_put";
    repeat_read: "repeat" "repeat_read";
    repeat_stuck: "repeat" "repeat_stuck";
    rescue: "rescue";
    sweep: "revive" "lines" "sweep";
    turn: "jobs" "counts" "ends" "take" "turn";
}
