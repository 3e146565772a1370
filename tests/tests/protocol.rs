//! The protocol as state machines, checked exhaustively.
//!
//! Each model is a part of the protocol that can be looked at by itself, small enough to see all
//! of its states: steps of writers, drainers and readers in any order, replies that are lost,
//! messages that come late, crashes, expiry, a side that goes back in time. Its properties are the
//! promises, by their numbers. With all rules they hold; with any rule left out the checker finds
//! a way to break one. `cargo test -p kv-tests --test protocol -- --nocapture` prints the table,
//! and with `PROTOCOL_TRACES=1` the ways too.
//!
//! | rule of the design | here |
//! | --- | --- |
//! | scripts do not roll back | `write::NOTHING_FAILS_LATE`, `ANSWERS_APART` |
//! | entries carry absolute results | `back::ABSOLUTE_RESULTS` |
//! | a retry gets the first answer | `write::OPERATION_ID`, `FOUND_IN_STREAM`, `TRIMMED_IS_UNKNOWN` |
//! | versions never repeat | `write::VERSIONS_GO_ON` |
//! | a take-over first deletes the old nonce | `unique::OLD_NONCE_DELETED`, `NONCE_CONSUMED`, `ROW_ASKED`, `TAKE_OVER_COMPARES` |
//! | deadlines are data | `unique::DEADLINE_IS_DATA`, `VALUE_PINNED`, `SWEPT` |
//! | values whose key expired are probed; they are handed on in order | `unique::PROBED`, `PROBED_WHILE_RESERVED`, `TOMBSTONE_ASKED`, `order::DEPENDENCY` |
//! | a miss leaves a random token | `rows::MISS_LEAVES_TOKEN`, `TOKEN_IS_RANDOM`, `WRITE_REMOVES_TOKEN`, `PROBE_HOLDS_TOKEN` |
//! | a fill stores its offset | `rows::FILL_STORES_OFFSET`, `SETTLING_REMOVES_TOKEN` |
//! | one offset row is the one lock | `drain::POSITION_CHECKED`, `ONE_TRANSACTION`, `letters::MOVE_CHECKS_HELD`, `REPLAY_LOCKS_OFFSET`, all of `layout` |
//! | taking a lease raises the epoch; time limits; COMMIT of unknown outcome | `drain::EPOCH_RAISED`, `EPOCH_CHECKED`, `IDLE_TIMEOUT`, `READ_AGAIN` |
//! | the entry at the offset is kept, with its nonce; time goes back | all of `back` |
//! | folding is an optimisation | `order::QUEUE_ORDER`, `ONE_BY_ONE` |
//! | what is content, what waits | `order::CONTENT_ALONE`, `FOREIGN_KEY_WAITS`, `OLDER_DOES_NOT_WAIT`, `LEASE_GIVEN_BACK` |
//! | clean is by entry; settling again | `rows::CLEAN_BY_ENTRY`, `SETTLED_AGAIN`, `SETTLED_IN_ORDER`, `TOMBSTONE` |
//! | dead letters | all of `letters` |
//! | acknowledge before commit | `drain::COMMIT_BEFORE_SETTLING` |
//! | time to live from the write | `rows::NO_TTL_FROM_WRITE` |
//! | a unique violation counted as done | `letters::REFUSAL_IS_KEPT` |
//! | lock without owner token | `drain::OWNER_TOKEN` |

mod protocol {
    pub(crate) mod back;
    pub(crate) mod drain;
    pub(crate) mod harness;
    pub(crate) mod layout;
    pub(crate) mod letters;
    pub(crate) mod order;
    pub(crate) mod rows;
    pub(crate) mod unique;
    pub(crate) mod write;
}

use protocol::back::Back;
use protocol::drain::Drain;
use protocol::harness::{assert_keeps_promises, assert_needs_every_rule};
use protocol::layout::Layout;
use protocol::letters::Letters;
use protocol::order::Order;
use protocol::rows::Rows;
use protocol::unique::Unique;
use protocol::write::Write;

#[test]
fn the_design_keeps_its_promises() {
    println!("| model | states |\n| --- | ---: |");
    assert_keeps_promises::<Drain>();
    assert_keeps_promises::<Rows>();
    assert_keeps_promises::<Letters>();
    assert_keeps_promises::<Order>();
    assert_keeps_promises::<Back>();
    assert_keeps_promises::<Write>();
    assert_keeps_promises::<Unique>();
    assert_keeps_promises::<Layout>();
}

#[test]
fn no_rule_can_be_left_out() {
    println!("| model | rule left out | what breaks | states | steps |");
    println!("| --- | --- | --- | ---: | ---: |");
    assert_needs_every_rule::<Drain>();
    assert_needs_every_rule::<Rows>();
    assert_needs_every_rule::<Letters>();
    assert_needs_every_rule::<Order>();
    assert_needs_every_rule::<Back>();
    assert_needs_every_rule::<Write>();
    assert_needs_every_rule::<Unique>();
    assert_needs_every_rule::<Layout>();
}
