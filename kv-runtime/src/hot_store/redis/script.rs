//! The scripts, each known to the server by its hash.

use std::sync::LazyLock;

use redis::Cmd;

/// A script of this crate.
#[derive(Debug)]
pub(super) struct Script {
    source: &'static str,
    hash: LazyLock<String>,
}

/// The files of a script stand behind each other.
macro_rules! script {
    ($name:ident, $($file:literal),+) => {
        pub(super) static $name: Script = Script {
            source: concat!($(include_str!(concat!("../", $file))),+),
            hash: LazyLock::new(|| {
                let source = concat!($(include_str!(concat!("../", $file))),+);
                redis::Script::new(source).get_hash().to_owned()
            }),
        };
    };
}

script!(WRITE, "clear.lua", "scheme.lua", "queue.lua", "write.lua");
script!(RESERVE, "scheme.lua", "reserve.lua");
script!(FILL, "fill.lua");
script!(RESERVE_VALUE, "reserve_value.lua");
script!(TAKE_VALUE, "take_value.lua");
script!(SWAP_VALUE, "swap_value.lua");
script!(EXPIRE_VALUE, "ids.lua", "expire_value.lua");
script!(REBASE, "rebase.lua");
script!(CLOSE, "close.lua");
script!(MOVE, "move.lua");
script!(OPEN, "ids.lua", "scheme.lua", "open.lua");
script!(BAR, "clear.lua", "bar.lua");
script!(LIFT, "lift.lua");
script!(JOIN, "join.lua");
script!(LEASE, "lease.lua");
script!(GIVE_BACK, "give_back.lua");
script!(LOCATE, "locate.lua");
script!(WRITTEN, "written.lua");

/// The scripts that are about unique values, which lie where a script can reach them or elsewhere.
#[derive(Debug)]
pub(super) struct ValueScripts {
    pub(super) write_unit: &'static Script,
    pub(super) settle: &'static Script,
    pub(super) invalidate: &'static Script,
    pub(super) let_go: &'static Script,
    pub(super) load: &'static Script,
    pub(super) drop: &'static Script,
}

macro_rules! value_scripts {
    ($name:ident, $values:literal) => {
        pub(super) static $name: ValueScripts = {
            script!(
                WRITE_UNIT,
                "clear.lua",
                "scheme.lua",
                "queue.lua",
                "row.lua",
                $values,
                "values.lua",
                "write_unit.lua"
            );
            script!(SETTLE, "ids.lua", $values, "values.lua", "release.lua", "settle.lua");
            script!(INVALIDATE, "ids.lua", $values, "values.lua", "release.lua", "invalidate.lua");
            script!(LET_GO, "ids.lua", $values, "values.lua", "release.lua", "let_go.lua");
            script!(LOAD, "clear.lua", $values, "load.lua");
            script!(DROP, "ids.lua", $values, "values.lua", "release.lua", "drop.lua");
            ValueScripts {
                write_unit: &WRITE_UNIT,
                settle: &SETTLE,
                invalidate: &INVALIDATE,
                let_go: &LET_GO,
                load: &LOAD,
                drop: &DROP,
            }
        };
    };
}

value_scripts!(HERE, "values_here.lua");
value_scripts!(ELSEWHERE, "values_elsewhere.lua");

impl Script {
    /// The beginning of a call; the keys come next, then the arguments.
    pub(super) fn call(&self, keys: usize) -> Cmd {
        let mut call = Cmd::new();
        call.arg("EVALSHA").arg(self.hash.as_str()).arg(keys);
        call
    }

    /// The command that makes the script known.
    pub(super) fn load(&self) -> Cmd {
        let mut load = Cmd::new();
        load.arg("SCRIPT").arg("LOAD").arg(self.source);
        load
    }
}
