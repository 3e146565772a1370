//! Rows that a process holds in front of Redis: none is older than its bound, whatever is lost on the
//! way, and none that was told to be another one is answered after that.

mod cache {
    mod common;

    mod apart;
    mod bounds;
    mod lost;
    mod misses;
    mod notices;
    mod refused;
    mod writes;
}
