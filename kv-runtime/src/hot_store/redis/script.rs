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

script!(WRITE, "scheme.lua", "queue.lua", "write.lua");
script!(WRITE_UNIT, "scheme.lua", "queue.lua", "row.lua", "values.lua", "write_unit.lua");
script!(SETTLE, "ids.lua", "values.lua", "release.lua", "settle.lua");
script!(RESERVE, "scheme.lua", "reserve.lua");
script!(FILL, "fill.lua");
script!(INVALIDATE, "ids.lua", "values.lua", "release.lua", "invalidate.lua");
script!(LET_GO, "ids.lua", "values.lua", "release.lua", "let_go.lua");
script!(RESERVE_VALUE, "reserve_value.lua");
script!(FILL_VALUE, "fill_value.lua");
script!(REBASE, "rebase.lua");
script!(CLOSE, "close.lua");
script!(OPEN, "ids.lua", "scheme.lua", "open.lua");
script!(BAR, "bar.lua");
script!(LIFT, "lift.lua");
script!(JOIN, "join.lua");
script!(LEASE, "lease.lua");
script!(GIVE_BACK, "give_back.lua");
script!(LOCATE, "locate.lua");

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
