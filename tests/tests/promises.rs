//! The promises that the runtime makes, a module each, on real servers and, where it is not
//! about what lies in them, in memory too.

mod promises {
    mod monitor;

    mod promise_1_atomic;
    mod promise_2_pinned;
    mod promise_3_exactly_once;
    mod promise_4_in_order;
    mod promise_5_dead_letters;
    mod promise_6_read_your_writes;
    mod promise_8_no_lost_update;
    mod promise_8_retries;
    mod promise_9_bounded;
}
